"""Every published file has one era, and files of all eras, generated or real, are read as they were written.

TLC_REAL_DATA names a folder with the first kilobyte of the publisher's CSV files under `heads/` and samples of other
eras, editions and kinds of damage under `misc/`. Nothing of it is part of this project.
"""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from math import fsum
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from devtools.generator import write_month
from include.nyc_taxi import Month, TripFile, catalog, landing, reading
from include.nyc_taxi.errors import PermanentError, SchemaMismatch
from include.nyc_taxi.lake import Lake, data_key, rejects_key
from tests import independent

LAST_PUBLISHED = Month(2026, 8)
REAL_DATA = Path(os.environ.get("TLC_REAL_DATA", "/nowhere"))
HEADS = sorted(REAL_DATA.glob("heads/*.csv"))

# The publisher's files, by service and source: first month, last month, their number.
PUBLISHED = [
    ("yellow", "official", "2009-01", "2026-08", 212),
    ("green", "official", "2014-01", "2026-08", 152),
    ("fhv", "official", "2015-01", "2026-08", 140),
    ("fhvhv", "official", "2019-02", "2026-08", 91),
    ("yellow", "csv_mirror", "2019-01", "2021-07", 31),
    ("green", "csv_mirror", "2019-01", "2021-07", 31),
    ("fhv", "csv_mirror", "2019-01", "2021-07", 31),
    ("fhvhv", "csv_mirror", "2019-02", "2021-07", 30),
    ("yellow", "csv_archive", "2009-01", "2020-06", 138),
    ("green", "csv_archive", "2013-08", "2020-06", 83),
    ("fhv", "csv_archive", "2015-01", "2020-06", 66),
    ("fhvhv", "csv_archive", "2019-02", "2020-06", 17),
]

LANDED = [
    ("yellow_tripdata_2009-01", "official"),
    ("yellow_tripdata_2010-02", "official"),
    ("yellow_tripdata_2012-07", "csv_archive"),
    ("yellow_tripdata_2016-07", "csv_archive"),
    ("green_tripdata_2013-08", "csv_archive"),
    ("green_tripdata_2026-06", "official"),
    ("fhv_tripdata_2016-05", "csv_archive"),
    ("fhv_tripdata_2018-03", "csv_archive"),
    ("fhv_tripdata_2020-07", "official"),
    ("fhv_tripdata_2021-02", "csv_mirror"),
    ("fhvhv_tripdata_2019-02", "official"),
    ("fhvhv_tripdata_2020-06", "csv_archive"),
    ("fhvhv_tripdata_2025-01", "official"),
]

needs_real_data = pytest.mark.skipif(not HEADS, reason="TLC_REAL_DATA does not name a folder of the publisher's files")


def read(path: Path, file: TripFile, source: str) -> pa.Table:
    with reading.read(path, file, source=source) as opened:
        return pa.Table.from_batches(opened.batches, reading.arrow_schema(file.service))


def assert_reads_as_written(path: Path, source: str) -> pa.Table:
    """Read the file both ways, compare every column, and return the reading of `reading`."""
    file = TripFile.parse(path.name)
    expected = independent.read(path, file, source)
    trips = read(path, file, source)
    for name in trips.column_names:
        assert trips[name].to_pylist() == expected.get(name, [None] * trips.num_rows), name
    return trips


def real(name: str) -> Path:
    path = REAL_DATA / "misc" / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


@pytest.mark.parametrize(("service", "source", "first", "last", "count"), PUBLISHED)
def test_every_published_file_has_one_era_of_which_every_column_is_known(
    service: str, source: str, first: str, last: str, count: int
):
    months = list(Month.range(Month.parse(first), Month.parse(last)))

    assert len(months) == count
    known = catalog.service(service)
    for month in months:
        file = TripFile.parse(f"{service}_tripdata_{month}.parquet")
        era = known.era(source, file.month)
        begun = [other for other in known.eras[source] if other.since <= month]
        assert era == begun[-1]
        columns = [known.column_published_as(name, era) for name in era.columns]
        assert None not in columns
        assert len(set(columns)) == len(columns)


@pytest.mark.parametrize(("service", "source", "first", "last", "count"), PUBLISHED)
def test_month_before_the_first_and_after_the_last_has_no_era(
    service: str, source: str, first: str, last: str, count: int
):
    known = catalog.service(service)
    never = [Month.parse(first) - 1] + ([Month.parse(last) + 1] if source != "official" else [])

    for month in never:
        with pytest.raises(PermanentError, match=rf"{month}: source '{source}' has {service} from {first}"):
            known.era(source, month)


@pytest.mark.parametrize(("name", "source"), LANDED)
def test_generated_month_of_any_era_lands_whole(
    name: str, source: str, lake: Lake, landed_month: Callable[..., TripFile]
):
    file = landed_month(name, rows=2_000, source=source)

    landed = landing.landed(lake, file)
    kept, rejected = (parquet.read_table(lake.path(key(file))) for key in (data_key, rejects_key))
    zeros = 39 if catalog.service(file.service).has_meter else 0

    assert landed.schema_era == catalog.service(file.service).era(source, file.month).name
    assert landed.rows_read == 2_000 == kept.num_rows + rejected.num_rows
    assert landed.rows_rejected == rejected.num_rows == zeros
    columns = [column.name for column in catalog.service(file.service).columns]
    assert kept.schema.names == [*columns, "file_month"]


