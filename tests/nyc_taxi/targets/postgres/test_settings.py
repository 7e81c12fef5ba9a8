"""Databases as they are found: no setting of a role or of a database changes what a load does or a question answers."""

import os
import signal
import subprocess
import sys

import psycopg
import pytest
from psycopg import sql

from devtools.servers.postgres import EmbeddedPostgres
from include.nyc_taxi import landed_zones
from include.nyc_taxi.errors import WarehouseBusy, WarehouseRefused
from include.nyc_taxi.lake import ANYTHING
from include.nyc_taxi.landed_zones import Zone
from include.nyc_taxi.targets.postgres import Postgres, Table
from include.nyc_taxi.targets.postgres.load import _Replacement
from tests.nyc_taxi.targets.postgres.loading import COUNTS, JANUARY, PROJECT, rows_of, wait_until

ZONES = [
    Zone(1, "EWR", "Newark Airport", "EWR", None, None, None),
    Zone(2, "Queens", "Jamaica Bay", "Boro", None, None, None),
]
SETTINGS = [
    ("quote_all_identifiers", "on"),
    ("datestyle", "German"),
    ("datestyle", "SQL, DMY"),
    ("datestyle", "Postgres"),
    ("client_encoding", "LATIN1"),
    ("client_encoding", "SQL_ASCII"),
    ("intervalstyle", "iso_8601"),
    ("search_path", '"$user"'),
    ("search_path", "elsewhere, public"),
    ("search_path", ""),
    ("timezone", "Asia/Tokyo"),
    ("array_nulls", "off"),
    ("extra_float_digits", "-10"),
    ("standard_conforming_strings", "off"),
    ("default_transaction_isolation", "serializable"),
    ("bytea_output", "escape"),
    ("lc_messages", "C"),
]


@pytest.fixture
def role_setting(query):
    """Gives the role a setting for the sessions to come, in this database alone."""
    (database,) = query("SELECT current_database()")[0]
    names = sql.Identifier(EmbeddedPostgres.user), sql.Identifier(database)

    def put(name, value):
        shown = sql.Literal(value) if name != "search_path" else sql.SQL(value or "''")
        query(sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} = {}").format(*names, sql.Identifier(name), shown))

    return put


@pytest.mark.parametrize(("name", "value"), SETTINGS)
def test_a_setting_of_the_role_changes_nothing(name, value, role_setting, landed_month, warehouse, lake, query):
    query("CREATE SCHEMA elsewhere")
    role_setting(name, value)
    file, postgres = landed_month(JANUARY), Postgres()
    landed_zones.write(lake, ZONES, "a recipe", ANYTHING)

    with psycopg.connect(warehouse) as connection:
        postgres.check(connection, lake, postgres.default_table("green"), "green")
        outcomes = [
            postgres.replace_month(connection, file, lake, force=force).outcome for force in (False, False, True)
        ]
        zones = [postgres.replace_zones(connection, lake).outcome for _ in range(2)]
        loads, months = postgres.loads(connection), postgres.summaries.months(connection)
        shapes = postgres.summaries.shapes(connection)

    assert outcomes == ["replaced", "unchanged", "replaced"]
    assert zones == ["replaced", "unchanged"]
    assert query("SELECT count(*) FROM public.green_taxi_trips") == [(rows_of(lake, file),)]
    assert query("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename = 'load_ledger'") == [("public",)]
    assert loads[file].rows_loaded == months[0].trips == rows_of(lake, file)
    assert loads[file].loaded_at.tzinfo is not None
    assert [shape.zone for shape in shapes] == ["Newark Airport", "Jamaica Bay"]


def test_a_read_only_database_is_refused_by_name_before_a_load(role_setting, warehouse, lake):
    role_setting("default_transaction_read_only", "on")

    with psycopg.connect(warehouse) as connection, pytest.raises(WarehouseRefused, match="it is read-only: a standby"):
        Postgres().check(connection, lake, Table.parse("green_taxi_trips"), "green")


