"""Which tables a month may go into, and which are left alone."""

from dataclasses import replace
from datetime import date

import psycopg
import pytest
from psycopg import sql

from include.nyc_taxi import catalog
from include.nyc_taxi.errors import (
    WarehouseRefused,
)
from include.nyc_taxi.targets.postgres import Postgres
from include.nyc_taxi.targets.postgres.table import Table
from tests.nyc_taxi.targets.postgres.loading import FEBRUARY, JANUARY, rows_of


@pytest.mark.parametrize("told_by", ["comment", "ledger"])
@pytest.mark.parametrize("month", [JANUARY, FEBRUARY])
def test_a_table_holds_one_service_for_good(landed_month, load, query, warehouse, lake, month, told_by):
    trips = Table.parse("trips")
    yellow = load(landed_month("yellow_tripdata_2024-01"), table=trips)
    columns = query("SELECT count(*) FROM pg_attribute WHERE attrelid = 'trips'::regclass")
    if told_by == "ledger":
        with psycopg.connect(warehouse) as connection:
            connection.execute("COMMENT ON TABLE trips IS NULL")

    with pytest.raises(WarehouseRefused, match=r"public\.trips holds trips of yellow, not of green: load into another"):
        load(landed_month(month), table=trips, force=True)
    with (
        psycopg.connect(warehouse) as connection,
        pytest.raises(WarehouseRefused, match=r"public\.trips holds trips of yellow, not of green: load into another"),
    ):
        Postgres().check(connection, lake, trips, "green")

    assert query("SELECT count(*) FROM trips") == [(yellow.rows_loaded,)]
    assert query("SELECT count(*) FROM pg_attribute WHERE attrelid = 'trips'::regclass") == columns


def test_a_table_that_was_dropped_may_hold_another_service(landed_month, load, query, warehouse):
    trips = Table.parse("trips")
    load(landed_month("yellow_tripdata_2024-01"), table=trips)
    with psycopg.connect(warehouse) as connection:
        connection.execute("DROP TABLE trips CASCADE")

    green = load(landed_month(FEBRUARY), table=trips)

    assert query("SELECT count(*) FROM trips") == [(green.rows_loaded,)]


def test_a_comment_of_somebody_else_stays(landed_month, load, query, warehouse):
    trips = Table.parse("trips")
    load(landed_month(JANUARY), table=trips)
    with psycopg.connect(warehouse) as connection:
        connection.execute("COMMENT ON TABLE trips IS 'ours'")

    load(landed_month(FEBRUARY), table=trips)

    assert query("SELECT obj_description('trips'::regclass)") == [("ours",)]
    with pytest.raises(WarehouseRefused, match="holds trips of green, not of yellow"):
        load(landed_month("yellow_tripdata_2024-01"), table=trips)


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
    assert str(Postgres().default_table("yellow")) == "public.yellow_taxi_trips"


@pytest.mark.parametrize("text", ["Taxi.Trips", "select.table", "s" * 63 + "." + "T" * 45, "T" * 45])
def test_a_name_of_any_case_and_length_is_taken_as_written(text, landed_month, load, query, lake):
    file, table = landed_month(JANUARY), Table.parse(text)
    load(file, table=table)

    load(file, table=table, force=True)

    assert query(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table.schema, table.name))) == [
        (rows_of(lake, file),)
    ]


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
    query("ALTER TABLE green_taxi_trips DROP COLUMN trip_distance CASCADE")

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
    query("DROP VIEW green_tripdata; ALTER TABLE green_taxi_trips ALTER fare_amount TYPE numeric(10, 2)")
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
