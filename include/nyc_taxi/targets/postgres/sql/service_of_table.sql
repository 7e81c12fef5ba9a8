-- The table's comment tells its service. A table without one, of an earlier version, has that of its last load of a
-- month that it still holds.
SELECT coalesce(
    substring(obj_description(%(oid)s::oid, 'pg_class') FROM '^Trips of the service (\w+)\.'),
    (
        SELECT service
        FROM load_ledger
        WHERE target = 'postgres'
          AND target_table = %(table)s
          AND EXISTS (
              SELECT
              FROM pg_inherits
              JOIN pg_class AS partition ON partition.oid = pg_inherits.inhrelid
              WHERE pg_inherits.inhparent = %(oid)s::oid
                AND pg_get_expr(partition.relpartbound, 0) = format('FOR VALUES IN (%%L)', (month || '-01')::date)
          )
        ORDER BY load_id DESC
        LIMIT 1
    )
)
