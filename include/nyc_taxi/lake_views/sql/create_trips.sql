CREATE OR REPLACE VIEW {view} AS
SELECT {columns}
FROM read_parquet([{files}], union_by_name = {is_mixed})
