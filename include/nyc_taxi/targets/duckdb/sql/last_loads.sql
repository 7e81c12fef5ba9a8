SELECT * REPLACE (epoch_us(loaded_at) AS loaded_at)
FROM main.load_ledger
WHERE target = 'duckdb'
QUALIFY row_number() OVER (PARTITION BY service, month, target_table ORDER BY load_id DESC) = 1
ORDER BY load_id
