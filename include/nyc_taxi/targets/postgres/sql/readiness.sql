WITH found AS (
    SELECT
        to_regnamespace(quote_ident(%(schema)s))::oid AS schema,
        to_regnamespace('public')::oid AS public,
        to_regclass('public.load_ledger')::oid AS ledger
)
SELECT
    pg_is_in_recovery() OR current_setting('transaction_read_only')::bool AS is_read_only,
    schema IS NOT NULL AS has_schema,
    has_database_privilege(current_database(), 'CREATE') AS may_create_schemas,
    (has_schema_privilege(schema, 'USAGE') AND has_schema_privilege(schema, 'CREATE')) IS TRUE AS may_create_tables,
    public IS NOT NULL AS has_public,
    ledger IS NOT NULL AS has_ledger,
    has_schema_privilege(public, 'CREATE') IS TRUE AS may_create_ledger,
    (has_table_privilege(ledger, 'SELECT') AND has_table_privilege(ledger, 'INSERT')) IS TRUE AS may_write_ledger
FROM found
