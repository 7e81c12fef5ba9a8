SELECT *
FROM {table}
WHERE true
QUALIFY row_number() OVER (PARTITION BY service, month, target_table ORDER BY load_id DESC) = 1
