"""A row with a value that does not fit is set aside; many are an error that names file, column, value and row."""

import re
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from include.nyc_taxi import reading
from include.nyc_taxi.errors import SchemaMismatch
from tests.nyc_taxi.reading.published_files import CANONICAL, HEADER, LINE, each_format, rows_of, write, write_lines
from tests.nyc_taxi.trips import CSV, FILE, PARQUET, trip, write_parquet


@pytest.mark.parametrize(
    ("column", "word", "expected"),
    [
        ("PULocationID", "1.7", "1.7"),
        ("passenger_count", "40000", "40000"),
        ("passenger_count", "-32769", "-32769"),
        ("VendorID", "inf", "inf"),
        ("VendorID", "XYZ", "'XYZ'"),
        ("VendorID", " ", "' '"),
        ("VendorID", "\xa0", r"'\xa0'"),
        ("fare_amount", "$5.00", "'$5.00'"),
        ("fare_amount", '"1,234.50"', "'1,234.50'"),
        ("lpep_pickup_datetime", "1/2/2020 0:00", "'1/2/2020 0:00'"),
        ("lpep_pickup_datetime", "2021-01-05 08:30:01Z", "'2021-01-05 08:30:01Z'"),
        ("lpep_pickup_datetime", "2021-01-05 08:30:01-05:00", "'2021-01-05 08:30:01-05:00'"),
        ("lpep_pickup_datetime", "2021-01-05 08:30:01.1234567", "'2021-01-05 08:30:01.1234567'"),
        ("lpep_pickup_datetime", "2021-02-30 00:00:00", "'2021-02-30 00:00:00'"),
    ],
)
def test_csv_value_that_does_not_fit_is_named_with_file_column_and_row(
    tmp_path: Path, column: str, word: str, expected: str
):
    bad = HEADER.split(",").index(column)
    fields = LINE.split(",")
    fields[bad] = word
    path = write_lines(tmp_path / CSV, HEADER, LINE, ",".join(fields), LINE)

    with pytest.raises(SchemaMismatch) as mismatch:
        rows_of(path)

    message = str(mismatch.value)
    assert message.startswith(f"{CSV}: column '{column}': ")
    assert expected in message
    assert re.search(r"\brow 2\b", message)


@pytest.mark.parametrize(
    ("column", "type_", "value", "expected"),
    [
        ("PULocationID", pa.float64(), 1.7, "1.7"),
        ("passenger_count", pa.int64(), 40_000, "40000"),
        ("VendorID", pa.string(), "XYZ", "'XYZ'"),
        ("fare_amount", pa.int64(), 2**53 + 1, str(2**53 + 1)),
        ("lpep_pickup_datetime", pa.string(), "1/2/2020 0:00", "'1/2/2020 0:00'"),
        ("lpep_pickup_datetime", pa.timestamp("ns"), 1, "1970-01-01 00:00:00.000000001"),
        ("store_and_fwd_flag", pa.binary(), b"\xa0", r"b'\xa0'"),
    ],
)
def test_parquet_value_that_does_not_fit_is_named_with_file_column_and_row(
    tmp_path: Path, column: str, type_: pa.DataType, value: object, expected: str
):
    rows = [trip(**{column: some}) for some in (None, None, value, None)]
    path = write_parquet(tmp_path / PARQUET, rows, {column: type_})

    with pytest.raises(SchemaMismatch) as mismatch:
        rows_of(path)

    message = str(mismatch.value)
    assert message.startswith(f"{PARQUET}: column '{column}': ")
    assert expected in message
    assert "in row 3 " in message


@pytest.mark.parametrize("name", [CSV, PARQUET])
@pytest.mark.parametrize("misfit", [1.7, "XYZ"])
def test_rows_are_counted_from_the_start_of_the_file(tmp_path: Path, name: str, misfit: float | str):
    right, wrong = trip(VendorID=None), trip(VendorID=misfit)
    path = tmp_path / name
    if name == PARQUET:
        type_ = pa.float64() if misfit == 1.7 else pa.string()
        few = [parquet.read_table(write_parquet(path, [row] * 100, {"VendorID": type_})) for row in (right, wrong)]
        parquet.write_table(pa.concat_tables(few[:1] * 700 + few[1:]), path)
    else:
        write(path, [right] * 70_000 + [wrong] * 100)

    with pytest.raises(SchemaMismatch, match=r"column 'VendorID': .*\brow 70,001\b.*; 100 such values in 70,100 rows"):
        rows_of(path)


@pytest.mark.parametrize("first", [1, 25_000], ids=["early", "late"])
@each_format
def test_few_rows_with_a_value_that_does_not_fit_are_set_aside_with_it(tmp_path: Path, name: str, first: int):
    rows = [trip(trip_distance=float(row)) for row in range(30_000)]
    wrong = {first: {"passenger_count": 40_000}, 27_000: {"passenger_count": 1.7}, 29_999: {"passenger_count": -32_769}}
    for row, values in wrong.items():
        rows[row] |= values

    source = "official" if name == PARQUET else "csv_mirror"
    with reading.read(write(tmp_path / name, rows), FILE, source=source) as opened:
        kept = pa.Table.from_batches(opened.batches)

    assert kept["trip_distance"].to_pylist() == [float(row) for row in range(30_000) if row not in wrong]
    assert set(kept["passenger_count"].to_pylist()) == {1}
    aside = pa.Table.from_batches([some for some, _ in opened.misfits.rows])
    assert aside["trip_distance"].to_pylist() == [float(row) for row in wrong]
    assert aside["passenger_count"].to_pylist() == [None] * 3
    reported = [value for _, values in opened.misfits.rows for value in values]
    assert [float(text.partition(": ")[2].strip("'")) for text in reported] == [40_000, 1.7, -32_769]


def test_every_value_of_a_row_that_does_not_fit_is_reported(tmp_path: Path):
    fields = dict(zip(HEADER.split(","), LINE.split(","), strict=True))
    wrong = ",".join(
        (fields | {"fare_amount": "$5", "lpep_pickup_datetime": "1/2/2020 0:00", "extra": " 1.5 "}).values()
    )
    path = write_lines(tmp_path / CSV, HEADER, *[LINE] * 25_000, wrong, *[LINE] * 1_500)

    with reading.read(path, FILE, source="csv_mirror") as opened:
        assert sum(batch.num_rows for batch in opened.batches) == 26_500

    [(rows, [reported])] = opened.misfits.rows
    assert reported == "column 'lpep_pickup_datetime': '1/2/2020 0:00'; column 'fare_amount': '$5'"
    assert rows.to_pylist() == [CANONICAL | {"pickup_datetime": None, "fare_amount": None, "extra": 1.5}]


def test_column_that_does_not_fit_at_all_ends_the_reading_early(tmp_path: Path):
    path = write_parquet(tmp_path / PARQUET, [trip(VendorID="XYZ")] * 30_000, {"VendorID": pa.string()})

    with pytest.raises(SchemaMismatch, match=r"'XYZ' in row 1 does not fit .* 1,001 such values in 1,001 rows"):
        rows_of(path)
