"""What happens when a month comes again."""

import pytest

from include.nyc_taxi.targets.postgres.table import Table
from tests.nyc_taxi.targets.postgres.loading import FEBRUARY, JANUARY, rows_of


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
    assert f"is up to date with {rows_of(lake, file)} rows" in caplog.text


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
        "DROP TABLE green_taxi_trips CASCADE",
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
