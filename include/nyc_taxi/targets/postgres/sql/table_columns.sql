SELECT attname, format_type(atttypid, atttypmod)
FROM pg_attribute
WHERE attrelid = %(oid)s
  AND attnum > 0
  AND NOT attisdropped
ORDER BY attnum
