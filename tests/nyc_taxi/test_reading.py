"""A file of any format becomes the service's one schema, or an error that names file, column, value and row."""

import gzip
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from devtools.generator import write_month
from include.nyc_taxi import Month, TripFile, catalog, reading
from include.nyc_taxi.errors import DamagedFile, SchemaMismatch
from include.nyc_taxi.reading import Reading, arrow_schema
from tests.nyc_taxi.trips import CSV, FILE, GZIPPED, PARQUET, TRIP, Row, csv_gz, csv_text, trip, without, write_parquet

LINE = csv_text([TRIP]).splitlines()[1]
HEADER = csv_text([TRIP]).splitlines()[0]

# The trip as it is to be read: every column of green, in its canonical type.
CANONICAL: Row = dict.fromkeys(arrow_schema("green").names) | {
    "pickup_datetime": datetime(2021, 1, 5, 8, 30, 1),
    "dropoff_datetime": datetime(2021, 1, 5, 8, 43, 59),
    "vendor_id": 2,
    "passenger_count": 1,
    "rate_code_id": 1,
    "payment_type": 1,
    "trip_type": 1,
    "pickup_location_id": 74,
    "dropoff_location_id": 263,
    "trip_distance": 2.31,
    "fare_amount": 11.5,
    "extra": 0.5,
    "mta_tax": 0.5,
    "tip_amount": 2.96,
    "tolls_amount": 0.0,
    "improvement_surcharge": 0.3,
    "congestion_surcharge": 2.75,
    "total_amount": 18.51,
    "store_and_fwd_flag": "N",
}


def read_all(path: Path, file: TripFile = FILE, **options: str) -> tuple[Reading, list[Row]]:
    source = "official" if path.suffix == ".parquet" else "csv_mirror"
    with reading.read(path, file, **{"source": source, **options}) as opened:
        return opened, [row for batch in opened.batches for row in batch.to_pylist()]


def rows_of(path: Path, **options: str) -> list[Row]:
    return read_all(path, **options)[1]


def write(path: Path, rows: Sequence[Row]) -> Path:
    """The rows in the format that the name says."""
    if path.suffix == ".parquet":
        return write_parquet(path, rows)
    path.write_bytes(csv_gz(rows) if path.suffix == ".gz" else csv_text(rows).encode())
    return path


def write_lines(path: Path, *lines: str) -> Path:
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return path


def changed(**values: str) -> str:
    """The trip's line in a CSV file, with other words in some fields."""
    return csv_text([trip(**values)]).splitlines()[1]


each_format = pytest.mark.parametrize("name", [CSV, GZIPPED, PARQUET], ids=["csv", "csv.gz", "parquet"])


# What is read


@each_format
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str):
    nobody, unknown = trip(passenger_count=0, trip_distance=-1.5), trip(passenger_count=None, store_and_fwd_flag=None)

    rows = rows_of(write(tmp_path / name, [TRIP, nobody, unknown]))

    assert rows == [
        CANONICAL,
        CANONICAL | {"passenger_count": 0, "trip_distance": -1.5},
        CANONICAL | {"passenger_count": None, "store_and_fwd_flag": None},
    ]


@each_format
def test_batches_have_the_services_schema(tmp_path: Path, name: str):
    path = write(tmp_path / name, [TRIP])

    source = "official" if name == PARQUET else "csv_mirror"
    with reading.read(path, FILE, source=source) as opened:
        [batch] = opened.batches

    assert batch.schema.equals(arrow_schema("green"), check_metadata=True)
    batch.validate(full=True)


@pytest.mark.parametrize("service", ["yellow", "green"])
def test_schema_has_four_types_and_describes_every_column(service: str):
    schema = arrow_schema(service)

    assert set(schema.types) == {pa.int16(), pa.float64(), pa.timestamp("us"), pa.string()}
    assert schema.names[:2] == ["pickup_datetime", "dropoff_datetime"]
    assert all(field.metadata[b"description"] for field in schema)


