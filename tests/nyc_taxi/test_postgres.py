"""A month in the warehouse: what it holds, what happens when it comes again, and what readers see meanwhile."""

import gzip
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from math import inf
from pathlib import Path
from threading import Barrier, Event
from time import monotonic, sleep

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from pyarrow import compute, parquet

from devtools.servers.postgres import EmbeddedPostgres
from include.nyc_taxi import TripFile, catalog, landing
from include.nyc_taxi.errors import (
    CountMismatch,
    LakeChanged,
    PermanentError,
    WarehouseBusy,
    WarehouseRefused,
)
from include.nyc_taxi.lake import Lake, data_key, raw_key, rejects_key
from include.nyc_taxi.reading import arrow_schema
from include.nyc_taxi.targets import postgres
from include.nyc_taxi.targets.postgres import Run, Table, replace_month

PROJECT = Path(__file__).parents[2]
JANUARY, FEBRUARY = "green_tripdata_2024-01", "green_tripdata_2024-02"
TYPES = {
    "int16": "smallint",
    "float64": "double precision",
    "timestamp": "timestamp without time zone",
    "text": "text",
}
LOADER = """
import sys
import psycopg
from include.nyc_taxi import TripFile
from include.nyc_taxi.lake import Lake
from include.nyc_taxi.targets.postgres import replace_month

conninfo, lake, name = sys.argv[1:]
with psycopg.connect(conninfo) as connection:
    print(replace_month(connection, TripFile.parse(name), Lake.at(lake)).outcome)
"""
COUNTS = """
SELECT count(*) FILTER (WHERE file_month = '2024-01-01'), count(*) FILTER (WHERE file_month = '2024-02-01')
FROM green_taxi_trips
"""


@pytest.fixture
def load(warehouse, lake):
    """Loads a landed month over a connection of its own; `connect` are options of that connection."""

    def load(file, *, connect=None, **options):
        with psycopg.connect(warehouse, **(connect or {})) as connection:
            return replace_month(connection, file, options.pop("lake", lake), **options)

    return load


@pytest.fixture
def query(warehouse):
    """Asks or tells the warehouse something, and commits."""

    with psycopg.connect(warehouse, autocommit=True) as connection:

        def query(statement, parameters=None):
            cursor = connection.execute(statement, parameters)
            return [] if cursor.description is None else cursor.fetchall()

        yield query


@pytest.fixture
def contents(query):
    """All that lies in the warehouse: equal before and after means that nothing has changed."""

    def contents():
        held = [
            query("""
                SELECT oid, relname, relfilenode, relnatts, relowner FROM pg_class
                WHERE relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace,
                                           'information_schema'::regnamespace)
                ORDER BY oid
            """),
        ]
        if query("SELECT to_regclass('load_ledger')") != [(None,)]:
            held.append(query("SELECT load_ledger::text FROM load_ledger ORDER BY load_id"))
        if query("SELECT to_regclass('green_taxi_trips')") != [(None,)]:
            held.append(query("SELECT green_taxi_trips::text FROM green_taxi_trips ORDER BY 1"))
        return held

    return contents


@pytest.fixture
def impatient(monkeypatch):
    """A swap that asks for its lock more briefly and more often than in production."""
    monkeypatch.setattr(postgres, "_LOCK_TIMEOUT", "200ms")
    monkeypatch.setattr(postgres, "_SECONDS_BETWEEN_SWAPS", 0.1)


def data_of(lake, file):
    return parquet.read_table(lake.path(data_key(file)))


def rows_of(lake, file):
    return parquet.read_metadata(lake.path(data_key(file))).num_rows


def in_order(rows):
    return sorted(rows, key=repr)


def at_once(*calls):
    """The results of calls that are made at the same time, each in a thread."""
    barrier = Barrier(len(calls))

    def wait_and(call):
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(wait_and, calls))


def wait_until(holds, what, seconds=20):
    deadline = monotonic() + seconds
    while not holds():
        if monotonic() > deadline:
            pytest.fail(f"waited {seconds} s in vain until {what}")
        sleep(0.002)


@contextmanager
def in_background(call):
    """The future of a call in a thread; the end of the block waits for it."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(call)


@contextmanager
def polling(warehouse, read):
    """What a reader sees over and over, from before the block to after it. Its errors are ours."""
    seen = []
    stop = Event()

    def poll():
        with psycopg.connect(warehouse, autocommit=True) as connection:
            while True:
                last = stop.is_set()
                seen.append(read(connection))
                if last:
                    return
                sleep(0.002)

    with in_background(poll) as reader:
        try:
            wait_until(lambda: seen or reader.done(), "the reader has read")
            yield seen
        finally:
            stop.set()
        reader.result()


def in_a_snapshot(connection):
    """The counts as a transaction sees them whose snapshot is older than its first look at the table."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT count(*) FROM load_ledger")
        sleep(0.01)
        first, second = (connection.execute(COUNTS).fetchone() for _ in range(2))
    assert first == second
    return first


