SELECT * REPLACE (epoch_us(loaded_at) AS loaded_at)
FROM main.load_ledger
WHERE service = $service AND month = $month AND target = $target AND target_table = $target_table
ORDER BY load_id DESC
LIMIT 1