def test_parquet_says_its_number_of_rows_and_csv_does_not(tmp_path: Path):
    official, _ = read_all(write(tmp_path / PARQUET, [TRIP, TRIP]))
    mirror, _ = read_all(write(tmp_path / GZIPPED, [TRIP, TRIP]))

    assert (official.rows, official.era.name) == (2, "official-2014-01")
    assert (mirror.rows, mirror.era.name) == (None, "csv_mirror-2019-01")


@pytest.mark.parametrize("source", ["official", "csv_mirror"])
def test_file_of_many_batches_is_read_to_its_end(tmp_path: Path, source: str):
    file = TripFile("yellow", Month(2021, 1))
    path = tmp_path / ("file.parquet" if source == "official" else "file.csv.gz")
    promised = write_month(file, path, source=source, rows=100_000)

    with reading.read(path, file, source=source) as opened:
        batches = list(opened.batches)

    assert len(batches) > 1
    counts = pa.Table.from_batches(batches)["passenger_count"]
    assert (len(counts), counts.null_count) == (promised.rows, promised.null_block)


@pytest.mark.parametrize("order", [list(TRIP)[::-1], sorted(TRIP)], ids=["backwards", "by name"])
@each_format
def test_order_of_columns_does_not_matter(tmp_path: Path, name: str, order: list[str]):
    assert rows_of(write(tmp_path / name, [{column: TRIP[column] for column in order}])) == [CANONICAL]


@pytest.mark.parametrize("spelt", [str.upper, str.lower, lambda name: f" {name}", lambda name: f"{name} "])
def test_case_and_spaces_of_column_names_do_not_matter(tmp_path: Path, spelt):
    path = write_lines(tmp_path / CSV, ",".join(map(spelt, TRIP)), LINE)

    assert rows_of(path) == [CANONICAL]


def test_case_of_parquet_column_names_does_not_matter(tmp_path: Path):
    row = {name.upper(): value for name, value in without(TRIP, "ehail_fee").items()} | {" Ehail_FEE ": None}

    path = write_parquet(tmp_path / PARQUET, [row], {" Ehail_FEE ": pa.float64()})

    assert rows_of(path) == [CANONICAL]


# Types of the publisher's tools


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


# Values that do not fit


