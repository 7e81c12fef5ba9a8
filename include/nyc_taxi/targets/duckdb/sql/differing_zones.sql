WITH wanted AS (
    SELECT {columns}
    FROM read_parquet($path)
), present AS (
    SELECT {columns}
    FROM {table}
)
SELECT count(*)
FROM (
    (FROM wanted EXCEPT ALL FROM present)
    UNION ALL
    (FROM present EXCEPT ALL FROM wanted)
)
