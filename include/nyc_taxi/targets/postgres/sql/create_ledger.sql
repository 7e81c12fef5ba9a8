CREATE TABLE IF NOT EXISTS load_ledger (
    load_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service text NOT NULL,
    month text NOT NULL CHECK (month ~ '^[0-9]{4}-[0-9]{2}$'),
    target text NOT NULL,
    target_table text NOT NULL,
    source_url text NOT NULL,
    source_etag text,
    source_sha256 text NOT NULL,
    source_bytes bigint NOT NULL,
    rows_read bigint NOT NULL,
    rows_loaded bigint NOT NULL,
    rows_rejected bigint NOT NULL,
    rejected_by_reason jsonb NOT NULL,
    schema_era text NOT NULL,
    quality_profile text NOT NULL,
    recipe text NOT NULL,
    seconds double precision NOT NULL,
    dag_id text,
    run_id text,
    loaded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (rows_read = rows_loaded + rows_rejected)
);

-- Columns that a ledger of an earlier version lacks; ledger_is_current.sql asks for the newest of them.
ALTER TABLE load_ledger
    ADD COLUMN IF NOT EXISTS rule_hits jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS rows_expected bigint;

CREATE INDEX IF NOT EXISTS load_ledger_latest ON load_ledger (service, month, target, target_table, load_id DESC);