@pytest.mark.parametrize(
    ("column", "word", "told"),
    [
        ("PULocationID", "1.7", "1.7"),
        ("passenger_count", "40000", "40000"),
        ("passenger_count", "-32769", "-32769"),
        ("VendorID", "NaN", "nan"),
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
    tmp_path: Path, column: str, word: str, told: str
):
    bad = HEADER.split(",").index(column)
    fields = LINE.split(",")
    fields[bad] = word
    path = write_lines(tmp_path / CSV, HEADER, LINE, ",".join(fields), LINE)

    with pytest.raises(SchemaMismatch) as mismatch:
        rows_of(path)

    message = str(mismatch.value)
    assert message.startswith(f"{CSV}: column '{column}': ")
    assert told in message
    assert re.search(r"\brow 2\b", message)


@pytest.mark.parametrize(
    ("column", "type_", "value", "told"),
    [
        ("PULocationID", pa.float64(), 1.7, "1.7"),
        ("passenger_count", pa.int64(), 40_000, "40000"),
        ("VendorID", pa.float64(), float("nan"), "nan"),
        ("VendorID", pa.string(), "XYZ", "'XYZ'"),
        ("fare_amount", pa.string(), "", "''"),
        ("fare_amount", pa.int64(), 2**53 + 1, str(2**53 + 1)),
        ("lpep_pickup_datetime", pa.string(), "1/2/2020 0:00", "'1/2/2020 0:00'"),
        ("lpep_pickup_datetime", pa.timestamp("ns"), 1, "1970-01-01 00:00:00.000000001"),
        ("store_and_fwd_flag", pa.binary(), b"\xa0", r"b'\xa0'"),
    ],
)
def test_parquet_value_that_does_not_fit_is_named_with_file_column_and_row(
    tmp_path: Path, column: str, type_: pa.DataType, value: object, told: str
):
    rows = [trip(**{column: some}) for some in (None, None, value, None)]
    path = write_parquet(tmp_path / PARQUET, rows, {column: type_})

    with pytest.raises(SchemaMismatch) as mismatch:
        rows_of(path)

    message = str(mismatch.value)
    assert message.startswith(f"{PARQUET}: column '{column}': ")
    assert told in message
    assert "in row 3 " in message


@pytest.mark.parametrize("name", [CSV, PARQUET])
@pytest.mark.parametrize("misfit", [1.7, "XYZ"])
def test_rows_are_counted_from_the_start_of_the_file(
    tmp_path: Path, name: str, misfit: float | str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reading, "BATCH_ROWS", 1_000)
    rows = [trip(VendorID=None)] * 12_000 + [trip(VendorID=misfit)] * 20
    path = tmp_path / name
    if name == PARQUET:
        write_parquet(path, rows, {"VendorID": pa.float64() if misfit == 1.7 else pa.string()})
    else:
        write(path, rows)

    with pytest.raises(SchemaMismatch, match=r"column 'VendorID': .*\brow 12,001\b.*; 20 such values in 12,020 rows"):
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
    said = [value for _, values in opened.misfits.rows for value in values]
    assert [float(text.partition(": ")[2].strip("'")) for text in said] == [40_000, 1.7, -32_769]


def test_every_value_of_a_row_that_does_not_fit_is_said(tmp_path: Path):
    fields = dict(zip(HEADER.split(","), LINE.split(","), strict=True))
    wrong = ",".join(
        (fields | {"fare_amount": "$5", "lpep_pickup_datetime": "1/2/2020 0:00", "extra": " 1.5 "}).values()
    )
    path = write_lines(tmp_path / CSV, HEADER, *[LINE] * 25_000, wrong, *[LINE] * 1_500)

    with reading.read(path, FILE, source="csv_mirror") as opened:
        assert sum(batch.num_rows for batch in opened.batches) == 26_500

    [(rows, [said])] = opened.misfits.rows
    assert said == "column 'lpep_pickup_datetime': '1/2/2020 0:00'; column 'fare_amount': '$5'"
    assert rows.to_pylist() == [CANONICAL | {"pickup_datetime": None, "fare_amount": None, "extra": 1.5}]


def test_column_that_does_not_fit_at_all_ends_the_reading_early(tmp_path: Path):
    path = write_parquet(tmp_path / PARQUET, [trip(VendorID="XYZ")] * 30_000, {"VendorID": pa.string()})

    with pytest.raises(SchemaMismatch, match=r"'XYZ' in row 1 does not fit .* 1,001 such values in 1,001 rows"):
        rows_of(path)


def test_quote_that_takes_in_rows_is_refused_in_a_column_of_numbers_too(tmp_path: Path):
    path = write_lines(tmp_path / CSV, HEADER, *[LINE] * 3_000, f'"{LINE}', LINE, f'2"{LINE[1:]}', *[LINE] * 10)

    with pytest.raises(SchemaMismatch, match="column 'VendorID': a quote takes in whole rows"):
        rows_of(path)


def test_row_with_too_few_fields_is_named_behind_a_value_that_does_not_fit(tmp_path: Path):
    path = write_lines(tmp_path / CSV, HEADER, *[LINE] * 3_000, changed(VendorID="XYZ"), *[LINE] * 30_000, "2,2021")

    with pytest.raises(SchemaMismatch, match=r"row 33,002: Expected 20 columns, got 2"):
        rows_of(path)


def test_padding_that_holds_a_value_is_refused(tmp_path: Path):
    path = tmp_path / "green.csv"
    write_month(TripFile("green", Month(2016, 7)), path, source="csv_archive", rows=2_000)
    content = path.read_bytes()
    path.write_bytes(content[:-4] + b",1,\r\n")

    with (
        pytest.raises(SchemaMismatch, match=r"column 'padding 1': row 2,000: .*to null"),
        reading.read(path, TripFile("green", Month(2016, 7)), source="csv_archive") as opened,
    ):
        list(opened.batches)


def test_some_columns_are_looked_through_as_often_as_one_likes(tmp_path: Path):
    path = write(tmp_path / CSV, [TRIP, trip(total_amount=None)])

    with reading.read(path, FILE, source="csv_mirror") as opened:
        looks = [
            pa.Table.from_batches(opened.look_through(["total_amount", "vendor_id", "unknown"])) for _look in range(2)
        ]
        rows = pa.Table.from_batches(opened.batches)

    assert [look.to_pylist() for look in looks] == [
        [{"vendor_id": 2, "total_amount": 18.51}, {"vendor_id": 2, "total_amount": None}]
    ] * 2
    assert rows.num_rows == 2


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

    with pytest.raises(SchemaMismatch, match=rf"{PARQUET}: column '{column}': {re.escape(str(type_))}.* expected"):
        rows_of(path)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (LINE.rpartition(",")[0], "Expected 20 columns, got 19"),
        (f"{LINE},", "Expected 20 columns, got 21"),
        (f"{LINE},,", "Expected 20 columns, got 22"),
    ],
)
def test_row_with_another_number_of_fields_is_named(tmp_path: Path, line: str, told: str):
    path = write_lines(tmp_path / CSV, HEADER, LINE, line, LINE)

    with pytest.raises(SchemaMismatch, match=rf"^{CSV}: .*row 2: {told}"):
        rows_of(path)


