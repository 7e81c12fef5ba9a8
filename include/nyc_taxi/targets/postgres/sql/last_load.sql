SELECT *
FROM load_ledger
WHERE month = %(month)s
  AND target = %(target)s
  AND target_table = %(target_table)s
ORDER BY load_id DESC
LIMIT 1
