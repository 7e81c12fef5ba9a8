SELECT DISTINCT strftime(file_month, '%Y-%m')
FROM {table}