class MeddledLake(Lake):
    """A lake in which something happens just before the warehouse reads a file of data/."""

    def __init__(self, lake, meddle):
        super().__init__(lake.fs, lake.root)
        self.meddle = meddle

    @contextmanager
    def local(self, key):
        if key.startswith("data/"):
            self.meddle()
        with super().local(key) as path:
            yield path


# What a loaded month is


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("green_tripdata_2020-04", "csv_mirror"),
        ("green_tripdata_2024-01", "official"),
        ("yellow_tripdata_2021-01", "csv_mirror"),
        ("yellow_tripdata_2021-01", "official"),
        ("yellow_tripdata_2025-01", "official"),
    ],
)
def test_the_warehouse_holds_the_very_rows_of_data(*, name, source, landed_month, load, query, lake):
    file = landed_month(name, source=source)

    loaded = load(file)

    data = data_of(lake, file)
    expected = [tuple(row.values()) for row in data.to_pylist()]
    columns = ", ".join(data.column_names)
    found = query(f"SELECT {columns} FROM {file.service}_taxi_trips")
    assert in_order(found) == in_order(expected)
    assert loaded.outcome == "replaced"
    assert loaded.rows_loaded == len(expected) > 0
    assert loaded.landed == landing.landed(lake, file)


@pytest.mark.parametrize("name", ["green_tripdata_2024-01", "yellow_tripdata_2024-01"])
def test_a_table_has_the_columns_types_and_comments_of_the_catalogue(name, landed_month, load, query):
    file = landed_month(name)

    load(file)

    found = query(
        """
        SELECT attname, format_type(atttypid, atttypmod), col_description(attrelid, attnum) FROM pg_attribute
        WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum
        """,
        (f"{file.service}_taxi_trips",),
    )
    expected = [(c.name, TYPES[c.type], c.description) for c in catalog.service(file.service).columns]
    assert found == [*expected, ("file_month", "date", None)]


def test_a_month_is_a_partition_that_is_named_after_it_and_has_the_index_of_the_table(landed_month, load, query):
    file = landed_month(JANUARY)

    load(file)

    assert query("SELECT pg_get_partkeydef('green_taxi_trips'::regclass)") == [("LIST (file_month)",)]
    assert query("""
        SELECT inhrelid::regclass::text, pg_get_expr(relpartbound, 0)
        FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'green_taxi_trips'::regclass
    """) == [("green_taxi_trips_2024_01", "FOR VALUES IN ('2024-01-01')")]
    assert query("""
        SELECT inhrelid::regclass::text, indrelid::regclass::text, amname, indisvalid
        FROM pg_inherits
        JOIN pg_index ON indexrelid = inhrelid JOIN pg_class ON oid = inhrelid JOIN pg_am ON pg_am.oid = relam
        WHERE inhparent = 'green_taxi_trips_brin'::regclass
    """) == [("green_taxi_trips_2024_01_brin", "green_taxi_trips_2024_01", "brin", True)]


def test_a_trip_of_another_month_stays_with_its_file(landed_month, load, query):
    file = landed_month(JANUARY)

    load(file)

    strays = query("SELECT DISTINCT file_month FROM green_taxi_trips WHERE pickup_datetime < '2010-01-01'")
    assert strays == [(date(2024, 1, 1),)]


def test_the_rows_are_frozen_so_that_no_vacuum_has_to_touch_them(landed_month, load, query):
    load(landed_month(JANUARY, rows=2000))

    [(pages, visible_to_all)] = query(
        "SELECT relpages, relallvisible FROM pg_class WHERE relname = 'green_taxi_trips_2024_01'"
    )

    assert visible_to_all > 0.9 * pages > 10


def test_text_and_numbers_of_every_kind_survive(landed_month, load, query):
    texts = [
        "'",
        '"',
        "\\",
        "\\N",
        "\\.",
        None,
        " N ",
        "a\tb\r\nc",
        "Ærøskøbing 🚕",
        "'; DROP TABLE x; --",
        "é" * 999,
    ]
    numbers = [0.1 + 0.2, -0.0, 5e-324, 1.7976931348623157e308, inf, -inf]
    ids = [-32768, 32767, None, 0]
    times = [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999), None]

    def with_specimens(trips):
        columns = {
            "store_and_fwd_flag": texts,
            "fare_amount": numbers,
            "VendorID": ids,
            "lpep_pickup_datetime": times,
        }
        for name, values in columns.items():
            field = trips.schema.field(name)
            repeated = [values[row % len(values)] for row in range(trips.num_rows)]
            trips = trips.set_column(
                trips.schema.get_field_index(name), field, pa.chunked_array([pa.array(repeated, field.type)])
            )
        return trips

    load(landed_month(JANUARY, rows=60, profile="none", edit=with_specimens))

    found = query("SELECT store_and_fwd_flag, fare_amount, vendor_id, pickup_datetime FROM green_taxi_trips")
    expected = [(texts[row % 11], numbers[row % 6], ids[row % 4], times[row % 3]) for row in range(60)]
    assert in_order(found) == in_order(expected)


