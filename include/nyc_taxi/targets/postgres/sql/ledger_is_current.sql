SELECT EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = to_regclass('load_ledger')
      AND attname = 'rows_expected'
) AND to_regclass('trips_by_zone') IS NOT NULL
