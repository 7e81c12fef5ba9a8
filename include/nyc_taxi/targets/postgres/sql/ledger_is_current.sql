SELECT to_regclass('trips_by_zone') IS NOT NULL AND count(*) = cardinality(%(names)s::text[])
FROM pg_attribute
WHERE attrelid = to_regclass('load_ledger')
  AND attname = ANY (%(names)s::text[])
  AND NOT attisdropped
