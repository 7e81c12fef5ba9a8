SELECT namespace.nspname, partition.relname
FROM pg_inherits
JOIN pg_class AS partition ON partition.oid = pg_inherits.inhrelid
JOIN pg_namespace AS namespace ON namespace.oid = partition.relnamespace
WHERE pg_inherits.inhparent = %(oid)s
  AND pg_get_expr(partition.relpartbound, 0) = format('FOR VALUES IN (%%L)', %(month)s::date)
