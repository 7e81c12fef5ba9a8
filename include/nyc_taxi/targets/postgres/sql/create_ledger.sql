CREATE TABLE IF NOT EXISTS load_ledger (
    load_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    {columns},
    loaded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (month ~ '^[0-9]{{4}}-[0-9]{{2}}$'),
    CHECK (rows_read = rows_loaded + rows_rejected)
);

ALTER TABLE load_ledger {additions};

CREATE INDEX IF NOT EXISTS load_ledger_latest ON load_ledger (service, month, target, target_table, load_id DESC);
