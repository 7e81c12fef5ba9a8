"""The state of every month: what decides it, and that the warehouse and the lake are asked for what they hold."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from pyarrow import parquet

from include.nyc_taxi import Month, TripFile, coverage
from include.nyc_taxi.coverage import Attempt, State
from include.nyc_taxi.errors import WarehouseRefused
from include.nyc_taxi.lake import rejects_key
from include.nyc_taxi.precedence import Run
from include.nyc_taxi.publications import Publication
from include.nyc_taxi.targets.lake.loads import loads
from include.nyc_taxi.targets.loads import Load
from include.nyc_taxi.targets.postgres import Postgres, Table

JANUARY = TripFile("green", Month(2024, 1))
LOADED_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
BEFORE, AFTER = LOADED_AT - timedelta(hours=1), LOADED_AT + timedelta(hours=1)
LOAD = Load(
    file=JANUARY,
    target="postgres",
    target_table="public.green_taxi_trips",
    loaded_at=LOADED_AT,
    source_url="https://publisher/green_tripdata_2024-01.parquet",
    source_etag='"1"',
    source_sha256="ab",
    source_bytes=100,
    rows_read=10,
    rows_loaded=9,
    rows_rejected=1,
    rejected_by_reason={"no_passengers": 1},
    schema_era="official-2023-02",
    quality_profile="notes",
    rows_expected=10,
)
SAME = Publication(JANUARY, '"1"', None, 100, AFTER)


def attempt(state, at=AFTER):
    return Attempt(JANUARY, state, "ingest_data", "manual__1", at)


@pytest.mark.parametrize(
    ("published", "load", "last", "state"),
    [
        (None, None, None, State.UNKNOWN),
        (Publication(JANUARY), None, None, State.PUBLISHED),
        (SAME, LOAD, None, State.LOADED),
        (None, LOAD, None, State.LOADED),
        (replace(SAME, etag='"2"'), LOAD, None, State.STALE),
        (replace(SAME, etag='"2"', checked_at=BEFORE), LOAD, None, State.LOADED),
        (replace(SAME, etag='"2"', checked_at=None), LOAD, None, State.LOADED),
        (replace(SAME, etag=None, bytes=101), LOAD, None, State.STALE),
        (replace(SAME, etag=None, bytes=None), LOAD, None, State.LOADED),
        (replace(SAME, etag='"2"'), replace(LOAD, source=None, schema_era="csv_mirror-2020-01"), None, State.LOADED),
        (replace(SAME, etag='"2"'), replace(LOAD, source="elsewhere.0a1b2c3d"), None, State.LOADED),
        (SAME, replace(LOAD, rows_expected=11), None, State.COUNT_DIFFERS),
        (SAME, replace(LOAD, rows_expected=None), None, State.LOADED),
        (replace(SAME, etag='"2"'), replace(LOAD, rows_expected=11), None, State.STALE),
        (SAME, LOAD, attempt("failed"), State.FAILED),
        (SAME, LOAD, attempt("failed", BEFORE), State.LOADED),
        (SAME, LOAD, attempt("success"), State.LOADED),
        (SAME, LOAD, attempt("queued", BEFORE), State.RUNNING),
        (None, None, attempt("failed"), State.FAILED),
        (None, None, attempt("running"), State.RUNNING),
    ],
)
def test_publication_load_and_last_attempt_decide_the_state(published, load, last, state):
    by_file = [{JANUARY: value} if value else {} for value in (published, load, last)]

    cell = coverage.coverage(*by_file, Month(2024, 2))[JANUARY]

    assert cell.state is state
    assert (cell.publication, cell.load, cell.attempt) == (published, load, last)


@pytest.mark.parametrize(
    ("month", "absent", "state"),
    [
        (Month(2024, 1), [], State.UNKNOWN),
        (Month(2024, 1), [JANUARY], State.NOT_PUBLISHED),
        (Month(2024, 5), [], State.NOT_PUBLISHED),  # it is not over
        (Month(2013, 12), [], State.NOT_PUBLISHED),  # green begins in 2014
    ],
)
def test_a_month_that_nobody_asked_for_is_unknown_unless_it_cannot_be_published(month, absent, state):
    file = replace(JANUARY, month=month)

    cell = coverage.coverage({}, {}, {}, Month(2024, 5), absent)[file]

    assert (cell.state, cell.standing) == (state, state)


@pytest.mark.parametrize("last", [None, "failed", "running"])
def test_a_loaded_month_counts_as_loaded_whatever_runs_or_failed_since(last):
    attempts = {JANUARY: attempt(last)} if last else {}

    cells = coverage.coverage({JANUARY: SAME}, {JANUARY: LOAD}, attempts, Month(2024, 2))

    counts = coverage.counts(cells.values())
    assert (counts[State.LOADED], counts[State.PUBLISHED]) == (1, 0)
    assert sum(counts[state] for state in (State.FAILED, State.RUNNING)) == bool(last)


def test_the_backlog_of_a_service_begins_at_its_first_loaded_month():
    """Months before are not wanted, and nobody waits for a service of which nothing is loaded."""
    months = [replace(JANUARY, month=JANUARY.month + later) for later in range(-1, 3)]
    others = [replace(file, service="yellow") for file in months]
    published = {file: Publication(file, '"2"', None, 100, AFTER) for file in months + others}

    cells = coverage.coverage(published, {JANUARY: LOAD}, {JANUARY: attempt("failed")}, Month(2024, 4)).values()

    assert coverage.backlog(cells) == {"green": 3, "yellow": 0, "fhv": 0, "fhvhv": 0}
    assert coverage.newest(cells) == {"green": Month(2024, 1)}


def test_every_service_has_a_cell_for_every_month_and_for_what_lies_beyond():
    beyond = TripFile("green", Month(2024, 3))

    cells = coverage.coverage({}, {beyond: replace(LOAD, file=beyond)}, {}, Month(2024, 1))

    assert len(cells) == 4 * (15 * 12 + 1) + 1
    counts = coverage.counts(cells.values())
    assert (counts[State.LOADED], counts[State.NOT_PUBLISHED] + counts[State.UNKNOWN]) == (1, 724)


def test_a_warehouse_without_a_ledger_holds_nothing(warehouse):
    with psycopg.connect(warehouse) as connection:
        assert Postgres().loads(connection) == {}


@pytest.fixture
def connection(warehouse):
    with psycopg.connect(warehouse, autocommit=True) as connection:
        yield connection


def test_the_last_load_of_a_month_is_what_the_warehouse_holds(connection, lake, landed_month):
    for rows, run_id in ((300, "first"), (200, "second")):
        file = landed_month(JANUARY.name, rows=rows)
        Postgres().replace_month(connection, file, lake, run=Run("ingest_data", run_id))

    [load] = Postgres().loads(connection).values()

    assert (load.file, load.rows_read, load.run_id) == (JANUARY, 200, "second")
    assert load.rows_read == load.rows_loaded + sum(load.rejected_by_reason.values())
    assert load.source == "official"
    assert load.loaded_at.tzinfo is not None


def test_the_table_of_the_service_comes_before_another(connection, lake, landed_month):
    file = landed_month(JANUARY.name)
    Postgres().replace_month(connection, file, lake)
    Postgres().replace_month(connection, file, lake, table=Table.parse("lab.green"))
    Postgres().replace_month(connection, landed_month("green_tripdata_2024-02"), lake, table=Table.parse("lab.green"))

    tables = {str(file.month): load.target_table for file, load in Postgres().loads(connection).items()}

    assert tables == {"2024-01": "public.green_taxi_trips", "2024-02": "lab.green"}


def test_a_month_whose_partition_was_dropped_is_not_loaded(connection, lake, landed_month):
    for name in (JANUARY.name, "green_tripdata_2024-02"):
        Postgres().replace_month(connection, landed_month(name), lake)

    connection.execute("DROP TABLE green_taxi_trips_2024_01")

    assert [str(file.month) for file in Postgres().loads(connection)] == ["2024-02"]


def test_a_ledger_that_may_not_be_read_is_said_so(connection, lake, landed_month):
    Postgres().replace_month(connection, landed_month(JANUARY.name), lake)
    connection.execute("CREATE ROLE nobody_reader")
    try:
        connection.execute("SET ROLE nobody_reader")
        with pytest.raises(WarehouseRefused, match="permission denied for table load_ledger"):
            Postgres().loads(connection)
    finally:
        connection.execute("RESET ROLE")
        connection.execute("DROP ROLE nobody_reader")


def test_an_empty_lake_holds_nothing(any_lake):
    assert loads(any_lake) == {}


def test_the_lake_holds_what_its_files_say(lake, landed_month):
    landed_month(JANUARY.name, rows=300)

    [load] = loads(lake).values()

    assert (load.file, load.target, load.rows_read, load.run_id) == (JANUARY, "lake", 300, None)
    assert load.target_table == lake.url("data/green/green_tripdata_2024-01.parquet")
    assert abs(load.loaded_at - datetime.now(UTC)) < timedelta(hours=1)


def test_a_second_look_reads_only_what_changed(lake, landed_month):
    landed_month(JANUARY.name)
    landed_month("green_tripdata_2024-02", rows=300)
    footers = {}
    first = loads(lake, footers)
    landed_month("green_tripdata_2024-02", rows=200)

    second = loads(lake, footers)

    assert {str(file.month): load.rows_read for file, load in second.items()} == {"2024-01": 300, "2024-02": 200}
    assert second[JANUARY] is first[JANUARY], "the footer of a file that has not changed should not be read again"
    assert len(footers) == 2


def test_data_without_its_rejects_is_not_held(lake, landed_month):
    landed_month(JANUARY.name)
    lake.fs.rm(lake.path(rejects_key(JANUARY)))

    assert loads(lake) == {}


def test_a_foreign_file_in_the_lake_is_no_trip_file(lake, landed_month):
    file = landed_month(JANUARY.name)
    table = parquet.read_table(lake.path("data/green/green_tripdata_2024-01.parquet"))
    parquet.write_table(table.slice(0, 1), lake.path("data/green/my own.parquet"))

    assert list(loads(lake)) == [file]