def test_a_text_that_postgres_cannot_hold_is_refused_with_its_words(landed_month, load, contents):
    def with_nul(trips):
        flags = pa.chunked_array([pa.array(["a\0b"] * trips.num_rows, pa.large_string())])
        return trips.set_column(trips.schema.get_field_index("store_and_fwd_flag"), "store_and_fwd_flag", flags)

    load(landed_month(JANUARY))
    before = contents()
    file = landed_month(JANUARY, edit=with_nul)

    with pytest.raises(WarehouseRefused, match="invalid byte sequence"):
        load(file)

    assert contents() == before


def test_a_row_of_the_ledger_tells_all_about_the_load(landed_month, load, warehouse, lake):
    file = landed_month(JANUARY)
    raw = Path(lake.path(raw_key(file, "official")))
    manifest = lake.manifest(raw_key(file, "official"))
    rejected = parquet.read_metadata(lake.path(rejects_key(file))).num_rows
    before = datetime.now(UTC)

    load(file, run=Run("ingest_data", "manual__2024"))

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
        "source_etag": manifest.etag,
        "source_sha256": manifest.sha256,
        "source_bytes": raw.stat().st_size,
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

    assert f"{JANUARY}: replaced its partition of public.green_taxi_trips: {rows_of(lake, file):,} rows" in caplog.text


# A month that comes again


def test_a_month_loaded_twice_is_there_once(landed_month, load, query, lake):
    file = landed_month(JANUARY)

    for _ in range(2):
        load(file)

    assert query("SELECT count(*) FROM green_taxi_trips") == [(rows_of(lake, file),)]


def test_an_unchanged_month_is_left_alone_which_the_log_says_and_the_ledger_does_not(
    landed_month,
    load,
    lake,
    contents,
    caplog,
):
    file = landed_month(JANUARY)
    load(file)
    before = contents()

    with caplog.at_level("INFO", "include.nyc_taxi.targets.postgres"):
        loaded = load(file)

    assert loaded.outcome == "unchanged"
    assert loaded.rows_loaded == rows_of(lake, file)
    assert contents() == before
    assert f"already holds its {rows_of(lake, file)} rows" in caplog.text


def test_force_loads_an_unchanged_month_again(landed_month, load, query, lake):
    file = landed_month(JANUARY)
    load(file)
    first = query("SELECT 'green_taxi_trips_2024_01'::regclass::oid")

    loaded = load(file, force=True)

    assert loaded.outcome == "replaced"
    assert query("SELECT 'green_taxi_trips_2024_01'::regclass::oid") != first
    assert query("SELECT count(*) FROM green_taxi_trips") == [(rows_of(lake, file),)]
    assert query("SELECT rows_loaded FROM load_ledger") == [(rows_of(lake, file),)] * 2


def test_another_quality_profile_replaces_the_month(landed_month, load, query):
    loaded = [load(landed_month(JANUARY, profile=profile)) for profile in ("notes", "none", "notes")]

    assert [one.outcome for one in loaded] == ["replaced"] * 3
    assert loaded[0].rows_loaded < loaded[1].rows_loaded == 300
    assert query("SELECT count(*) FROM green_taxi_trips") == [(loaded[2].rows_loaded,)]
    assert query("SELECT quality_profile FROM load_ledger ORDER BY load_id") == [("notes",), ("none",), ("notes",)]


def test_a_changed_raw_file_replaces_its_month_and_no_other(landed_month, load, query, lake):
    february = (
        "SELECT tableoid, ctid::text, green_taxi_trips::text FROM green_taxi_trips WHERE file_month = '2024-02-01'"
    )
    load(landed_month(JANUARY))
    load(landed_month(FEBRUARY))
    before = query(february)

    file = landed_month(JANUARY, rows=500)
    loaded = load(file)

    assert loaded.outcome == "replaced"
    assert query("SELECT count(*) FROM green_taxi_trips WHERE file_month = '2024-01-01'") == [(rows_of(lake, file),)]
    assert query(february) == before != []


@pytest.mark.parametrize(
    "meddling",
    [
        "TRUNCATE green_taxi_trips_2024_01",
        "DELETE FROM green_taxi_trips WHERE ctid = (SELECT min(ctid) FROM green_taxi_trips)",
        "DROP TABLE green_taxi_trips_2024_01",
        "DROP TABLE green_taxi_trips",
        "DROP TABLE load_ledger",
    ],
)
def test_what_was_done_to_a_month_by_hand_is_made_good(meddling, landed_month, load, query, lake):
    file = landed_month(JANUARY)
    load(file)
    query(meddling)

    loaded = load(file)

    assert loaded.outcome == "replaced"
    assert query("SELECT count(*) FROM green_taxi_trips") == [(rows_of(lake, file),)]
    assert load(file).outcome == "unchanged"


def test_a_partition_of_another_name_is_replaced(landed_month, load, query, lake):
    file = landed_month(JANUARY)
    load(file)
    query("CREATE SCHEMA attic")
    query("ALTER TABLE green_taxi_trips_2024_01 SET SCHEMA attic")
    query("ALTER TABLE attic.green_taxi_trips_2024_01 RENAME TO january")

    load(file, force=True)

    assert query("SELECT count(*) FROM green_taxi_trips_2024_01") == [(rows_of(lake, file),)]
    assert query("SELECT to_regclass('attic.january')") == [(None,)]


