"""A landed month in a DuckDB file: whole, once, replaced in one transaction, counted, written down."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest
from pyarrow import parquet

from devtools.faults.damage import flipped, places
from include.nyc_taxi import TripFile, catalog, landing
from include.nyc_taxi.errors import (
    CountMismatch,
    DamagedData,
    LakeChanged,
    NotInLake,
    OutOfMemory,
    PermanentError,
    WarehouseBusy,
    WarehouseRefused,
)
from include.nyc_taxi.lake import Lake, data_key
from include.nyc_taxi.precedence import Run
from include.nyc_taxi.targets.duckdb import DuckDB
from include.nyc_taxi.targets.duckdb.database import DatabaseFile
from include.nyc_taxi.targets.duckdb.refusals import errors_told
from include.nyc_taxi.targets.duckdb.table import Table
from include.nyc_taxi.targets.ledger import FIELDS

PROJECT = Path(__file__).parents[3]
DUCKDB = DuckDB()
JANUARY, FEBRUARY = "green_tripdata_2024-01", "green_tripdata_2024-02"
TRIPS = "main.green_taxi_trips"
TYPES = {"int16": "SMALLINT", "int32": "INTEGER", "float64": "DOUBLE", "timestamp": "TIMESTAMP", "text": "VARCHAR"}
HOLDER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "reads")
print("open", flush=True)
sys.stdin.read()
"""
IN_A_CONTAINER = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
HASTY = """
import sys
from pathlib import Path
from include.nyc_taxi.targets.duckdb.database import DatabaseFile
with DatabaseFile(Path(sys.argv[1]), patience_seconds=0).reading():
    pass
"""
DRAWS = """
import sys
from pathlib import Path
from include.nyc_taxi.targets.duckdb.database import DatabaseFile
with DatabaseFile(Path(sys.argv[1])).transaction() as connection:
    print(*connection.execute("SELECT current_setting('enable_progress_bar')").fetchone())
"""
KILLED = """
import os, signal, sys
from pathlib import Path
from include.nyc_taxi import TripFile
from include.nyc_taxi.lake import Lake
from include.nyc_taxi.targets.duckdb import DuckDB, ledger
from include.nyc_taxi.targets.duckdb.database import DatabaseFile

write = ledger.write
def written_and_killed(*values):
    write(*values)
    os.kill(os.getpid(), signal.SIGKILL)
ledger.write = written_and_killed
path, lake, name = sys.argv[1:]
DuckDB().replace_month(DatabaseFile(Path(path)), TripFile.parse(name), Lake.at(lake), force=True)
"""

Landing = Callable[..., TripFile]


@pytest.fixture
def database(tmp_path: Path) -> DatabaseFile:
    return DatabaseFile(tmp_path / "a folder" / "taxi.duckdb", patience_seconds=30)


@pytest.fixture
def query(database: DatabaseFile) -> Callable[..., list[tuple[object, ...]]]:
    """Asks or tells the database something, as a person does who has the file."""

    def query(statement: str, *, read_only: bool = False) -> list[tuple[object, ...]]:
        with duckdb.connect(str(database.path), read_only=read_only) as connection:
            return connection.execute(statement).fetchall()

    return query


