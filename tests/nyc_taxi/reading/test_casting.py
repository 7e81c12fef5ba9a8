"""Values of every type that the publisher used become the canonical type, or the type is refused."""

import re
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from include.nyc_taxi.errors import SchemaMismatch
from tests.nyc_taxi.reading.published_files import CANONICAL, HEADER, changed, rows_of, write_lines
from tests.nyc_taxi.trips import CSV, PARQUET, TRIP, trip, write_parquet


@pytest.mark.parametrize(
    ("column", "type_", "value"),
    [
        ("VendorID", pa.int32(), 2),
        ("VendorID", pa.int64(), 2),
        ("VendorID", pa.float64(), 2.0),
        ("passenger_count", pa.int64(), 1),
        ("store_and_fwd_flag", pa.large_string(), "N"),
        ("store_and_fwd_flag", pa.dictionary(pa.int32(), pa.string()), "N"),
        ("lpep_pickup_datetime", pa.timestamp("s"), TRIP["lpep_pickup_datetime"]),
        ("lpep_pickup_datetime", pa.timestamp("ns"), TRIP["lpep_pickup_datetime"]),
        ("lpep_pickup_datetime", pa.string(), "2021-01-05 08:30:01"),
        ("trip_distance", pa.decimal128(8, 2), None),
        ("ehail_fee", pa.null(), None),
        ("ehail_fee", pa.float64(), None),
    ],
    ids=str,
)
def test_types_of_all_eras_become_the_one(tmp_path: Path, column: str, type_: pa.DataType, value: object):
    path = write_parquet(tmp_path / PARQUET, [trip(**{column: value})], {column: type_})

    [row] = rows_of(path)

    expected = CANONICAL | ({"trip_distance": None} if column == "trip_distance" else {})
    assert row == expected


def test_column_of_type_null_becomes_nulls(tmp_path: Path):
    rows = [trip(passenger_count=None, store_and_fwd_flag=None)] * 3
    types = {"passenger_count": pa.null(), "store_and_fwd_flag": pa.null()}

    read = rows_of(write_parquet(tmp_path / PARQUET, rows, types))

    assert read == [CANONICAL | {"passenger_count": None, "store_and_fwd_flag": None}] * 3


def test_number_with_nothing_behind_its_point_is_an_id(tmp_path: Path):
    path = write_lines(tmp_path / CSV, HEADER, changed(VendorID="2.0", PULocationID="74.000"))

    assert rows_of(path) == [CANONICAL]


@pytest.mark.parametrize("number", ["-32768", "32767"])
def test_smallest_and_largest_id_are_kept(tmp_path: Path, number: str):
    [row] = rows_of(write_lines(tmp_path / CSV, HEADER, changed(PULocationID=number)))

    assert row["pickup_location_id"] == int(number)


@pytest.mark.parametrize(
    ("word", "moment"),
    [
        ("2021-01-05 08:30:01", datetime(2021, 1, 5, 8, 30, 1)),
        ("2021-01-05T08:30:01", datetime(2021, 1, 5, 8, 30, 1)),
        ("2021-01-05 08:30:01.000001", datetime(2021, 1, 5, 8, 30, 1, 1)),
        ("2041-08-17 16:24:38", datetime(2041, 8, 17, 16, 24, 38)),
        ("3019-02-28 00:00:00", datetime(3019, 2, 28)),
    ],
)
def test_times_are_wall_time_of_any_year(tmp_path: Path, word: str, moment: datetime):
    [row] = rows_of(write_lines(tmp_path / CSV, HEADER, changed(lpep_dropoff_datetime=word)))

    assert row["dropoff_datetime"] == moment


@pytest.mark.parametrize(
    ("column", "type_", "value"),
    [
        ("lpep_pickup_datetime", pa.timestamp("us", "UTC"), datetime(2021, 1, 5, 8, 30, 1, tzinfo=UTC)),
        ("lpep_pickup_datetime", pa.int64(), 1_609_835_401),
        ("lpep_pickup_datetime", pa.float64(), 1_609_835_401.0),
        ("lpep_pickup_datetime", pa.date32(), date(2021, 1, 5)),
        ("VendorID", pa.timestamp("us"), datetime(2021, 1, 5)),
        ("store_and_fwd_flag", pa.list_(pa.field("element", pa.string())), ["N"]),
    ],
    ids=str,
)
def test_type_of_another_meaning_is_refused(tmp_path: Path, column: str, type_: pa.DataType, value: object):
    path = write_parquet(tmp_path / PARQUET, [trip(**{column: value})], {column: type_})

    with pytest.raises(
        SchemaMismatch, match=rf"{PARQUET}: column '{column}': has type {re.escape(str(type_))}, expected"
    ):
        rows_of(path)