def test_a_partition_that_was_detached_to_be_kept_is_not_overwritten(landed_month, load, query, contents):
    file = landed_month(JANUARY)
    load(file)
    query("ALTER TABLE green_taxi_trips DETACH PARTITION green_taxi_trips_2024_01")
    before = contents()

    with pytest.raises(WarehouseRefused, match='relation "green_taxi_trips_2024_01" already exists'):
        load(file)

    assert contents() == before


def test_every_table_has_its_own_months(landed_month, load, query, lake):
    file = landed_month(JANUARY)
    load(file)

    loaded = load(file, table=Table.parse("other"))

    assert loaded.outcome == "replaced"
    assert query("SELECT count(*) FROM other") == query("SELECT count(*) FROM green_taxi_trips")
    assert query("SELECT target_table FROM load_ledger ORDER BY load_id") == [
        ("public.green_taxi_trips",),
        ("public.other",),
    ]
    assert load(file).outcome == load(file, table=Table.parse("public.other")).outcome == "unchanged"


def test_a_month_of_another_service_is_not_replaced(landed_month, load, query):
    trips = Table.parse("trips")
    yellow = load(landed_month("yellow_tripdata_2024-01"), table=trips)

    with pytest.raises(WarehouseRefused, match=r"public\.trips holds this month of yellow: load into another table"):
        load(landed_month(JANUARY), table=trips, force=True)

    assert query("SELECT count(*) FROM trips") == [(yellow.rows_loaded,)]


# Names


@pytest.mark.parametrize(
    ("text", "schema", "name"),
    [
        ("trips", "public", "trips"),
        ("Trips", "public", "Trips"),
        ("taxi.trips", "taxi", "trips"),
        ("Taxi._Trips$1", "Taxi", "_Trips$1"),
        ("s" * 63 + "." + "t" * 45, "s" * 63, "t" * 45),
    ],
)
def test_a_table_is_named_with_or_without_its_schema(text, schema, name):
    assert Table.parse(text) == Table(schema, name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "trips.",
        ".trips",
        "a.b.c",
        "1trips",
        "green trips",
        "trips\n",
        "träume",
        "green-trips",
        '"trips"',
        "trips'",
        "'; drop table x; --",
        "../../etc",
        "t" * 46,
        "s" * 64 + ".trips",
        "trips" + "." + "t" * 46,
    ],
)
def test_what_is_no_name_is_refused_with_the_value(text):
    with pytest.raises(ValueError, match="name") as refused:
        Table.parse(text)

    assert any(repr(part) in str(refused.value) for part in (text, *text.split(".")))


def test_the_default_table_is_named_after_the_service():
    assert str(Table.of_service("yellow")) == "public.yellow_taxi_trips"


@pytest.mark.parametrize("text", ["Taxi.Trips", "select.table", "s" * 63 + "." + "T" * 45, "T" * 45])
def test_a_name_of_any_case_and_length_is_taken_as_written(text, landed_month, load, query, lake):
    file, table = landed_month(JANUARY), Table.parse(text)
    load(file, table=table)

    load(file, table=table, force=True)

    assert query(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table.schema, table.name))) == [
        (rows_of(lake, file),)
    ]


# What is in the way, and what must not be lost


@pytest.mark.parametrize(
    "obstacle",
    [
        "CREATE TABLE green_taxi_trips AS SELECT 1 AS index, 2.5 AS fare_amount",
        "CREATE VIEW green_taxi_trips AS SELECT 1 AS index",
        "CREATE TABLE green_taxi_trips (pickup_datetime timestamp) PARTITION BY RANGE (pickup_datetime)",
    ],
)
def test_another_kind_of_table_of_that_name_is_left_alone(obstacle, landed_month, load, query, contents):
    file = landed_month(JANUARY)
    query(obstacle)
    before = contents()

    with pytest.raises(
        WarehouseRefused, match=r"public.green_taxi_trips exists and is not .* load into another table_name"
    ):
        load(file)

    assert contents() == before


def test_the_partition_of_a_table_is_not_taken_for_a_table(landed_month, load):
    file = landed_month(JANUARY)
    load(file)

    with pytest.raises(WarehouseRefused, match="green_taxi_trips_2024_01 exists and is not a table partitioned by"):
        load(file, table=Table.parse("green_taxi_trips_2024_01"))


def test_a_column_that_an_older_catalogue_did_not_have_is_added(landed_month, load, query, lake):
    load(landed_month(FEBRUARY))
    query("ALTER TABLE green_taxi_trips DROP COLUMN trip_distance")

    file = landed_month(JANUARY)
    load(file)

    assert query("SELECT file_month, count(*), count(trip_distance) FROM green_taxi_trips GROUP BY 1 ORDER BY 1") == [
        (date(2024, 1, 1), rows_of(lake, file), rows_of(lake, file)),
        (date(2024, 2, 1), rows_of(lake, replace(file, month=file.month + 1)), 0),
    ]
    assert query("""
        SELECT format_type(atttypid, atttypmod), col_description(attrelid, attnum) FROM pg_attribute
        WHERE attrelid = 'green_taxi_trips'::regclass AND attname = 'trip_distance'
    """) == [("double precision", catalog.service("green").column_published_as("trip_distance").description)]


