"""What runs and readers see of one another."""

from dataclasses import replace

import psycopg
import pytest

from include.nyc_taxi.errors import (
    LakeChanged,
    WarehouseBusy,
)
from include.nyc_taxi.targets.postgres.load import Patience
from include.nyc_taxi.targets.postgres.table import Table
from tests.nyc_taxi.targets.postgres.loading import (
    COUNTS,
    FEBRUARY,
    JANUARY,
    MeddledLake,
    at_once,
    in_a_snapshot,
    in_background,
    loading_process,
    polling,
    rows_of,
    wait_until,
)

IMPATIENT = Patience(lock_seconds=0.2, pause_seconds=0.1)


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

    with pytest.raises(LakeChanged, match=f"{JANUARY}.parquet was replaced by another run since this load began"):
        load(file, lake=meddled, force=True)

    assert contents() == before


def test_a_long_reader_delays_the_swap_and_neither_it_nor_others_are_disturbed(landed_month, load, warehouse, caplog):
    old = load(landed_month(JANUARY)).rows_loaded
    file = landed_month(JANUARY, rows=500)

    def january(reader):
        return reader.execute(COUNTS).fetchone()[0]

    with caplog.at_level("INFO", "include.nyc_taxi.targets.postgres"), psycopg.connect(warehouse) as long_reader:
        long_reader.execute(COUNTS)
        with in_background(lambda: load(file, patience=IMPATIENT)) as loading:
            with polling(warehouse, january) as seen:
                wait_until(lambda: "attempt 3 to swap" in caplog.text or loading.done(), "the swap was tried 3 times")
            assert not loading.done()
            assert long_reader.execute(COUNTS).fetchone()[0] == old
            long_reader.rollback()

            assert loading.result().outcome == "replaced"
    with psycopg.connect(warehouse) as reader:
        assert reader.execute(COUNTS).fetchone()[0] == loading.result().rows_loaded
    assert set(seen) == {old}
    assert len(seen) > 3, "readers should pass between the attempts, while the long reader still reads"


def test_a_reader_that_does_not_end_is_told_as_busy_and_nothing_changes(
    landed_month,
    load,
    warehouse,
    contents,
):
    load(landed_month(JANUARY))
    before = contents()
    file = landed_month(JANUARY, rows=500)

    with psycopg.connect(warehouse) as long_reader:
        first = long_reader.execute(COUNTS).fetchone()
        with pytest.raises(WarehouseBusy, match=f"{JANUARY}: no lock on public.green_taxi_trips in 2 attempts"):
            load(file, patience=replace(IMPATIENT, attempts=2))

        assert long_reader.execute(COUNTS).fetchone() == first
    assert contents() == before
    assert load(file).outcome == "replaced"
