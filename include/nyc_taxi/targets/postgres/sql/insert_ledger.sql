INSERT INTO load_ledger (
    service, month, target, target_table, source_url, source_etag, source_sha256, source_bytes, rows_read, rows_loaded,
    rows_rejected, rejected_by_reason, rule_hits, rows_expected, schema_era, quality_profile, recipe, seconds, dag_id,
    run_id
) VALUES (
    %(service)s, %(month)s, 'postgres', %(target_table)s, %(source_url)s, %(source_etag)s, %(source_sha256)s,
    %(source_bytes)s, %(rows_read)s, %(rows_loaded)s, %(rows_rejected)s, %(rejected_by_reason)s, %(rule_hits)s,
    %(rows_expected)s, %(schema_era)s, %(quality_profile)s, %(recipe)s, %(seconds)s, %(dag_id)s, %(run_id)s
)
