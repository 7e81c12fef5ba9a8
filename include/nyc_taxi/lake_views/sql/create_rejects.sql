CREATE OR REPLACE VIEW {view} AS
SELECT
    {columns},
    CAST(regexp_extract(filename, '_(\d{4}-\d{2})\.parquet', 1) || '-01' AS DATE) AS file_month
FROM read_parquet([{files}], union_by_name = {is_mixed}, filename = true)
