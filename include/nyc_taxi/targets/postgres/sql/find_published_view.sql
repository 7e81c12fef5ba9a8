-- A view reads its table by its oid: when the table is renamed, the view reads it under the new name.
SELECT
    CASE relation.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'i' THEN 'index'
        WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence' WHEN 'c' THEN 'type' ELSE 'table' END AS kind,
    obj_description(relation.oid, 'pg_class') AS comment,
    ARRAY(
        SELECT format('%%s %%s', attname, format_type(atttypid, atttypmod))
        FROM pg_attribute
        WHERE attrelid = relation.oid AND attnum > 0 AND NOT attisdropped
        ORDER BY attnum
    ) AS columns,
    EXISTS (
        SELECT
        FROM pg_rewrite
        JOIN pg_depend ON pg_depend.classid = 'pg_rewrite'::regclass AND pg_depend.objid = pg_rewrite.oid
        JOIN pg_class AS trips ON pg_depend.refclassid = 'pg_class'::regclass AND pg_depend.refobjid = trips.oid
        WHERE pg_rewrite.ev_class = relation.oid
          AND trips.relnamespace = relation.relnamespace
          AND trips.relname = %(table)s
    ) AS reads_the_table
FROM pg_class AS relation
JOIN pg_namespace AS namespace ON namespace.oid = relation.relnamespace
WHERE namespace.nspname = %(schema)s
  AND relation.relname = %(name)s