# Columns


def test_quote_that_is_never_closed_is_told_as_such(tmp_path: Path):
    path = write_lines(tmp_path / CSV, HEADER, LINE.replace(",N,", ',"N,'), *[LINE] * 30_000)

    with pytest.raises(SchemaMismatch, match="a line, or what a quote takes in, is longer than 1,048,576 bytes"):
        rows_of(path)


@each_format
def test_unknown_and_missing_columns_are_listed(tmp_path: Path, name: str):
    row = without(without(TRIP, "trip_type"), "extra") | {"surprise": 1, "Gratuity": 2.0}

    with pytest.raises(SchemaMismatch) as mismatch:
        rows_of(write(tmp_path / name, [row]))

    message = str(mismatch.value)
    assert message.startswith(f"{name}: its columns are not those of era ")
    assert "extra ['surprise', 'Gratuity'], missing ['extra', 'trip_type']" in message
    assert "unknown_columns=drop" in message


@pytest.mark.usefixtures("own_catalogue")
@each_format
@pytest.mark.parametrize(
    ("row", "read"),
    [
        (trip(Moon_tax=1.5), {"moon_tax": 1.5}),
        (trip(**{"Seats back": 3, " Noted at": datetime(2021, 1, 6)}), {"seats_back": 3}),
        (trip(sales_tax=1.25), {"sales_tax": 1.25}),  # a column of another service
        (without(TRIP, "trip_type"), {"trip_type": None}),
    ],
    ids=["one", "two", "known", "missing"],
)
def test_file_that_fits_no_era_is_read_once_the_rows_that_its_error_names_are_added(
    tmp_path: Path, name: str, row: Row, read: Row, monkeypatch: pytest.MonkeyPatch
):
    path = write(tmp_path / name, [row])
    with pytest.raises(SchemaMismatch) as mismatch:
        rows_of(path)

    add_rows(str(mismatch.value), monkeypatch)
    (found,) = rows_of(path)

    assert {column: str(found[column]) for column in read} == {column: str(value) for column, value in read.items()}