def test_a_column_of_another_type_is_refused_with_its_name_and_type(landed_month, load, query, contents):
    file = landed_month(JANUARY)
    load(file)
    query("ALTER TABLE green_taxi_trips ALTER fare_amount TYPE numeric(10, 2)")
    before = contents()

    with pytest.raises(WarehouseRefused, match=r"columns of other types: \{'fare_amount': 'numeric\(10,2\)'\}"):
        load(file, force=True)

    assert contents() == before


def test_what_people_add_to_the_table_survives_a_reload(landed_month, load, query, warehouse):
    file = landed_month(JANUARY)
    load(file)
    load(landed_month(FEBRUARY))
    query("ALTER TABLE green_taxi_trips ADD COLUMN note text")
    query("UPDATE green_taxi_trips SET note = 'mine'")
    query("CREATE INDEX by_zone ON green_taxi_trips (pickup_location_id)")
    query("CREATE VIEW longest AS SELECT max(trip_distance) AS miles FROM green_taxi_trips")
    query("GRANT SELECT ON green_taxi_trips TO pg_monitor")
    longest = query("SELECT miles FROM longest")

    load(file, force=True)

    assert query("SELECT file_month, count(note) > 0 FROM green_taxi_trips GROUP BY 1 ORDER BY 1") == [
        (date(2024, 1, 1), False),
        (date(2024, 2, 1), True),
    ]
    assert query("SELECT miles FROM longest") == longest
    assert query("""
        SELECT indrelid::regclass::text, indisvalid FROM pg_inherits JOIN pg_index ON indexrelid = inhrelid
        WHERE inhparent = 'by_zone'::regclass ORDER BY 1
    """) == [("green_taxi_trips_2024_01", True), ("green_taxi_trips_2024_02", True)]
    with psycopg.connect(warehouse, options="-c role=pg_monitor") as granted:
        assert granted.execute("SELECT count(*) > 0 FROM green_taxi_trips").fetchone() == (True,)


@pytest.mark.parametrize(
    ("addition", "words"),
    [
        ("ALTER TABLE green_taxi_trips ADD COLUMN note text NOT NULL DEFAULT ''", "must be marked NOT NULL"),
        ("ALTER TABLE green_taxi_trips ADD CHECK (vendor_id < 100)", "child table is missing constraint"),
        ("CREATE VIEW january AS SELECT * FROM green_taxi_trips_2024_01", "view january depends on table"),
        (
            """
            CREATE TABLE rest PARTITION OF green_taxi_trips DEFAULT;
            DROP TABLE green_taxi_trips_2024_01;
            INSERT INTO green_taxi_trips (file_month) VALUES ('2024-01-01')
            """,
            'updated partition constraint for default partition "rest" would be violated',
        ),
    ],
)
def test_what_a_month_cannot_be_swapped_under_is_refused_in_the_words_of_the_server(
    *,
    addition,
    words,
    landed_month,
    load,
    query,
    contents,
):
    file = landed_month(JANUARY)
    load(file)
    query(addition)
    before = contents()

    with pytest.raises(WarehouseRefused, match=words):
        load(file, force=True)

    assert contents() == before


# Several at once


def test_two_runs_of_a_month_at_once_load_it_once(landed_month, load, query, lake):
    file = landed_month(JANUARY)

    loaded = at_once(*[lambda: load(file)] * 4)

    assert sorted(one.outcome for one in loaded) == ["replaced", "unchanged", "unchanged", "unchanged"]
    assert query("SELECT count(*) FROM green_taxi_trips") == [(rows_of(lake, file),)]
    assert query("SELECT count(*) FROM load_ledger") == [(1,)]


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_forced_runs_of_a_month_at_once_follow_each_other(isolation, landed_month, load, query, lake):
    file = landed_month(JANUARY)
    load(file)
    connect = {"options": f"-c default_transaction_isolation={isolation.replace(' ', chr(92) + ' ')}"}

    loaded = at_once(*[lambda: load(file, connect=connect, force=True)] * 4)

    assert [one.outcome for one in loaded] == ["replaced"] * 4
    assert query("SELECT count(*) FROM green_taxi_trips") == [(rows_of(lake, file),)]
    assert query("SELECT count(*) FROM load_ledger") == [(5,)]


def test_two_processes_that_load_a_month_at_once_load_it_once(landed_month, warehouse, query, lake):
    file = landed_month(JANUARY, rows=20_000)

    processes = [loading_process(warehouse, lake, file) for _ in range(2)]
    outcomes = [process.communicate(timeout=60)[0].strip() for process in processes]

    assert sorted(outcomes) == ["replaced", "unchanged"]
    assert query("SELECT count(*) FROM green_taxi_trips") == [(rows_of(lake, file),)]


