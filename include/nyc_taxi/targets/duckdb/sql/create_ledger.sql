CREATE TABLE IF NOT EXISTS main.load_ledger (
    load_id BIGINT NOT NULL,
    {columns},
    loaded_at TIMESTAMPTZ NOT NULL,
    CHECK (regexp_full_match(month, '[0-9]{4}-[0-9]{2}')),
    CHECK (rows_read = rows_loaded + rows_rejected)
)