@contextmanager
def held_open(path: Path, mode: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the file open, and `writes` or `reads`."""
    command = [sys.executable, "-c", HOLDER, str(path), mode]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "open\n"
            yield holder
        finally:
            holder.kill()


def rows_of(lake: Lake, file: TripFile) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in parquet.read_table(lake.path(data_key(file))).to_pylist()]


def in_order(rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return sorted(rows, key=repr)


# What a table holds


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("green_tripdata_2020-04", "csv_mirror"),
        ("yellow_tripdata_2025-01", "official"),
        ("fhv_tripdata_2024-01", "official"),
        ("fhvhv_tripdata_2024-01", "official"),
    ],
)
def test_the_table_holds_the_very_rows_of_data(lake, landed_month, database, query, name, source):
    file = landed_month(name, source=source)

    loaded = DUCKDB.replace_month(database, file, lake)

    columns = ", ".join(landing.data_schema(file.service).names)
    assert in_order(query(f"SELECT {columns} FROM {file.service}_taxi_trips")) == in_order(rows_of(lake, file))
    assert loaded.outcome == "replaced"
    assert str(loaded.table) == f"main.{file.service}_taxi_trips"
    assert loaded.rows_loaded == loaded.landed.rows_accepted > 0


def test_a_month_is_loaded_from_a_bucket(bucket, lake, landed_month, database, query):
    file = landed_month(JANUARY)
    for zone in ("data", "rejects"):
        key = data_key(file).replace("data/", f"{zone}/", 1)
        with bucket.staged(key) as path:
            path.write_bytes(Path(lake.path(key)).read_bytes())

    assert DUCKDB.replace_month(database, file, bucket).outcome == "replaced"

    assert query(f"SELECT count(*) FROM {TRIPS}") == [(len(rows_of(lake, file)),)]
    assert DUCKDB.replace_month(database, file, bucket).outcome == "unchanged"


def test_a_table_has_the_columns_types_and_comments_of_the_catalogue(lake, landed_month, database, query):
    DUCKDB.replace_month(database, landed_month(JANUARY), lake)

    found = query(
        "SELECT column_name, data_type, comment FROM duckdb_columns() WHERE table_name = 'green_taxi_trips' "
        "ORDER BY column_index"
    )
    expected = [(column.name, TYPES[column.type], column.description) for column in catalog.service("green").columns]
    assert found == [*expected, ("file_month", "DATE", None)]
    [(comment,)] = query("SELECT comment FROM duckdb_tables() WHERE table_name = 'green_taxi_trips'")
    assert comment.startswith("Trips of the service green. ")


def test_a_load_writes_down_the_month_its_counts_and_who_loaded_it(lake, landed_month, database, query):
    file = landed_month(JANUARY)

    loaded = DUCKDB.replace_month(database, file, lake, run=Run("etl_web_to_duckdb", "run 1"))

    [load] = DUCKDB.loads(database).values()
    assert (load.file, load.target, load.target_table) == (file, "duckdb", TRIPS)
    assert (load.dag_id, load.run_id) == ("etl_web_to_duckdb", "run 1")
    assert load.rows_read == load.rows_loaded + load.rows_rejected == 300
    assert load.rejected_by_reason == loaded.landed.rejected_by_reason != {}
    assert load.rule_hits == loaded.landed.rule_hits
    assert load.loaded_at.tzinfo is not None
    columns = [name for (name, *_) in query("DESCRIBE load_ledger")]
    assert columns == ["load_id", *(field.name for field in FIELDS), "loaded_at"]


def test_a_table_and_a_schema_of_choice_are_created(lake, landed_month, database, query):
    file = landed_month(JANUARY)

    DUCKDB.replace_month(database, file, lake, table=DUCKDB.table("green", name="prod.trips"))

    assert query("SELECT count(*) FROM prod.trips") == [(len(rows_of(lake, file)),)]
    assert [load.target_table for load in DUCKDB.loads(database).values()] == ["prod.trips"]
    assert DUCKDB.own_loads(database) == {}


@pytest.mark.parametrize("name", ["a.b.c", "1trips", "trips; DROP", 'a"b', "", "trips-2024"])
def test_a_table_name_that_is_none_is_refused(name):
    with pytest.raises(ValueError, match=r"is not table or schema\.table"):
        Table.parse(name)


# What happens when a month comes again


def test_an_unchanged_month_is_left_alone(lake, landed_month, database, caplog):
    file = landed_month(JANUARY)
    DUCKDB.replace_month(database, file, lake)
    before = database.path.read_bytes()

    with caplog.at_level("INFO", "include.nyc_taxi.targets.duckdb"):
        loaded = DUCKDB.replace_month(database, file, lake)

    assert loaded.outcome == "unchanged"
    assert database.path.read_bytes() == before
    assert f"{file}: {TRIPS} is up to date with {loaded.rows_loaded} rows" in caplog.text


def test_force_loads_an_unchanged_month_again(lake, landed_month, database, query):
    file = landed_month(JANUARY)

    outcomes = [DUCKDB.replace_month(database, file, lake, force=True).outcome for _ in range(3)]

    assert outcomes == ["replaced"] * 3
    assert query(f"SELECT count(*) FROM {TRIPS}") == [(len(rows_of(lake, file)),)]
    assert query("SELECT load_id FROM load_ledger ORDER BY load_id") == [(1,), (2,), (3,)]


def test_a_changed_month_replaces_its_rows_and_no_others(lake, landed_month, database, query):
    february = f"SELECT * FROM {TRIPS} WHERE file_month = '2024-02-01'"
    for name in (JANUARY, FEBRUARY):
        DUCKDB.replace_month(database, landed_month(name), lake)
    before = in_order(query(february))

    file = landed_month(JANUARY, rows=500)
    assert DUCKDB.replace_month(database, file, lake).outcome == "replaced"

    january = f"SELECT count(*) FROM {TRIPS} WHERE file_month = '2024-01-01'"
    assert query(january) == [(len(rows_of(lake, file)),)]
    assert in_order(query(february)) == before != []


@pytest.mark.parametrize(
    "meddling", [f"DELETE FROM {TRIPS} WHERE rowid = 3", f"TRUNCATE {TRIPS}", f"DROP TABLE {TRIPS}"]
)
def test_rows_that_somebody_removed_are_loaded_again(lake, landed_month, database, query, meddling):
    file = landed_month(JANUARY)
    DUCKDB.replace_month(database, file, lake)
    query(meddling.format(TRIPS))

    assert DUCKDB.replace_month(database, file, lake).outcome == "replaced"

    assert query(f"SELECT count(*) FROM {TRIPS}") == [(len(rows_of(lake, file)),)]


def test_a_month_counts_as_loaded_while_its_rows_are_there(lake, landed_month, database, query):
    files = [landed_month(name) for name in (JANUARY, FEBRUARY)]
    for file in files:
        DUCKDB.replace_month(database, file, lake)
        DUCKDB.replace_month(database, file, lake, table=Table.parse("other.trips"))

    assert {load.target_table for load in DUCKDB.loads(database).values()} == {TRIPS}
    query(f"DELETE FROM {TRIPS} WHERE file_month = '2024-01-01'")
    assert [DUCKDB.loads(database)[file].target_table for file in files] == ["other.trips", TRIPS]
    query("DROP TABLE other.trips")
    assert list(DUCKDB.loads(database)) == files[1:]


def test_columns_that_an_earlier_version_lacks_are_added(lake, landed_month, database, query):
    DUCKDB.replace_month(database, landed_month(JANUARY), lake)
    query(f"ALTER TABLE {TRIPS} DROP COLUMN vendor_id")
    query("ALTER TABLE load_ledger DROP COLUMN rule_hits")
    file = landed_month(FEBRUARY)

    DUCKDB.replace_month(database, file, lake)

    held = query(f"SELECT count(*), count(vendor_id) FROM {TRIPS} WHERE file_month = '2024-02-01'")
    assert held == [(len(rows_of(lake, file)),) * 2]
    assert query("SELECT rule_hits FROM load_ledger WHERE month = '2024-01'") == [("{}",)]


# What is refused, and what changes nothing


def test_a_month_that_is_not_landed_is_named(lake, database):
    with pytest.raises(NotInLake, match=JANUARY):
        DUCKDB.replace_month(database, TripFile.parse(JANUARY), lake)

    assert not database.path.exists()


@pytest.mark.parametrize(
    ("meddling", "words"),
    [
        ("CREATE VIEW main.green_taxi_trips AS SELECT 1 AS one", "not a table of trips, but a view"),
        (
            "CREATE TABLE main.green_taxi_trips (one int)",
            r"not a table of trips, but a table with the columns \['one'\]",
        ),
        ("CREATE TABLE main.green_taxi_trips (file_month DATE, vendor_id VARCHAR)", "has columns of other types"),
    ],
)
def test_something_else_that_has_the_tables_name_is_refused_and_left_alone(
    lake, landed_month, database, query, meddling, words
):
    database.path.parent.mkdir()
    query(meddling)

    for refused in (
        lambda: DUCKDB.check(database, lake, DUCKDB.default_table("green"), "green"),
        lambda: DUCKDB.replace_month(database, landed_month(JANUARY), lake),
    ):
        with pytest.raises(WarehouseRefused, match=words):
            refused()

    assert query("SELECT count(*) FROM duckdb_columns() WHERE table_name = 'load_ledger'") == [(0,)]


def test_a_table_of_another_service_is_refused(lake, landed_month, database):
    DUCKDB.replace_month(database, landed_month(JANUARY), lake)
    table, yellow = DUCKDB.default_table("green"), landed_month("yellow_tripdata_2024-01")

    for refused in (
        lambda: DUCKDB.check(database, lake, table, "yellow"),
        lambda: DUCKDB.replace_month(database, yellow, lake, table=table),
    ):
        with pytest.raises(WarehouseRefused, match="holds trips of green, not of yellow"):
            refused()


def test_rows_of_another_month_are_refused_and_nothing_is_changed(lake, landed_month, database, query, monkeypatch):
    file = landed_month(JANUARY)
    DUCKDB.replace_month(database, file, lake)
    february = landed_month(FEBRUARY)
    monkeypatch.setattr(
        "include.nyc_taxi.targets.duckdb.load._Replacement._count", lambda self, _: 0 if self.file == february else 1
    )

    with pytest.raises(CountMismatch, match="0 rows inserted"):
        DUCKDB.replace_month(database, february, lake)

    assert query(f"SELECT DISTINCT file_month::text FROM {TRIPS}") == [("2024-01-01",)]
    assert query("SELECT count(*) FROM load_ledger") == [(1,)]


def test_damaged_rows_are_set_aside_and_nothing_is_changed(lake, landed_month, database, query):
    file = landed_month(JANUARY)
    DUCKDB.replace_month(database, file, lake)
    path = Path(lake.path(data_key(file)))
    path.write_bytes(flipped(path.read_bytes(), places(path.read_bytes())["values of a page"]))

    with pytest.raises(DamagedData):
        DUCKDB.replace_month(database, file, lake, force=True)

    assert query("SELECT count(*) FROM load_ledger") == [(1,)]


def test_rows_that_were_replaced_meanwhile_are_not_loaded(lake, landed_month, database):
    file = landed_month(JANUARY)

    class Meddled(Lake):
        @contextmanager
        def local(self, key: str) -> Iterator[Path]:
            landed_month(JANUARY, rows=400)
            with super().local(key) as path:
                yield path

    with pytest.raises(LakeChanged, match="was replaced by another run since this load began"):
        DUCKDB.replace_month(database, file, Meddled(None, lake.root))

    assert DUCKDB.loads(database) == {}


def test_the_target_does_not_append(lake, landed_month, database):
    with pytest.raises(PermanentError, match="DuckDB does not append"):
        DUCKDB.append_month(database, landed_month(JANUARY), lake)


@pytest.mark.parametrize("content", [b"", b"not a database" * 500])
def test_a_file_that_is_no_database_is_refused_and_left_alone(lake, landed_month, database, content):
    database.path.parent.mkdir()
    database.path.write_bytes(content)
    file = landed_month(JANUARY)

    for refused in (
        lambda: DUCKDB.check(database, lake, DUCKDB.default_table("green"), "green"),
        lambda: DUCKDB.loads(database),
        lambda: DUCKDB.replace_month(database, file, lake),
    ):
        with pytest.raises(WarehouseRefused, match="not a valid DuckDB database file"):
            refused()
    assert database.path.read_bytes() == content


def test_a_load_that_needs_more_than_its_memory_says_what_to_raise(lake, landed_month, tmp_path):
    tight = DatabaseFile(tmp_path / "taxi.duckdb", memory_limit="1MB", threads=1)

    with pytest.raises(OutOfMemory, match="raise memory_limit in the extra of the connection"):
        DUCKDB.replace_month(tight, landed_month(JANUARY, rows=20_000), lake)


def test_a_file_that_was_named_as_read_only_is_not_written(lake, landed_month, database):
    file = landed_month(JANUARY)

    with pytest.raises(ValueError, match="expected one that may be written"):
        DUCKDB.replace_month(DatabaseFile(database.path, read_only=True), file, lake)

    assert not database.path.exists()


def test_nothing_is_drawn_into_the_log_of_a_task_that_is_started_with_its_code(database):
    command = [sys.executable, "-c", DRAWS, str(database.path)]

    assert subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout == "False\n"


# One process writes the file at a time


@pytest.mark.parametrize("mode", ["writes", "reads"])
def test_a_load_waits_for_other_processes_and_says_so_once(lake, landed_month, database, caplog, mode):
    DUCKDB.replace_month(database, landed_month(JANUARY), lake)
    file = landed_month(FEBRUARY)

    with caplog.at_level("INFO"), ThreadPoolExecutor(1) as threads, held_open(database.path, mode) as holder:
        load = threads.submit(DUCKDB.replace_month, database, file, lake)
        while "waiting for" not in caplog.text and not load.done():
            pass
        waited = not load.done()
        holder.kill()
        assert load.result().outcome == "replaced"

    assert waited
    assert [record.message for record in caplog.records if "waiting for" in record.message] == [
        f"{database.path}: waiting for {record_holder(holder, caplog.text)}, which has it open, for 30 s at most"
    ]


def record_holder(holder: subprocess.Popen[str], text: str) -> str:
    """The program as the line names it, with the right number."""
    [line] = [line for line in text.splitlines() if "waiting for" in line]
    name = line.partition("waiting for ")[2].partition(", which")[0]
    assert name.endswith(f"(PID {holder.pid})")
    return name


def test_waiting_ends_after_a_while_and_nothing_is_changed(lake, landed_month, database):
    DUCKDB.replace_month(database, landed_month(JANUARY), lake)
    hasty, file = DatabaseFile(database.path, patience_seconds=0.2), landed_month(FEBRUARY)

    with held_open(database.path, "writes") as holder:
        for busy in (lambda: DUCKDB.replace_month(hasty, file, lake), lambda: DUCKDB.loads(hasty)):
            with pytest.raises(
                WarehouseBusy, match=rf"PID {holder.pid}\) has had it open for 0.2 s; .* close it there"
            ):
                busy()

    assert list(DUCKDB.loads(database)) == [TripFile.parse(JANUARY)]


@pytest.mark.skipif(
    not shutil.which("unshare") or bool(subprocess.run([*IN_A_CONTAINER, "true"], check=False).returncode),
    reason="no process of its own numbers can be started here",
)
def test_a_process_of_another_container_is_not_taken_for_this_one(lake, landed_month, database):
    DUCKDB.replace_month(database, landed_month(JANUARY), lake)

    with held_open(database.path, "writes"):
        command = [*IN_A_CONTAINER, sys.executable, "-c", HASTY, str(database.path)]
        asked = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)

    assert "taxi.duckdb: a process of another container has had it open for 0 s; " in asked.stderr


def test_a_file_system_without_locks_is_a_matter_of_where_the_file_is():
    error = duckdb.IOException('IO Error: Could not set lock on file "/nfs/taxi.duckdb": No locks available')

    with pytest.raises(WarehouseRefused, match="put the file on a disk of the machine"), errors_told("taxi.duckdb"):
        raise error


def test_readers_do_not_wait_for_one_another(lake, landed_month, database):
    file = landed_month(JANUARY)
    DUCKDB.replace_month(database, file, lake)

    with held_open(database.path, "reads"):
        assert list(DUCKDB.loads(DatabaseFile(database.path, patience_seconds=0))) == [file]


def test_loads_at_the_same_time_take_turns(lake, landed_month, database):
    files = [landed_month(f"green_tripdata_2024-0{number}") for number in range(1, 5)] * 2

    with ThreadPoolExecutor(len(files)) as threads:
        loaded = list(threads.map(lambda file: DUCKDB.replace_month(database, file, lake), files))

    assert sorted(one.outcome for one in loaded) == ["replaced"] * 4 + ["unchanged"] * 4
    assert sorted(DUCKDB.loads(database)) == files[:4]


def test_a_load_that_is_killed_before_its_commit_leaves_what_was_there(lake, landed_month, database, query):
    file = landed_month(JANUARY)
    DUCKDB.replace_month(database, file, lake)
    before = in_order(query(f"SELECT * FROM {TRIPS}")), query("SELECT * EXCLUDE loaded_at FROM load_ledger")
    landed_month(JANUARY, rows=2_000)

    command = [sys.executable, "-c", KILLED, str(database.path), lake.root, JANUARY]
    killed = subprocess.run(command, cwd=PROJECT, check=False)

    assert killed.returncode == -signal.SIGKILL
    after = (query(f"SELECT * FROM {TRIPS}", read_only=True), query("SELECT * EXCLUDE loaded_at FROM load_ledger"))
    assert (in_order(after[0]), after[1]) == before
    assert DUCKDB.replace_month(database, file, lake).outcome == "replaced"
    assert list(database.path.parent.iterdir()) == [database.path]
