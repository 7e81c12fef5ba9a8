SELECT attname
FROM pg_attribute
WHERE attrelid = to_regclass(quote_ident(%(schema)s) || '.' || quote_ident(%(name)s))
  AND attnum > 0
  AND NOT attisdropped
ORDER BY attnum
