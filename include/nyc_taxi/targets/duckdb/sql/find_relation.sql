SELECT 'table', comment
FROM duckdb_tables()
WHERE database_name = current_database() AND lower(schema_name) = $schema AND lower(table_name) = $name
UNION ALL
SELECT 'view', comment
FROM duckdb_views()
WHERE database_name = current_database() AND lower(schema_name) = $schema AND lower(view_name) = $name
