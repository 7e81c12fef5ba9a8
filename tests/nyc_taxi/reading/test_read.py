"""A file of any format becomes the rows of its service's one schema."""

from pathlib import Path

import pyarrow as pa
import pytest

from devtools.generator import write_month
from include.nyc_taxi import Month, TripFile, reading
from include.nyc_taxi.reading import arrow_schema
from tests.nyc_taxi.reading.published_files import CANONICAL, LINE, each_format, read_all, rows_of, write, write_lines
from tests.nyc_taxi.trips import CSV, FILE, GZIPPED, PARQUET, TRIP, trip, without, write_parquet


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


def test_parquet_states_its_number_of_rows_and_csv_does_not(tmp_path: Path):
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


def test_some_columns_can_be_looked_through_again_and_again(tmp_path: Path):
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


def test_reading_may_end_before_the_file(tmp_path: Path):
    write_month(FILE, tmp_path / GZIPPED, source="csv_mirror", rows=50_000)

    with reading.read(tmp_path / GZIPPED, FILE, source="csv_mirror") as opened:
        first = next(opened.batches)

    assert first.num_rows > 0
