SELECT
    load_id, service, recipe, rows_loaded, source, source_url, source_sha256, source_last_modified, edition_number, quality_profile,
    unknown_columns, asked_at, asked_for
FROM {table}
WHERE month = @month
  AND target_table = @target_table
ORDER BY load_id DESC
LIMIT 1
