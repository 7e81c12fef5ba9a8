SELECT
    pg_is_in_recovery() OR current_setting('transaction_read_only')::bool AS is_read_only,
    to_regnamespace(quote_ident(%(schema)s)) IS NOT NULL AS has_schema,
    has_database_privilege(current_database(), 'CREATE') AS may_create_schemas,
    coalesce(has_schema_privilege(to_regnamespace(quote_ident(%(schema)s))::oid, 'USAGE, CREATE'), false) AS may_create_tables,
    to_regnamespace('public') IS NOT NULL AS has_public,
    to_regclass('public.load_ledger') IS NOT NULL AS has_ledger,
    coalesce(has_schema_privilege(to_regnamespace('public')::oid, 'CREATE'), false) AS may_create_ledger,
    coalesce(has_table_privilege(to_regclass('public.load_ledger')::oid, 'INSERT'), false) AS may_write_ledger