def add_rows(message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do by text, as a person would, what the error says."""
    texts = {file: catalog._data(file) for file in ("services.toml", "columns.toml")}
    for told in message.split("\nTo ")[1:]:
        where, _, rows = told.partition("\n")
        if where.startswith("services.toml"):
            above, next_service, below = texts["services.toml"].partition('[[service]]\nname = "fhv"\n')
            texts["services.toml"] = f"{above}{rows}\n\n{next_service}{below}"
        elif rows:
            texts["columns.toml"] += f"\n{rows}\n"
        else:
            column, service = re.fullmatch(r'columns.toml, in services of (\w+): "(\w+)"', where).groups()
            texts["columns.toml"] = re.sub(
                rf'(name = "{column}"\n.*\n.*\nservices = \[)', rf'\1"{service}", ', texts["columns.toml"]
            )
    given = catalog._data
    monkeypatch.setattr(catalog, "_data", lambda name: texts.get(name) or given(name))
    catalog.columns.cache_clear()
    catalog.services.cache_clear()


@pytest.fixture
def own_catalogue(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield
    monkeypatch.undo()
    catalog.columns.cache_clear()
    catalog.services.cache_clear()


@each_format
def test_unknown_columns_are_dropped_with_a_warning_where_that_is_wanted(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
):
    path = write(tmp_path / name, [trip(surprise=1)])

    assert rows_of(path, unknown_columns="drop") == [CANONICAL]
    assert [record.getMessage() for record in caplog.records] == [f"{name}: dropped unknown columns ['surprise']"]
    assert caplog.records[0].levelname == "WARNING"


@each_format
def test_missing_column_is_an_error_even_where_unknown_ones_are_dropped(tmp_path: Path, name: str):
    path = write(tmp_path / name, [without(TRIP, "trip_type") | {"surprise": 1}])

    with pytest.raises(SchemaMismatch, match=re.escape("missing ['trip_type']")):
        rows_of(path, unknown_columns="drop")


@each_format
@pytest.mark.parametrize("twin", ["vendorid", "vendor_id", "VENDORID "])
def test_two_columns_of_one_meaning_are_refused(tmp_path: Path, name: str, twin: str):
    with pytest.raises(SchemaMismatch, match="two of its columns have the same meaning"):
        rows_of(write(tmp_path / name, [trip(**{twin: 1})]))


@pytest.mark.parametrize("unknown_columns", ["error", "drop"])
def test_column_that_is_there_twice_is_refused(tmp_path: Path, unknown_columns: str):
    path = write_lines(tmp_path / CSV, f"{HEADER},VendorID", f"{LINE},1")

    with pytest.raises(SchemaMismatch, match="two of its columns have the same meaning"):
        rows_of(path, unknown_columns=unknown_columns)


def test_parquet_column_that_is_there_twice_is_refused(tmp_path: Path):
    table = parquet.read_table(write_parquet(tmp_path / PARQUET, [TRIP]))
    parquet.write_table(table.append_column("VendorID", table["VendorID"]), tmp_path / PARQUET)

    with pytest.raises(SchemaMismatch, match="two of its columns have the same meaning"):
        rows_of(tmp_path / PARQUET)


@each_format
def test_file_with_the_columns_of_another_era_is_read_by_that_and_says_so(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
):
    opened, rows = read_all(write(tmp_path / name, [trip(cbd_congestion_fee=0.75)]))

    own = "official-2014-01" if name == PARQUET else "csv_mirror-2019-01"
    assert rows == [CANONICAL | {"cbd_congestion_fee": 0.75}]
    assert opened.era.name == "official-2025-01"
    assert [record.getMessage() for record in caplog.records] == [
        f"{name}: its columns are those of era official-2025-01, not of {own}: read by the former"
    ]


def test_file_with_the_columns_of_an_earlier_era_is_read_by_that(tmp_path: Path):
    opened, rows = read_all(
        write(tmp_path / "green_tripdata_2025-01.parquet", [TRIP]), TripFile("green", Month(2025, 1))
    )

    assert (opened.era.name, rows) == ("official-2014-01", [CANONICAL])


def test_name_means_what_it_meant_in_the_era_that_the_file_is_of(tmp_path: Path):
    """In 2018 the files called the affiliated base what all others call the dispatching base."""
    names = "Pickup_DateTime,DropOff_datetime,PUlocationID,DOlocationID,SR_Flag"
    as_in_2018 = write_lines(
        tmp_path / "fhv_tripdata_2019-01.csv",
        f"{names},Dispatching_base_number,Dispatching_base_num",
        "2019-01-01 00:00:01,2019-01-01 00:10:00,1,2,,B00001,B00002",
    )

    with reading.read(as_in_2018, TripFile("fhv", Month(2019, 1)), source="csv_archive") as opened:
        [row] = [row for batch in opened.batches for row in batch.to_pylist()]

    assert opened.era.name == "csv_archive-2018-01"
    assert (row["dispatching_base_num"], row["affiliated_base_number"]) == ("B00001", "B00002")


def test_columns_that_no_era_has_together_are_an_error_though_each_is_known(tmp_path: Path):
    row = trip(cbd_congestion_fee=0.75) | {"pickup_longitude": -73.9}

    with pytest.raises(SchemaMismatch, match=r"extra \['cbd_congestion_fee', 'pickup_longitude'\], missing \[\]"):
        rows_of(write(tmp_path / PARQUET, [row]))


def test_known_column_is_kept_where_unknown_ones_are_dropped(tmp_path: Path):
    path = write(tmp_path / CSV, [trip(cbd_congestion_fee=0.75, surprise=1)])

    assert rows_of(path, unknown_columns="drop") == [CANONICAL | {"cbd_congestion_fee": 0.75}]


# CSV as it is found


def test_blank_second_line_is_no_row(tmp_path: Path):
    assert rows_of(write_lines(tmp_path / CSV, HEADER, "", LINE, LINE)) == [CANONICAL] * 2


def test_last_line_needs_no_end(tmp_path: Path):
    (tmp_path / CSV).write_text(f"{HEADER}\n{LINE}\n{LINE}")

    assert rows_of(tmp_path / CSV) == [CANONICAL] * 2


def test_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path):
    (tmp_path / CSV).write_text(csv_text([TRIP]), encoding="utf-8-sig")

    assert rows_of(tmp_path / CSV) == [CANONICAL]


def test_carriage_returns_belong_to_no_value(tmp_path: Path):
    (tmp_path / CSV).write_bytes(csv_text([TRIP, TRIP], end="\r\n").encode())

    assert rows_of(tmp_path / CSV) == [CANONICAL] * 2


def test_quoted_names_and_values_are_read_without_their_quotes(tmp_path: Path):
    header, line = (",".join(f'"{field}"' for field in text.split(",")) for text in (HEADER, LINE))

    assert rows_of(write_lines(tmp_path / CSV, header, line)) == [CANONICAL]


def test_quoted_line_end_is_part_of_its_value_wherever_it_falls(tmp_path: Path):
    # Many blocks of the reader, each of which ends at another place of a row.
    values = ["Y\n" + "n" * (row % 97) for row in range(20_000)]
    path = write(tmp_path / CSV, [trip(store_and_fwd_flag=value) for value in values])

    assert [row["store_and_fwd_flag"] for row in rows_of(path)] == values


def test_byte_that_is_no_utf8_is_named_with_column_and_row(tmp_path: Path):
    (tmp_path / CSV).write_bytes(f"{HEADER}\n{LINE}\n{changed(store_and_fwd_flag='é')}\n".encode("latin1"))

    with pytest.raises(SchemaMismatch, match=rf"{CSV}: column 'store_and_fwd_flag': b'\\xe9' in row 2 does not fit"):
        rows_of(tmp_path / CSV)


@pytest.mark.parametrize("source", ["csv_mirror", "csv_archive"])
def test_text_of_for_hire_vehicles_is_latin(tmp_path: Path, source: str):
    """Their files have a blank that is no UTF-8 in licence numbers."""
    line = "B00254\xa0,2020-01-01 00:00:01,2020-01-01 00:10:00,,264,\xe9".encode("latin1")
    header = b"dispatching_base_num,pickup_datetime,dropoff_datetime,PULocationID,DOLocationID,Affiliated_base_number"
    (tmp_path / CSV).write_bytes(header + b",SR_Flag\n" + line + b",\n")

    with reading.read(tmp_path / CSV, TripFile("fhv", Month(2020, 1)), source=source) as opened:
        [row] = [row for batch in opened.batches for row in batch.to_pylist()]

    assert (row["dispatching_base_num"], row["affiliated_base_number"]) == ("B00254\xa0", "\xe9")


def test_words_beyond_ascii_are_kept(tmp_path: Path):
    [row] = rows_of(write_lines(tmp_path / CSV, HEADER, changed(store_and_fwd_flag="é, \u4e2d")))

    assert row["store_and_fwd_flag"] == "é, \u4e2d"


# Files that are none


@each_format
def test_empty_file_is_damaged(tmp_path: Path, name: str):
    (tmp_path / name).touch()

    with pytest.raises(DamagedFile, match=f"{name}: the file is empty"):
        rows_of(tmp_path / name)


@pytest.mark.parametrize("text", [HEADER, f"{HEADER}\n", f"{HEADER}\n\n", f"{HEADER}\r\n"])
@pytest.mark.parametrize("name", [CSV, GZIPPED])
def test_header_alone_has_no_rows(tmp_path: Path, name: str, text: str):
    content = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name == GZIPPED else content)

    assert rows_of(tmp_path / name) == []


def test_parquet_without_rows_has_none(tmp_path: Path):
    table = parquet.read_table(write_parquet(tmp_path / PARQUET, [TRIP]))
    parquet.write_table(table.slice(0, 0), tmp_path / PARQUET)

    opened, rows = read_all(tmp_path / PARQUET)

    assert (opened.rows, rows) == (0, [])


@pytest.mark.parametrize("missing", [1, 4, 8, 100, 5_000])
def test_cut_gzip_is_damaged(tmp_path: Path, missing: int):
    write_month(FILE, tmp_path / GZIPPED, source="csv_mirror", rows=2_000)
    whole = (tmp_path / GZIPPED).read_bytes()
    (tmp_path / GZIPPED).write_bytes(whole[:-missing])

    with pytest.raises(DamagedFile, match=f"{GZIPPED}: cannot be read to its end"):
        rows_of(tmp_path / GZIPPED)


@pytest.mark.parametrize("at", [20, 94, -8], ids=["block", "distance", "checksum"])
def test_gzip_with_other_bytes_in_it_is_damaged(tmp_path: Path, at: int):
    content = bytearray(csv_gz([TRIP] * 3_000))
    content[at : at + 4] = b"\xff" * 4
    (tmp_path / GZIPPED).write_bytes(content)

    with pytest.raises(DamagedFile, match=f"{GZIPPED}: cannot be read to its end"):
        rows_of(tmp_path / GZIPPED)


@pytest.mark.parametrize("missing", [1, 8, 500, 5_000])
def test_cut_parquet_is_damaged(tmp_path: Path, missing: int):
    whole = write_parquet(tmp_path / PARQUET, [TRIP]).read_bytes()
    (tmp_path / PARQUET).write_bytes(whole[:-missing])

    with pytest.raises(DamagedFile, match=f"{PARQUET}: is no whole parquet file"):
        rows_of(tmp_path / PARQUET)


def test_parquet_with_a_damaged_page_is_damaged(tmp_path: Path):
    content = bytearray(write_parquet(tmp_path / PARQUET, [TRIP] * 1_000).read_bytes())
    content[4:60] = b"\xff" * 56
    (tmp_path / PARQUET).write_bytes(content)

    with pytest.raises(DamagedFile, match=f"{PARQUET}: cannot be read to its end"):
        rows_of(tmp_path / PARQUET)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (GZIPPED, b"<!DOCTYPE html>\n"),
        (PARQUET, b"<!DOCTYPE html>\n"),
        (GZIPPED, csv_text([TRIP]).encode()),
        (PARQUET, csv_text([TRIP]).encode()),
        (PARQUET, csv_gz([TRIP])),
        (GZIPPED, b"PAR1"),
    ],
    ids=["html as gz", "html as parquet", "csv as gz", "csv as parquet", "gz as parquet", "parquet as gz"],
)
def test_content_of_another_format_than_the_name_says_is_damaged(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DamagedFile, match=f"{name}: begins with .*, which no {Path(name).suffix} file does"):
        rows_of(tmp_path / name)


def test_web_page_saved_as_csv_is_no_trip_file(tmp_path: Path):
    (tmp_path / CSV).write_text("<!DOCTYPE html>\n<html>Not Found</html>\n")

    with pytest.raises(SchemaMismatch, match=r"extra \['<!DOCTYPE html>'\], missing \['VendorID'"):
        rows_of(tmp_path / CSV)


def test_header_that_is_no_text_is_damaged(tmp_path: Path):
    (tmp_path / CSV).write_bytes(b"\xa0\xff\n")

    with pytest.raises(DamagedFile, match=f"{CSV}: cannot be read"):
        rows_of(tmp_path / CSV)


def test_reading_may_end_before_the_file(tmp_path: Path):
    write_month(FILE, tmp_path / GZIPPED, source="csv_mirror", rows=50_000)

    with reading.read(tmp_path / GZIPPED, FILE, source="csv_mirror") as opened:
        first = next(opened.batches)

    assert first.num_rows > 0
