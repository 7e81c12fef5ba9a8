SELECT column_name, data_type
FROM duckdb_columns()
WHERE database_name = current_database() AND lower(schema_name) = $schema AND lower(table_name) = $name
ORDER BY column_index
