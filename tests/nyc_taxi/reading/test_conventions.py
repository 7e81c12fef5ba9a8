"""A file that another tool has rewritten has the same rows, whatever types that tool stores them in."""

import io
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import compute, parquet
from pyarrow import csv as arrow_csv

from include.nyc_taxi.errors import PermanentError
from tests.nyc_taxi.reading.published_files import CANONICAL, rows_of
from tests.nyc_taxi.trips import CSV, PARQUET, TRIP, Row, trip, write_parquet

IDS = st.none() | st.integers(0, 300)
CENTS = st.none() | st.integers(-500_000, 500_000).map(lambda cents: cents / 100)
TIMES = st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(
    # Never midnight: a column of nothing else is one of dates to pandas, and dates are no times to us.
    lambda time: time.replace(fold=0, microsecond=0, second=time.second or 1)
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "VendorID": IDS,
            "lpep_pickup_datetime": TIMES,
            "lpep_dropoff_datetime": TIMES,
            "store_and_fwd_flag": st.sampled_from(["Y", "N", None, "*", " "]),
            "RatecodeID": IDS,
            "passenger_count": IDS,
            "trip_distance": CENTS,
            "tip_amount": CENTS,
        }
    ).map(lambda values: trip(**values)),
    min_size=1,
    max_size=6,
)


def each(table: pa.Table, is_such, type_: pa.DataType) -> pa.Table:
    """Return the table with the columns of some types in another type."""
    fields = [field.with_type(type_) if is_such(field.type) else field for field in table.schema]
    return table.cast(pa.schema(fields))


def parquet_of(table: pa.Table, path: Path, **options: object) -> Path:
    parquet.write_table(table, path, **options)
    return path


def pandas_csv(table: pa.Table, folder: Path) -> Path:
    """Write the numbers of the rows as a first column without a name, and ids with a point."""
    path = folder / CSV
    table.to_pandas().to_csv(path)
    return path


def pandas_csv_twice(table: pa.Table, folder: Path) -> Path:
    path = pandas_csv(table, folder)
    pd.read_csv(path).to_csv(path, na_rep="")
    return path


def pandas_parquet(table: pa.Table, folder: Path) -> Path:
    """Write nanoseconds, objects, and the index of a frame that was filtered."""
    frame = table.to_pandas().astype({"store_and_fwd_flag": object})
    frame.index = np.arange(len(frame)) * 2 + 7
    frame.to_parquet(folder / PARQUET, index=True)
    assert "__index_level_0__" in parquet.read_schema(folder / PARQUET).names
    return folder / PARQUET


def polars(table: pa.Table, folder: Path) -> Path:
    table = each(each(table, pa.types.is_string, pa.large_string()), pa.types.is_timestamp, pa.timestamp("ns"))
    flags = table["store_and_fwd_flag"].cast(pa.string()).dictionary_encode()
    return parquet_of(table.set_column(3, "store_and_fwd_flag", flags), folder / PARQUET)


def views(table: pa.Table, folder: Path) -> Path:
    return parquet_of(each(table, pa.types.is_string, pa.string_view()), folder / PARQUET)


def binaries(table: pa.Table, folder: Path) -> Path:
    return parquet_of(each(table, pa.types.is_string, pa.large_binary()), folder / PARQUET)


def duckdb_parquet(table: pa.Table, folder: Path) -> Path:
    duckdb.sql("SELECT * FROM trips", connection=_connection(table)).write_parquet(str(folder / PARQUET))
    return folder / PARQUET


def duckdb_csv(table: pa.Table, folder: Path) -> Path:
    duckdb.sql("SELECT * FROM trips", connection=_connection(table)).write_csv(str(folder / CSV))
    return folder / CSV


def _connection(table: pa.Table) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.register("trips", table)
    return connection


def spark(table: pa.Table, folder: Path) -> Path:
    table = each(table, pa.types.is_floating, pa.decimal128(18, 2))
    return parquet_of(table, folder / PARQUET, use_deprecated_int96_timestamps=True)


def all_text(table: pa.Table, folder: Path) -> Path:
    return parquet_of(each(table, lambda _type: True, pa.string()), folder / PARQUET)


def all_dictionaries(table: pa.Table, folder: Path) -> Path:
    texts = each(table, lambda _type: True, pa.string())
    columns = [column.combine_chunks().dictionary_encode() for column in texts.columns]
    return parquet_of(pa.table(columns, names=table.column_names), folder / PARQUET)


def downcast(table: pa.Table, folder: Path) -> Path:
    return parquet_of(each(table, pa.types.is_floating, pa.float32()), folder / PARQUET)


def flags_as_numbers(type_: pa.DataType):
    def write(table: pa.Table, folder: Path) -> Path:
        codes = {"Y": 1, "N": 0}
        flags = [codes.get(flag) for flag in table["store_and_fwd_flag"].to_pylist()]
        column = pa.array(flags, pa.int8()).cast(type_)
        return parquet_of(table.set_column(3, "store_and_fwd_flag", column), folder / PARQUET)

    write.__name__ = f"flags_as_{type_}"
    return write


def arrow_text(table: pa.Table, folder: Path) -> Path:
    arrow_csv.write_csv(table, folder / CSV)
    return folder / CSV


def not_a_number(table: pa.Table, folder: Path) -> Path:
    """Write NaN for each amount that is absent, as polars and DuckDB keep it."""
    columns = [
        compute.fill_null(column, float("nan")) if pa.types.is_floating(column.type) else column
        for column in table.columns
    ]
    return parquet_of(pa.table(columns, names=table.column_names), folder / PARQUET)


