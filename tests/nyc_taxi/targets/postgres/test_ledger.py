"""What the ledger says of a load."""

from datetime import UTC, datetime

import psycopg
from psycopg.rows import dict_row
from pyarrow import parquet

from include.nyc_taxi import editions, landing
from include.nyc_taxi.lake import raw_key, rejects_key
from include.nyc_taxi.precedence import Run, Wish
from tests.nyc_taxi.targets.postgres.loading import JANUARY, rows_of


def test_a_row_of_the_ledger_tells_all_about_the_load(landed_month, load, warehouse, lake):
    file = landed_month(JANUARY)
    edition = editions.history(lake, raw_key(file, "official")).current
    rejected = parquet.read_metadata(lake.path(rejects_key(file))).num_rows
    before = datetime.now(UTC)

    load(file, run=Run("ingest_data", "manual__2024", Wish.of("2024-02-01T11:30:00+01:00")))

    with psycopg.connect(warehouse, row_factory=dict_row) as connection:
        [entry] = connection.execute("SELECT * FROM load_ledger").fetchall()
    assert before <= entry.pop("loaded_at") <= datetime.now(UTC)
    assert 0 < entry.pop("seconds") < 60
    assert rejected > 0
    assert entry.pop("rule_hits")["no_passengers"] == rejected
    assert entry == {
        "load_id": 1,
        "service": "green",
        "month": "2024-01",
        "target": "postgres",
        "target_table": "public.green_taxi_trips",
        "source_url": "https://d37ci6vzurychx.cloudfront.net/trip-data/green_tripdata_2024-01.parquet",
        "source_etag": edition.etag,
        "source_sha256": edition.sha256,
        "source_bytes": lake.size(edition.key),
        "rows_read": 300,
        "rows_loaded": 300 - rejected,
        "rows_rejected": rejected,
        "rejected_by_reason": {"no_passengers": rejected},
        "rows_expected": 56_551,
        "schema_era": "official-2014-01",
        "quality_profile": "notes",
        "recipe": landing.landed(lake, file).recipe,
        "dag_id": "ingest_data",
        "run_id": "manual__2024",
        "source": "official",
        "source_last_modified": None,
        "edition_number": 1,
        "unknown_columns": "error",
        "asked_at": "2024-02-01T10:30:00.000000+00:00",
        "asked_for": None,
    }


def test_a_ledger_of_an_earlier_version_gets_what_it_lacks(landed_month, load, query):
    load(landed_month(JANUARY))
    query("ALTER TABLE load_ledger DROP COLUMN rule_hits, DROP COLUMN rows_expected")

    load(landed_month(JANUARY), force=True)

    assert query("SELECT rows_expected IS NULL, rule_hits = '{}' FROM load_ledger ORDER BY load_id") == [
        (True, True),
        (False, False),
    ]


def test_a_load_says_what_it_replaced_and_how_many_rows(landed_month, load, lake, caplog):
    file = landed_month(JANUARY, rows=3000)

    with caplog.at_level("INFO", "include.nyc_taxi.targets.postgres"):
        load(file)

    assert f"{JANUARY}: loaded {rows_of(lake, file):,} rows" in caplog.text
