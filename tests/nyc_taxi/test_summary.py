"""The summary of a month agrees with the loaded table, whatever the batches it was counted from."""

import json
from dataclasses import asdict
from datetime import datetime
from itertools import pairwise

import psycopg
import pyarrow as pa
import pytest
from pyarrow import parquet

from include.nyc_taxi import Month, TripFile, landing
from include.nyc_taxi.errors import CountMismatch
from include.nyc_taxi.lake import data_key, rejects_key
from include.nyc_taxi.summary import Summary
from include.nyc_taxi.targets.postgres import Postgres, Table

GREEN = TripFile("green", Month(2024, 1))
METERS = {"yellow": "passenger_count", "green": "passenger_count"}
DOLLARS = "round(fare_sum::numeric, 4), round(tip_sum::numeric, 4)"
FARES = {"yellow": "fare_amount", "green": "fare_amount", "fhvhv": "base_passenger_fare"}


replace_month = Postgres().replace_month


@pytest.fixture
def connection(warehouse):
    with psycopg.connect(warehouse, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize(
    "name",
    [
        "yellow_tripdata_2009-01",
        "yellow_tripdata_2024-01",
        "green_tripdata_2024-01",
        "fhv_tripdata_2019-02",
        "fhvhv_tripdata_2024-01",
    ],
)
def test_the_summary_is_what_the_table_answers(connection, lake, landed_month, name):
    file = landed_month(name, rows=3000)
    replace_month(connection, file, lake)
    table, month = f"{file.service}_taxi_trips", f"'{file.month}-01'::date"

    def ask(query):
        return connection.execute(query).fetchall()

    meter, fare = METERS.get(file.service), FARES.get(file.service, "NULL::float")
    fares = f"count(*) FILTER (WHERE abs({fare}) <= 5000)"
    sums = [
        f"sum({column}) FILTER (WHERE abs({fare}) <= 5000)"
        for column in (fare, "tip_amount" if fare in FARES.values() else fare)
    ]
    fare_sum, tip_sum = (f"round(coalesce({one}, 0)::numeric, 4)" for one in sums)

    of_month = ask(f"SELECT trips, without_meter, outside_month, fares, {DOLLARS} FROM trips_by_month")
    by_hour = ask("SELECT weekday, hour, trips FROM trips_by_hour WHERE trips > 0 ORDER BY 1, 2")
    pickups = ask(f"SELECT location_id, pickups, fares, {DOLLARS} FROM trips_by_zone WHERE pickups > 0 ORDER BY 1")
    dropoffs = ask("SELECT location_id, dropoffs FROM trips_by_zone WHERE dropoffs > 0 ORDER BY 1")

    assert of_month == ask(f"""
        SELECT count(*), {f"count(*) - count({meter})" if meter else "NULL"},
            count(*) FILTER (WHERE date_trunc('month', pickup_datetime) <> {month}), {fares}, {fare_sum}, {tip_sum}
        FROM {table}
    """)
    assert by_hour == ask(f"""
        SELECT extract(isodow FROM pickup_datetime)::int, extract(hour FROM pickup_datetime)::int, count(*)
        FROM {table} GROUP BY 1, 2 ORDER BY 1, 2
    """)
    assert pickups == ask(f"""
        SELECT pickup_location_id, count(*), {fares}, {fare_sum}, {tip_sum}
        FROM {table} WHERE pickup_location_id BETWEEN 1 AND 265 GROUP BY 1 ORDER BY 1
    """)
    assert dropoffs == ask(f"""
        SELECT dropoff_location_id, count(*)
        FROM {table} WHERE dropoff_location_id BETWEEN 1 AND 265 GROUP BY 1 ORDER BY 1
    """)
    assert ask("SELECT count(*) FROM trips_by_hour") == [(168,)]


def test_a_month_that_comes_again_has_one_summary(connection, lake, landed_month):
    for rows in (300, 200):
        loaded = replace_month(connection, landed_month(GREEN.name, rows=rows), lake)

    assert connection.execute("SELECT month, trips FROM trips_by_month").fetchall() == [("2024-01", loaded.rows_loaded)]
    assert connection.execute("SELECT sum(trips), count(*) FROM trips_by_hour").fetchone() == (loaded.rows_loaded, 168)


def test_each_table_and_month_has_its_own(connection, lake, landed_month):
    file = landed_month(GREEN.name)
    replace_month(connection, file, lake)
    replace_month(connection, file, lake, table=Table.parse("lab.green"))
    replace_month(connection, landed_month("green_tripdata_2024-02"), lake)

    for table in ("trips_by_month", "trips_by_hour", "trips_by_zone"):
        found = connection.execute(f"SELECT DISTINCT target_table, service, month FROM {table} ORDER BY 1, 2, 3")
        assert found.fetchall() == [
            ("lab.green", "green", "2024-01"),
            ("public.green_taxi_trips", "green", "2024-01"),
            ("public.green_taxi_trips", "green", "2024-02"),
        ]


def test_a_load_that_fails_leaves_the_summary_of_the_rows_that_stay(connection, lake, landed_month):
    loaded = replace_month(connection, landed_month(GREEN.name, rows=300), lake)
    file = landed_month(GREEN.name, rows=200)
    promise_a_row_too_many(lake, file)

    with pytest.raises(CountMismatch):
        replace_month(connection, file, lake)

    assert connection.execute("SELECT trips FROM trips_by_month").fetchall() == [(loaded.rows_loaded,)]


def promise_a_row_too_many(lake, file):
    described = asdict(landing.landed(lake, file))
    described |= {name: described[name] + 1 for name in ("rows_read", "rows_accepted")}
    for key in (data_key(file), rejects_key(file)):
        rows = parquet.read_table(lake.path(key))
        parquet.write_table(rows.replace_schema_metadata({"nyc_taxi": json.dumps(described)}), lake.path(key))


def batch(**columns):
    types = {"pickup_datetime": pa.timestamp("us"), "passenger_count": pa.int16()}
    types |= dict.fromkeys(("pickup_location_id", "dropoff_location_id"), pa.int16())
    return pa.record_batch({name: pa.array(values, types.get(name, pa.float64())) for name, values in columns.items()})


MONDAY_8 = datetime(2024, 1, 1, 8, 59, 59, 999_999)
TRIPS = batch(
    pickup_datetime=[MONDAY_8, None, datetime(2023, 12, 31, 23), datetime(2024, 2, 1), datetime(1969, 12, 31, 23)],
    passenger_count=[1, None, 2, None, None],
    pickup_location_id=[74, None, 74, 266, -1],
    dropoff_location_id=[None, 265, 265, 1, 0],
    fare_amount=[10.0, None, -10.0, 429_496.72, 7.0],
    tip_amount=[2.0, 5.0, None, 1.0, 1.0],
)


@pytest.mark.parametrize("cuts", [[0, 5], [0, 1, 5], [0, 1, 2, 3, 4, 5], [0, 0, 5]])
def test_nulls_unknown_zones_and_absurd_fares_are_counted_for_what_they_are(cuts):
    summary = Summary(GREEN)

    for start, end in pairwise(cuts):
        summary.add(TRIPS.slice(start, end - start))

    assert summary.by_month() == {
        "trips": 5,
        "without_meter": 3,
        "outside_month": 3,
        "fares": 3,
        "fare_sum": 7.0,
        "tip_sum": 3.0,
    }
    hours = zip(*summary.by_hour().values(), strict=True)
    assert [hour for hour in hours if hour[2]] == [(1, 8, 1), (3, 23, 1), (4, 0, 1), (7, 23, 1)]
    assert list(zip(*summary.by_zone().values(), strict=True)) == [
        (1, 0, 1, 0, 0.0, 0.0),
        (74, 2, 0, 2, 0.0, 2.0),
        (265, 0, 2, 0, 0.0, 0.0),
    ]


@pytest.mark.parametrize("column", ["pickup_datetime", "tip_amount"])
def test_columns_without_any_value_may_be_left_out(column):
    summary = Summary(GREEN)

    summary.add(TRIPS.select([column]))

    assert summary.by_month()["without_meter"] == 5
    assert summary.by_zone()["location_id"] == []


def test_a_service_without_meters_has_none_to_miss():
    summary = Summary(TripFile("fhv", Month(2024, 1)))

    summary.add(TRIPS.select(["pickup_datetime"]))

    assert summary.by_month()["without_meter"] is None