def test_many_months_of_a_new_table_load_at_once_again_and_again(landed_month, load, query, lake):
    months = [landed_month(f"green_tripdata_2023-{month:02d}", rows=200 + month) for month in range(1, 9)]
    table = Table.parse("taxi.trips")

    for _ in range(3):
        at_once(*[lambda file=file: load(file, table=table, force=True) for file in months])

    counts = [(file.month.first_day, rows_of(lake, file)) for file in months]
    assert query("SELECT file_month, count(*) FROM taxi.trips GROUP BY 1 ORDER BY 1") == counts
    assert query("SELECT count(*) FROM load_ledger") == [(24,)]
    assert query("SELECT relname FROM pg_class WHERE relname LIKE '%\\_new\\_%'") == []


@pytest.mark.parametrize("read", [lambda reader: reader.execute(COUNTS).fetchone(), in_a_snapshot])
def test_a_reader_sees_the_old_month_or_the_new_one_and_nothing_between(read, landed_month, load, warehouse):
    february = load(landed_month(FEBRUARY)).rows_loaded
    counts = [load(landed_month(JANUARY, rows=rows)).rows_loaded for rows in (4000, 300)]

    with polling(warehouse, read) as seen:
        for rows in (4000, 300, 4000, 300, 4000):
            load(landed_month(JANUARY, rows=rows))

    assert set(seen) == {(january, february) for january in counts}
    assert len(seen) > 10


def test_a_snapshot_older_than_the_load_sees_the_new_month_whole(landed_month, load, warehouse):
    load(landed_month(FEBRUARY))
    load(landed_month(JANUARY))

    with psycopg.connect(warehouse) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT count(*) FROM load_ledger")
        loaded = load(landed_month(JANUARY, rows=500))

        assert reader.execute("SELECT count(*) FROM load_ledger").fetchone() == (2,)
        assert reader.execute(COUNTS).fetchone()[0] == loaded.rows_loaded


@pytest.mark.usefixtures("impatient")
def test_a_long_reader_delays_the_swap_and_neither_it_nor_others_are_disturbed(landed_month, load, warehouse, caplog):
    old = load(landed_month(JANUARY)).rows_loaded
    file = landed_month(JANUARY, rows=500)

    def timed(reader):
        started = monotonic()
        return reader.execute(COUNTS).fetchone()[0], monotonic() - started

    with caplog.at_level("INFO", "include.nyc_taxi.targets.postgres"), psycopg.connect(warehouse) as long_reader:
        long_reader.execute(COUNTS)
        with in_background(lambda: load(file)) as loading:
            with polling(warehouse, timed) as seen:
                wait_until(lambda: "attempt 3 to swap" in caplog.text or loading.done(), "the swap was tried 3 times")
            assert not loading.done()
            assert long_reader.execute(COUNTS).fetchone()[0] == old
            long_reader.rollback()

            assert loading.result().outcome == "replaced"
    with psycopg.connect(warehouse) as reader:
        assert reader.execute(COUNTS).fetchone()[0] == loading.result().rows_loaded
    assert {count for count, _seconds in seen} == {old}
    waits = [seconds for _count, seconds in seen]
    assert 0.1 < max(waits) < 1.5, "readers should wait, for a lock timeout of 0.2 s and not for the long reader"


@pytest.mark.usefixtures("impatient")
def test_a_reader_that_does_not_end_is_told_as_busy_and_nothing_changes(
    landed_month,
    load,
    warehouse,
    contents,
    monkeypatch,
):
    monkeypatch.setattr(postgres, "_SWAP_ATTEMPTS", 2)
    load(landed_month(JANUARY))
    before = contents()
    file = landed_month(JANUARY, rows=500)

    with psycopg.connect(warehouse) as long_reader:
        first = long_reader.execute(COUNTS).fetchone()
        with pytest.raises(WarehouseBusy, match=f"{JANUARY}: no lock on public.green_taxi_trips in 2 attempts"):
            load(file)

        assert long_reader.execute(COUNTS).fetchone() == first
    assert contents() == before
    assert load(file).outcome == "replaced"


def test_a_reader_is_not_the_victim_of_a_deadlock_with_a_swap(landed_month, load, warehouse, query):
    old = load(landed_month(JANUARY)).rows_loaded
    file = landed_month(JANUARY, rows=500)

    with psycopg.connect(warehouse) as reader:
        reader.execute("SELECT count(*) FROM green_taxi_trips_2024_01")
        with in_background(lambda: load(file)) as loading:
            waiting = """
                SELECT FROM pg_locks WHERE NOT granted AND relation = to_regclass('green_taxi_trips_2024_01')
            """
            wait_until(lambda: query(waiting) or loading.done(), "the swap waits for the partition")
            counts = reader.execute(COUNTS).fetchone()
            reader.rollback()

            assert counts[0] == old
            assert loading.result().outcome == "replaced"


def test_no_lock_on_the_table_is_held_while_its_month_is_staged(landed_month, load, lake, query, warehouse):
    file = landed_month(JANUARY)
    load(file)
    query("DELETE FROM green_taxi_trips WHERE ctid = (SELECT min(ctid) FROM green_taxi_trips)")
    locked = []

    def lock_all():
        with psycopg.connect(warehouse) as other:
            other.execute("LOCK TABLE green_taxi_trips IN ACCESS EXCLUSIVE MODE NOWAIT")
            locked.append(True)

    loaded = load(file, lake=MeddledLake(lake, lock_all))

    assert loaded.outcome == "replaced"
    assert locked == [True]


