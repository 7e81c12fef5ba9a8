SELECT *
FROM {table}
WHERE month = @month
  AND target_table = @target_table
ORDER BY load_id DESC
LIMIT 1
