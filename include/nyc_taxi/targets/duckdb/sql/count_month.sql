SELECT count(*)
FROM {table}
WHERE file_month = $month