def test_a_month_does_not_wait_for_the_partition_of_another(landed_month, load, warehouse):
    load(landed_month(JANUARY))
    file = landed_month(FEBRUARY)

    with psycopg.connect(warehouse) as other:
        other.execute("LOCK TABLE green_taxi_trips_2024_01 IN ACCESS EXCLUSIVE MODE")

        assert load(file, connect={"options": "-c lock_timeout=3s"}).outcome == "replaced"


def test_a_month_that_is_landed_anew_while_it_is_loaded_is_told_as_changed(landed_month, load, lake, contents):
    file = landed_month(JANUARY)
    load(file)
    before = contents()
    meddled = MeddledLake(lake, lambda: landed_month(JANUARY, profile="none"))

    with pytest.raises(LakeChanged, match=f"{JANUARY}.parquet is not the one this load began with"):
        load(file, lake=meddled, force=True)

    assert contents() == before


# Cut short


def loading_process(warehouse, lake, file):
    command = [sys.executable, "-c", LOADER, warehouse, lake.root, file.name]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)


def in_mid_copy(query, rows):
    """The server processes that have copied some rows of that many, and not yet nearly all."""
    return [
        pid
        for pid, copied in query("SELECT pid, tuples_processed FROM pg_stat_progress_copy")
        if 0 < copied < 0.9 * rows
    ]


def test_a_killed_run_leaves_the_old_month_and_nothing_else(
    *,
    landed_month,
    load,
    warehouse,
    query,
    lake,
    contents,
):
    load(landed_month(JANUARY))
    before = contents()
    file = landed_month(JANUARY, rows=400_000)

    with loading_process(warehouse, lake, file) as process:
        wait_until(lambda: in_mid_copy(query, 400_000) or process.poll() is not None, "the COPY is under way")
        process.kill()
    assert process.returncode == -9
    wait_until(lambda: not query("SELECT FROM pg_stat_progress_copy"), "the server has noticed")

    assert contents() == before
    assert load(file).outcome == "replaced"
    assert query("SELECT count(*) FROM green_taxi_trips") == [(rows_of(lake, file),)]


def test_a_connection_that_breaks_in_mid_copy_is_told_as_busy_and_nothing_changes(
    landed_month, load, query, lake, contents
):
    load(landed_month(JANUARY))
    before = contents()
    file = landed_month(JANUARY, rows=400_000)

    with in_background(lambda: load(file)) as loading:
        wait_until(lambda: in_mid_copy(query, 400_000) or loading.done(), "the COPY is under way")
        [pid] = in_mid_copy(query, 400_000)
        query("SELECT pg_terminate_backend(%s)", (pid,))
        with pytest.raises(WarehouseBusy, match=f"{JANUARY}: public.green_taxi_trips: "):
            loading.result()

    assert contents() == before
    assert load(file).rows_loaded == rows_of(lake, file)


def test_rows_lost_on_the_way_are_told_and_nothing_changes(landed_month, load, lake, contents):
    file = landed_month(JANUARY)
    load(file)
    before = contents()
    rows = rows_of(lake, file)
    described = asdict(landing.landed(lake, file)) | {"rows_read": 301, "rows_accepted": rows + 1}
    for key in (data_key(file), rejects_key(file)):
        table = parquet.read_table(lake.path(key))
        parquet.write_table(table.replace_schema_metadata({"nyc_taxi": json.dumps(described)}), lake.path(key))

    with pytest.raises(CountMismatch, match=f"{JANUARY}: {rows} rows staged, {rows + 1} accepted"):
        load(file, force=True)

    assert contents() == before


# Rights and connections


def test_a_role_without_rights_is_refused_in_the_words_of_the_server(landed_month, load, contents):
    file = landed_month(JANUARY)
    reader = {"options": "-c role=pg_read_all_data"}

    with pytest.raises(WarehouseRefused, match=f"{JANUARY}: public.green_taxi_trips: permission denied for schema"):
        load(file, connect=reader)
    load(file)
    before = contents()
    with pytest.raises(WarehouseRefused, match="permission denied for schema public"):
        load(file, connect=reader, force=True)

    assert contents() == before


def test_a_role_that_may_write_but_does_not_own_the_table_is_refused(landed_month, load, query, contents):
    file = landed_month(JANUARY)
    load(file)
    query("GRANT CREATE ON SCHEMA public TO pg_write_all_data")
    query("GRANT SELECT ON ALL TABLES IN SCHEMA public TO pg_write_all_data")
    before = contents()

    with pytest.raises(WarehouseRefused, match="must be owner of table green_taxi_trips"):
        load(file, connect={"options": "-c role=pg_write_all_data"}, force=True)

    assert contents() == before


