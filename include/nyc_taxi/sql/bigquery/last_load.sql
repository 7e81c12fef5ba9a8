SELECT recipe, rows_loaded
FROM {table}
WHERE service = @service
  AND month = @month
  AND target_table = @target_table
ORDER BY load_id DESC
LIMIT 1
