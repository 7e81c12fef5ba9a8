-- A month counts as loaded while its partition is there. With IS TRUE the planner lists the partitions once and looks
-- them up in a hash; as a join it lists them once per month, which takes ten times as long.
SELECT DISTINCT ON (service, month) *
FROM load_ledger
WHERE target = 'postgres'
  AND ((target_table, format('FOR VALUES IN (%%L)', month || '-01')) IN (
      SELECT format('%%s.%%s', namespace.nspname, trips.relname), pg_get_expr(partition.relpartbound, 0)
      FROM pg_inherits
      JOIN pg_class AS partition ON partition.oid = pg_inherits.inhrelid
      JOIN pg_class AS trips ON trips.oid = pg_inherits.inhparent
      JOIN pg_namespace AS namespace ON namespace.oid = trips.relnamespace
      WHERE trips.relkind = 'p'
  )) IS TRUE
ORDER BY service, month, target_table = format('%%s.%%s_taxi_trips', %(schema)s::text, service) DESC, load_id DESC
