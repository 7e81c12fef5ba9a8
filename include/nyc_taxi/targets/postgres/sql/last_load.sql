SELECT service, recipe, rows_loaded
FROM load_ledger
WHERE month = %(month)s
  AND target = 'postgres'
  AND target_table = %(target_table)s
ORDER BY load_id DESC
LIMIT 1
