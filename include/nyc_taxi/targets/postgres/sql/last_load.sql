SELECT
    service, recipe, rows_loaded, source, source_url, source_sha256, source_last_modified, edition_number, quality_profile,
    unknown_columns, asked_at, asked_for
FROM load_ledger
WHERE month = %(month)s
  AND target = %(target)s
  AND target_table = %(target_table)s
ORDER BY load_id DESC
LIMIT 1