@needs_real_data
def test_there_is_a_head_of_every_service_and_almost_every_year():
    files = {TripFile.parse(path.name) for path in HEADS}

    assert len(files) == len(HEADS) > 100
    assert {file.service for file in files} == set(catalog.services())
    assert {file.month.year for file in files} == set(range(2009, 2021))


@needs_real_data
@pytest.mark.parametrize("head", HEADS, ids=lambda path: path.stem)
def test_first_rows_of_a_real_file_are_read_as_written(head: Path, tmp_path: Path):
    content = head.read_bytes()
    whole = tmp_path / head.name
    whole.write_bytes(content[: content.rindex(b"\n") + 1])  # the kilobyte ends in the middle of a row

    trips = assert_reads_as_written(whole, "csv_archive")

    file = TripFile.parse(head.name)
    assert trips.num_rows >= 2
    assert trips["pickup_datetime"].null_count == 0
    assert abs(trips["pickup_datetime"][-1].as_py().year - file.month.year) <= 1


@needs_real_data
def test_first_kilobyte_that_is_cut_in_a_row_is_refused_or_read_to_the_cut():
    """The cut row is an error, unless the rest of its last field happens to be a value."""
    refused = 0
    for head in HEADS:
        file = TripFile.parse(head.name)
        with suppress(SchemaMismatch):
            read(head, file, "csv_archive")
            continue
        refused += 1

    assert refused > len(HEADS) / 2


def test_real_green_month_of_2013_is_read_whole():
    trips = assert_reads_as_written(real("green_tripdata_2013-08.csv"), "csv_archive")

    assert trips.num_rows == 7_623
    assert fsum(trips["pickup_longitude"].to_pylist()) < 0
    assert trips["pickup_location_id"].null_count == trips["ehail_fee"].null_count == trips.num_rows


@pytest.mark.parametrize(
    ("name", "source", "rows"),
    [
        ("yellow_tripdata_2015-01.head.csv", "csv_archive", 1_999),
        ("yellow_tripdata_2019-06.sample1000.csv", "csv_archive", 1_000),
        ("yellow_tripdata_2019-06.sample1000.csv", "csv_mirror", 1_000),
        ("yellow_tripdata_2025-02.sample5000.parquet", "official", 5_000),
        # The Parquet file as CSV: the mirror has its columns, the publisher's CSV files had one less.
        ("fhv_tripdata_2020-04.sample.csv", "csv_mirror", 1_000),
        ("fhv_tripdata_2020-04.sample.csv", "csv_archive", 1_000),
    ],
)
def test_real_sample_is_read_as_written(name: str, source: str, rows: int):
    assert assert_reads_as_written(real(name), source).num_rows == rows


@pytest.mark.parametrize(
    ("name", "source", "words"),
    [
        (
            "yellow_tripdata_2021-01.excel-resaved.csv",
            "csv_mirror",
            r"column 'tpep_pickup_datetime': '1/1/2021 0:30' in row 1 does not fit .* expected at most 1 in 1,000",
        ),
        ("yellow_tripdata_2021-01.truncated.csv", "csv_mirror", r"row 22,793: Expected 18 columns, got 2: 1,2021-0"),
    ],
)
def test_real_file_that_is_damaged_is_refused_with_what_was_found(name: str, source: str, words: str):
    path = real(name)

    with pytest.raises(SchemaMismatch, match=words):
        read(path, TripFile.parse(name), source)


@pytest.mark.parametrize(
    ("name", "source", "era"),
    [
        ("fhvhv_tripdata_2020-04.sample.csv", "csv_archive", "official-2019-02"),
        ("fhvhv_tripdata_2020-04.sample.csv", "csv_mirror", "official-2019-02"),
        ("fhv_tripdata_2020-04.sample.csv", "csv_archive", "csv_mirror-2019-01"),
        ("yellow_tripdata_2019-06.sample1000.csv", "official", "csv_mirror-2019-01"),
    ],
)
def test_real_file_of_another_edition_is_read_by_the_era_whose_columns_it_has(name: str, source: str, era: str):
    with reading.read(real(name), TripFile.parse(name), source=source) as opened:
        assert sum(batch.num_rows for batch in opened.batches) == 1_000

    assert opened.era.name == era


def test_real_sample_of_the_apps_is_an_official_file_in_csv():
    """It has the columns of the official era, and is read as that era although it is not a Parquet file."""
    path = real("fhvhv_tripdata_2020-04.sample.csv")
    file = TripFile.parse(path.name)

    trips = read(path, file, "official")

    fields = independent.csv_columns(path)
    assert trips.num_rows == 1_000
    assert trips["hvfhs_license_num"].to_pylist() == fields["hvfhs_license_num"]
    assert trips["trip_time"].to_pylist() == [int(field) for field in fields["trip_time"]]
    assert trips["driver_pay"].to_pylist() == [float(field) for field in fields["driver_pay"]]
    assert set(trips["access_a_ride_flag"].to_pylist()) <= {None, "N", "Y"}


@needs_real_data
@pytest.mark.parametrize("service", sorted(catalog.services()))
def test_generated_parquet_has_the_published_types(service: str, tmp_path: Path):
    facts = REAL_DATA / "facts" / "schema_eras.json"
    if not facts.exists():
        pytest.skip("facts/schema_eras.json is not there")

    for era in json.loads(facts.read_text())["eras"][service]:
        write_month(TripFile(service, Month.parse(era["from"])), tmp_path / "file", rows=3)
        types = {field.name: str(field.type) for field in parquet.read_schema(tmp_path / "file")}
        published = {name: type_ for name, type_ in era["columns"] if type_ != "UNKNOWN"}
        assert {name: types[name] for name in published} == published, era["from"]
