SELECT EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = to_regclass('load_ledger')
      AND attname = 'rows_expected'
)
