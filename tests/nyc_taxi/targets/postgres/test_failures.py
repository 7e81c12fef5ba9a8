"""What a killed run, a broken connection or a missing right leaves behind."""

import json
from dataclasses import asdict
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row
from pyarrow import parquet

from devtools.faults.damage import KINDS, flipped, places
from devtools.servers.postgres import EmbeddedPostgres
from include.nyc_taxi import TripFile, landing
from include.nyc_taxi.errors import (
    CountMismatch,
    DamagedData,
    PermanentError,
    WarehouseBusy,
    WarehouseRefused,
)
from include.nyc_taxi.lake import data_key, rejects_key
from include.nyc_taxi.targets.postgres import Postgres
from include.nyc_taxi.targets.postgres.table import Table
from tests.nyc_taxi.targets.postgres.loading import (
    COUNTS,
    JANUARY,
    in_background,
    in_mid_copy,
    loading_process,
    rows_of,
    wait_until,
)


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


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_data_is_never_loaded_and_its_month_lands_and_loads_again(kind, landed_month, load, lake, contents):
    file = landed_month(JANUARY)
    loaded = load(file)
    before, path = contents(), Path(lake.path(data_key(file)))
    whole = path.read_bytes()
    path.write_bytes(flipped(whole, places(whole)[kind]))

    with pytest.raises(DamagedData, match=f"{JANUARY}.parquet was damaged: .* the next run lands it again"):
        load(file, found=loaded.landed.claim, force=True)

    assert contents() == before
    assert not path.exists()
    again = load(file, found=landing.land(file, lake).claim, force=True)
    assert (again.outcome, again.landed) == ("replaced", loaded.landed)
    assert contents()[-1] == before[-1]


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
        Postgres().replace_month(connection, file, lake)

        assert connection.execute("SHOW lock_timeout").fetchone() == ("77s",)
        assert connection.isolation_level is None
        assert connection.row_factory is psycopg.rows.tuple_row


def test_a_connection_inside_a_transaction_is_refused(landed_month, warehouse, lake):
    file = landed_month(JANUARY)

    with psycopg.connect(warehouse) as connection:
        connection.execute("SELECT 1")
        with pytest.raises(ValueError, match="not inside a transaction"):
            Postgres().replace_month(connection, file, lake)

        assert connection.execute("SELECT to_regclass('green_taxi_trips')").fetchone() == (None,)


def test_a_month_that_was_not_landed_is_an_error_that_says_what_to_do(load, contents):
    before = contents()

    with pytest.raises(PermanentError, match=r"data/green/green_tripdata_2024-01.parquet is not there: land it first"):
        load(TripFile.parse(JANUARY))

    assert contents() == before
