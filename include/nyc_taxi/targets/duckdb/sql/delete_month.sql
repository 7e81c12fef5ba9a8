DELETE FROM {table}
WHERE file_month = $month