def test_a_missing_right_is_found_before_a_load(warehouse, lake):
    with (
        psycopg.connect(warehouse, options="-c role=pg_read_all_data") as connection,
        pytest.raises(WarehouseRefused, match="permission denied for schema public: grant USAGE and CREATE"),
    ):
        Postgres().check(connection, lake, Table.parse("green_taxi_trips"), "green")


def test_a_detached_partition_keeps_its_name_and_the_month_gets_another(landed_month, load, query, lake):
    file = landed_month(JANUARY)
    load(file)
    query("ALTER TABLE green_taxi_trips DETACH PARTITION green_taxi_trips_2024_01")

    assert load(file).outcome == "replaced"
    assert load(file).outcome == "unchanged"
    assert query(COUNTS) == query("SELECT count(*), 0 FROM green_taxi_trips_2024_01") == [(rows_of(lake, file), 0)]


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE green_taxi_trips CASCADE",
        "ALTER TABLE green_taxi_trips DETACH PARTITION green_taxi_trips_2024_01",
        "TRUNCATE green_taxi_trips",
        "ALTER TABLE green_taxi_trips DROP COLUMN trip_distance CASCADE",
        "ALTER TABLE green_taxi_trips ADD COLUMN mine text",
        "DROP TABLE green_taxi_trips_2024_01",
        "ALTER TABLE green_taxi_trips RENAME TO yours",
    ],
)
def test_a_table_that_changes_in_mid_load_is_right_at_the_next_try(
    change, landed_month, load, query, lake, monkeypatch
):
    file = landed_month(JANUARY)
    load(file)
    stage = _Replacement._stage

    def stage_and_change(self, path, oid):
        stage(self, path, oid)
        monkeypatch.setattr(_Replacement, "_stage", stage)
        query(change)

    monkeypatch.setattr(_Replacement, "_stage", stage_and_change)
    try:
        load(file, force=True)
    except WarehouseBusy:
        load(file, force=True)

    assert query(COUNTS) == [(rows_of(lake, file), 0)]


STOPS_BEFORE_COMMIT = """
import os, signal, sys
import psycopg
from include.nyc_taxi import TripFile
from include.nyc_taxi.lake import Lake
from include.nyc_taxi.targets.postgres import Postgres
from include.nyc_taxi.targets.postgres.load import _Replacement

swap = _Replacement._swap
def swap_and_stop(self, oid):
    swap(self, oid)
    os.kill(os.getpid(), signal.SIGSTOP)
_Replacement._swap = swap_and_stop
conninfo, lake, name = sys.argv[1:]
with psycopg.connect(conninfo) as connection:
    Postgres().replace_month(connection, TripFile.parse(name), Lake.at(lake), force=True)
"""


def test_a_process_that_is_stopped_before_its_commit_does_not_keep_readers_waiting(
    landed_month, load, warehouse, query, lake
):
    file = landed_month(JANUARY)
    load(file)
    loader = subprocess.Popen([sys.executable, "-c", STOPS_BEFORE_COMMIT, warehouse, lake.root, JANUARY], cwd=PROJECT)
    try:
        wait_until(lambda: os.waitid(os.P_PID, loader.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT), "it has stopped", 60)
        query("SET statement_timeout = '30s'")

        assert query("SELECT count(*) FROM green_taxi_trips") == [(rows_of(lake, file),)]
    finally:
        loader.send_signal(signal.SIGCONT)
        assert loader.wait(30) != 0
    assert load(file, force=True).outcome == "replaced"


def test_nothing_is_prepared_in_a_session_that_a_pooler_shares(landed_month, warehouse, lake):
    file = landed_month(JANUARY)
    landed_zones.write(lake, ZONES, "a recipe", ANYTHING)

    with psycopg.connect(warehouse, prepare_threshold=None) as connection:
        for _ in range(7):
            Postgres().replace_month(connection, file, lake)
            Postgres().replace_zones(connection, lake)
        assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
        shown = connection.execute("SELECT current_setting('search_path'), current_setting('lock_timeout')").fetchone()

    assert shown == ('"$user", public', "0")