def test_a_role_that_does_not_own_the_ledger_loads_into_a_schema_of_its_own(landed_month, load, query, lake):
    file = landed_month(JANUARY)
    load(file)
    query("CREATE SCHEMA own AUTHORIZATION pg_write_all_data")
    query("GRANT SELECT ON load_ledger, trips_by_month, trips_by_hour, trips_by_zone TO pg_write_all_data")

    loaded = load(file, connect={"options": "-c role=pg_write_all_data"}, table=Table.parse("own.trips"))

    assert loaded.outcome == "replaced"
    assert query("SELECT count(*) FROM own.trips") == [(rows_of(lake, file),)]
    assert query("SELECT target_table FROM load_ledger ORDER BY load_id DESC LIMIT 1") == [("own.trips",)]


def test_a_schema_that_is_named_like_the_role_gets_no_second_ledger(landed_month, load, query):
    file, role = landed_month(JANUARY), EmbeddedPostgres.user

    for name in (f"{role}.one", f"{role}.two"):
        load(file, table=Table.parse(name))

    assert query("SELECT schemaname FROM pg_tables WHERE tablename = 'load_ledger'") == [("public",)]


@pytest.mark.parametrize(
    "connect",
    [{"autocommit": True}, {"row_factory": dict_row}, {"options": "-c datestyle=German -c timezone=Asia/Tokyo"}],
)
def test_any_manner_of_connection_will_do(connect, landed_month, load, query, lake):
    file = landed_month(JANUARY)

    outcomes = [load(file, connect=connect, force=force).outcome for force in (False, False, True)]

    assert outcomes == ["replaced", "unchanged", "replaced"]
    assert query(COUNTS) == [(rows_of(lake, file), 0)]


def test_the_settings_of_the_connection_are_as_before(landed_month, warehouse, lake):
    file = landed_month(JANUARY)

    with psycopg.connect(warehouse, options="-c lock_timeout=77s") as connection:
        replace_month(connection, file, lake)

        assert connection.execute("SHOW lock_timeout").fetchone() == ("77s",)
        assert connection.isolation_level is None
        assert connection.row_factory is psycopg.rows.tuple_row


def test_a_connection_inside_a_transaction_is_refused(landed_month, warehouse, lake):
    file = landed_month(JANUARY)

    with psycopg.connect(warehouse) as connection:
        connection.execute("SELECT 1")
        with pytest.raises(ValueError, match="not inside a transaction"):
            replace_month(connection, file, lake)

        assert connection.execute("SELECT to_regclass('green_taxi_trips')").fetchone() == (None,)


def test_a_month_that_was_not_landed_is_an_error_that_says_what_to_do(load, contents):
    before = contents()

    with pytest.raises(PermanentError, match=r"data/green/green_tripdata_2024-01.parquet is not there: land it first"):
        load(TripFile.parse(JANUARY))

    assert contents() == before


# The publisher's own files


@pytest.mark.skipif(
    not os.environ.get("TLC_REAL_DATA"), reason="TLC_REAL_DATA names no folder of the publisher's files"
)
def test_the_publishers_own_files_are_loaded_to_the_last_value(put_raw, load, query, lake):
    folder = Path(os.environ["TLC_REAL_DATA"])
    published = [(path, "official") for path in sorted((folder / "trip-data").glob("green_*.parquet"))]
    published += [(path, "csv_mirror") for path in sorted((folder / "csv-mirror").rglob("green_*.csv.gz"))]
    assert len(published) > 5

    expected, table = [], Table.parse("all_of_green")
    for path, source in published:
        file = TripFile.parse(path.name)
        put_raw(file, lambda target, path=path: target.write_bytes(path.read_bytes()), source=source)
        landing.land(file, lake, source=source, profile="none")
        load(file, table=table)
        expected.append((file.month.first_day, rows_published(path)))
        assert checksums_in_warehouse(query, file, table) == checksums(data_of(lake, file).drop_columns("file_month"))

    assert query("SELECT file_month, count(*) FROM all_of_green GROUP BY 1 ORDER BY 1") == sorted(expected)


def rows_published(path):
    if path.suffix == ".parquet":
        return parquet.read_metadata(path).num_rows
    with gzip.open(path) as lines:
        return sum(1 for _ in lines) - 1


def checksums(data):
    """Nulls, least, greatest and sum of every column; a sum in another order may differ in its last digits."""
    sums = []
    for column in data.columns:
        extremes = compute.min_max(column).as_py()
        sums += [column.null_count, extremes["min"], extremes["max"]]
        if has_sum(column.type):
            total = compute.sum(column).as_py()
            sums.append(None if total is None else pytest.approx(total, rel=1e-9))
    return sums


def checksums_in_warehouse(query, file, table):
    sums = []
    for column in arrow_schema(file.service):
        sums += [sql.SQL("count(*) - count({0}), min({0}), max({0})").format(sql.Identifier(column.name))]
        if has_sum(column.type):
            sums += [sql.SQL("sum({})").format(sql.Identifier(column.name))]
    statement = sql.SQL("SELECT {} FROM {} WHERE file_month = %s").format(sql.SQL(", ").join(sums), table.identifier)
    return list(query(statement, (file.month.first_day,))[0])


def has_sum(type_):
    return pa.types.is_integer(type_) or pa.types.is_floating(type_)
