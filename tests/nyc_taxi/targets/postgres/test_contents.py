"""What a loaded month holds: the rows of data/, in the columns of the catalogue."""

import gzip
import os
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from psycopg import sql
from pyarrow import compute, parquet

from include.nyc_taxi import TripFile, catalog, landing
from include.nyc_taxi.reading import arrow_schema
from include.nyc_taxi.targets.postgres.table import Table
from tests.nyc_taxi.targets.postgres.loading import (
    JANUARY,
    TYPES,
    data_of,
    in_order,
)


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
        "é" * 499,
    ]
    numbers = [0.1 + 0.2, -0.0, 5e-324, 1.7976931348623157e308]
    ids = [-32768, 32767, None, 0]
    times = [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999), None, *[datetime(2024, 1, 5)] * 3]

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
    expected = [(texts[row % 11], numbers[row % 4], ids[row % 4], times[row % 6]) for row in range(60)]
    assert in_order(found) == in_order(expected)


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