CONVENTIONS = [
    pandas_csv,
    pandas_csv_twice,
    pandas_parquet,
    polars,
    views,
    binaries,
    duckdb_parquet,
    duckdb_csv,
    spark,
    all_text,
    all_dictionaries,
    downcast,
    arrow_text,
    not_a_number,
    *map(flags_as_numbers, [pa.int8(), pa.int64(), pa.uint32(), pa.float32(), pa.float64(), pa.bool_()]),
    flags_as_numbers(pa.decimal128(8, 1)),
]


@pytest.mark.parametrize("rewrite", CONVENTIONS, ids=lambda rewrite: rewrite.__name__)
@settings(max_examples=12, deadline=None)
@given(rows=ROWS)
def test_rewritten_file_has_the_same_rows(rewrite, rows: list[Row]):
    with TemporaryDirectory() as name:
        folder = Path(name)
        table = parquet.read_table(write_parquet(folder / "published", rows), partitioning=None)
        expected = rows_of(write_parquet(folder / PARQUET, rows))

        found = rows_of(rewrite(table, folder))

    assert found == expected


PHYSICAL = [
    pa.null(), pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(),
    pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.decimal32(8, 1), pa.decimal64(12, 1),
    pa.decimal128(20, 1), pa.decimal256(40, 1), pa.string(), pa.large_string(), pa.string_view(), pa.binary(),
    pa.large_binary(), pa.binary_view(), pa.binary(1), pa.dictionary(pa.int32(), pa.string()), pa.date32(),
    pa.date64(), pa.time32("s"), pa.time64("us"), pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("us", "UTC"),
    pa.duration("s"), pa.list_(pa.int8()), pa.struct([("a", pa.int8())]), pa.map_(pa.int8(), pa.int8()),
]  # fmt: skip


@pytest.mark.parametrize("type_", PHYSICAL, ids=str)
@pytest.mark.parametrize("column", ["VendorID", "lpep_pickup_datetime", "store_and_fwd_flag", "tip_amount"])
def test_every_physical_type_has_the_meaning_of_its_text_or_is_refused(tmp_path: Path, column: str, type_: pa.DataType):
    value = _one(type_)
    table = parquet.read_table(write_parquet(tmp_path / PARQUET, [TRIP]))
    index = table.column_names.index(column)
    parquet.write_table(table.set_column(index, column, pa.array([value], type_)), tmp_path / PARQUET)

    outcome = _outcome(tmp_path / PARQUET)

    if isinstance(outcome, list):
        text = "" if value is None else value.decode() if isinstance(value, bytes) else str(value)
        (tmp_path / CSV).write_text(_csv_line(column, text))
        assert outcome == _outcome(tmp_path / CSV)


def _one(type_: pa.DataType) -> object:
    if pa.types.is_null(type_):
        return None
    moment = datetime(2021, 1, 5, 8)
    candidates = (1, "1", b"1", Decimal("1.0"), True, moment, [1], {"a": 1}, [(1, 1)], np.float16(1))
    for value in (moment,) if pa.types.is_timestamp(type_) else candidates:
        try:
            pa.array([value], type_)
        except (pa.ArrowException, TypeError, ValueError):
            continue
        return value
    raise AssertionError(type_)


def _csv_line(column: str, text: str) -> str:
    rows = io.StringIO()
    pd.DataFrame([trip(**{column: text})]).to_csv(rows, index=False)
    return rows.getvalue()


def _outcome(path: Path) -> list[Row] | type[Exception]:
    try:
        return rows_of(path)
    except PermanentError as error:
        return type(error)


@pytest.mark.parametrize("name", ["", " ", "Unnamed: 0", "Unnamed: 0.1", "__index_level_0__", "index", "level_0"])
def test_index_is_dropped_and_logged(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")

    rows = rows_of(write_parquet(tmp_path / PARQUET, [{name: 7} | TRIP]))

    assert rows == [CANONICAL]
    assert f"dropped index columns [{name!r}]" in caplog.text


@pytest.mark.parametrize("word", ["NaN", "nan", "NAN"])
@pytest.mark.parametrize("column", ["VendorID", "tip_amount"])
def test_nan_is_no_value(tmp_path: Path, column: str, word: str):
    (tmp_path / CSV).write_text(_csv_line(column, word))

    [row] = rows_of(tmp_path / CSV)

    assert row == CANONICAL | {{"VendorID": "vendor_id"}.get(column, column): None}


@pytest.mark.parametrize("word", ["2021-01-05", "2021-01-05 08", " 2021-01-05 "])
def test_date_without_a_time_does_not_fit(tmp_path: Path, word: str):
    (tmp_path / CSV).write_text(_csv_line("lpep_pickup_datetime", word))

    assert _outcome(tmp_path / CSV).__name__ == "SchemaMismatch"


@pytest.mark.parametrize("word", ["\0", "N\0", "x" * 1_001], ids=["nul", "nul after a letter", "long"])
@pytest.mark.parametrize("type_", [pa.string(), pa.large_binary(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_text_that_no_database_holds_does_not_fit(tmp_path: Path, word: str, type_: pa.DataType):
    path = write_parquet(tmp_path / PARQUET, [trip(store_and_fwd_flag=word)], {"store_and_fwd_flag": type_})

    assert _outcome(path).__name__ == "SchemaMismatch"
