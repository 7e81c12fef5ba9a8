-- A month counts as loaded as long as its partition is there, whoever drops it.
WITH partition AS (
    SELECT
        format('%s.%s', namespace.nspname, trips.relname) AS target_table,
        pg_get_expr(partition.relpartbound, 0) AS bound
    FROM pg_inherits
    JOIN pg_class AS partition ON partition.oid = pg_inherits.inhrelid
    JOIN pg_class AS trips ON trips.oid = pg_inherits.inhparent
    JOIN pg_namespace AS namespace ON namespace.oid = trips.relnamespace
    WHERE trips.relkind = 'p'
)
SELECT DISTINCT ON (service, month) load_ledger.*
FROM load_ledger
JOIN partition USING (target_table)
WHERE target = 'postgres'
  AND bound = format('FOR VALUES IN (%L)', month || '-01')
ORDER BY service, month, target_table = format('public.%s_taxi_trips', service) DESC, load_id DESC
