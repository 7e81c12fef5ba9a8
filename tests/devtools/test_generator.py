"""The generated files are as the catalogue describes the publisher's, with exactly the dirt that they promise."""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest
from pyarrow import compute, parquet

from devtools.generator import Generated, write_month
from devtools.generator.services import SERVICES, Taxis
from include.nyc_taxi import Month, TripFile, catalog, reading
from tests import independent

Edition = tuple[TripFile, str]

ROWS = 2_000
FEW_ROWS = 300
NULL_BLOCK = ["passenger_count", "rate_code_id", "store_and_fwd_flag"]

# Months within an era in which only the types of a Parquet file or the lines of a CSV file changed.
TURNS = {
    "yellow official": "2014-08 2018-07 2019-01 2020-08 2020-10 2020-11 2021-01 2025-03",
    "green official": "2019-01 2019-09 2023-02 2025-03",
    "fhv official": "2019-01 2019-03 2019-05 2019-07 2020-07 2020-08 2023-02",
    "fhvhv official": "2019-04 2019-07 2020-04 2020-05 2020-10 2023-02",
    "yellow csv_mirror": "2021-01",
    "fhv csv_mirror": "2021-01",
    "yellow csv_archive": "2011-01 2014-01 2015-07",
    "green csv_archive": "2014-01 2016-01",
}


class Lines(NamedTuple):
    """How the lines of one of the publisher's own CSV files begin and end."""

    name: str
    header_start: bytes
    header_end: bytes
    blank_second: bool
    fields: int


ARCHIVED = [
    Lines(
        "yellow_tripdata_2009-03", b"vendor_name,Trip_Pickup_DateTime,Trip_Dropoff_DateTime,", b",Total_Amt\n", True, 18
    ),
    Lines("yellow_tripdata_2013-12", b"vendor_id,pickup_datetime,dropoff_datetime,", b",total_amount\n", True, 18),
    Lines("yellow_tripdata_2014-05", b"vendor_id, pickup_datetime, dropoff_datetime, ", b", total_amount\n", True, 18),
    Lines("yellow_tripdata_2015-06", b"VendorID,tpep_pickup_datetime,", b",total_amount\r\n", False, 19),
    Lines("yellow_tripdata_2016-12", b"VendorID,tpep_pickup_datetime,", b",total_amount\r\n", False, 19),
    Lines("yellow_tripdata_2018-05", b"VendorID,tpep_pickup_datetime,", b",total_amount\n", True, 17),
    Lines("yellow_tripdata_2020-06", b"VendorID,tpep_pickup_datetime,", b",congestion_surcharge\r\n", False, 18),
    Lines(
        "green_tripdata_2013-09", b"VendorID,lpep_pickup_datetime,Lpep_dropoff_datetime,", b",Trip_type \n", True, 22
    ),
    Lines(
        "green_tripdata_2015-03", b"VendorID,lpep_pickup_datetime,Lpep_dropoff_datetime,", b",Trip_type \r\n", False, 23
    ),
    Lines(
        "green_tripdata_2015-08", b"VendorID,lpep_pickup_datetime,Lpep_dropoff_datetime,", b",Trip_type \r\n", False, 21
    ),
    Lines(
        "green_tripdata_2016-06", b"VendorID,lpep_pickup_datetime,Lpep_dropoff_datetime,", b",Trip_type \n", True, 21
    ),
    Lines("green_tripdata_2016-07", b"VendorID,lpep_pickup_datetime,lpep_dropoff_datetime,", b",trip_type\n", True, 21),
    Lines("green_tripdata_2018-12", b"VendorID,lpep_pickup_datetime,lpep_dropoff_datetime,", b",trip_type\n", True, 19),
    Lines("green_tripdata_2019-01", b"VendorID,lpep_pickup_datetime,", b",congestion_surcharge\r\n", False, 20),
    Lines("fhv_tripdata_2016-12", b"Dispatching_base_num,Pickup_date,", b",locationID\r\n", False, 3),
    Lines("fhv_tripdata_2017-06", b"Dispatching_base_num,Pickup_DateTime,", b",DOlocationID\r\n", False, 5),
    Lines("fhv_tripdata_2017-07", b'"Dispatching_base_num","Pickup_DateTime",', b',"SR_Flag"\r\n', False, 6),
    Lines("fhv_tripdata_2018-02", b'"Pickup_DateTime","DropOff_datetime",', b',"Dispatching_base_num"\r\n', False, 7),
    Lines("fhv_tripdata_2020-06", b"dispatching_base_num,pickup_datetime,", b",SR_Flag\r\n", False, 6),
    Lines("fhvhv_tripdata_2020-06", b"hvfhs_license_num,dispatching_base_num,", b",SR_Flag\r\n", False, 7),
]


def editions() -> list[Edition]:
    """Return the first month of every era of every source, and the months in which only types or lines changed."""
    firsts = [
        (TripFile(service.name, era.since), source)
        for service in catalog.services().values()
        for source, eras in service.eras.items()
        for era in eras
    ]
    turns = [
        (TripFile(service, Month.parse(month)), source)
        for (service, source), months in ((edition.split(), months.split()) for edition, months in TURNS.items())
        for month in months
    ]
    return list(dict.fromkeys([*firsts, *turns]))


def metered(of: list[Edition]) -> list[Edition]:
    return [edition for edition in of if catalog.service(edition[0].service).has_meter]


def named(edition: Edition) -> str:
    return f"{edition[0]}-{edition[1]}"


@pytest.fixture(params=editions(), ids=named)
def edition(request: pytest.FixtureRequest) -> Edition:
    return request.param


def read(path: Path, file: TripFile, source: str) -> pa.Table:
    with reading.read(path, file, source=source) as opened:
        return pa.Table.from_batches(opened.batches)


def test_every_service_has_a_row_that_agrees_with_its_meters():
    assert set(SERVICES) == set(catalog.services())
    assert {name for name, row in SERVICES.items() if isinstance(row.fleet, Taxis)} == {
        service.name for service in catalog.services().values() if service.has_meter
    }


def test_every_era_of_every_service_has_a_file():
    eras = [era for service in catalog.services().values() for of_source in service.eras.values() for era in of_source]

    assert len(editions()) > len(eras) > 30
    assert {file.service for file, _source in editions()} == {"yellow", "green", "fhv", "fhvhv"}


def test_every_value_of_the_file_is_found_by_reading_it(edition: Edition, tmp_path: Path):
    file, source = edition
    service = catalog.service(file.service)
    write_month(file, tmp_path / "file", source=source, rows=FEW_ROWS)

    expected = independent.read(tmp_path / "file", file, source)
    trips = read(tmp_path / "file", file, source)

    assert trips.schema.equals(reading.arrow_schema(file.service))
    assert trips.num_rows == FEW_ROWS
    for column in service.columns:
        assert trips[column.name].to_pylist() == expected.get(column.name, [None] * FEW_ROWS), column.name


@pytest.mark.parametrize("service", sorted(catalog.services()))
def test_every_column_has_values_in_some_edition(service: str, tmp_path: Path):
    """Otherwise the comparison above would compare nothing with nothing."""
    filled = {"ehail_fee"}  # it was never charged
    for file, source in editions():
        if file.service == service:
            write_month(file, tmp_path / "file", source=source, rows=50)
            trips = read(tmp_path / "file", file, source)
            filled |= {name for name in trips.column_names if trips[name].null_count < trips.num_rows}

    assert filled >= {column.name for column in catalog.service(service).columns}


@pytest.mark.parametrize("edition", metered(editions()), ids=named)
def test_reading_finds_just_what_was_promised(edition: Edition, tmp_path: Path):
    file, source = edition
    first_with_block = Month(2011, 1) if source == "official" else Month(2019, 1)

    promised = write_month(file, tmp_path / "file", source=source, rows=ROWS)
    trips = read(tmp_path / "file", file, source)

    assert promised == Generated(2_000, without_passengers=39, null_block=144 if file.month >= first_with_block else 0)
    assert trips.num_rows == promised.rows
    assert compute.sum(compute.equal(trips["passenger_count"], 0)).as_py() == promised.without_passengers
    assert trips["passenger_count"].null_count == promised.null_block
    for column in NULL_BLOCK if promised.null_block else ():
        assert trips[column].null_count == promised.null_block, column
        assert trips[column].slice(ROWS - promised.null_block).null_count == promised.null_block, column


def test_same_file_is_the_same_byte_by_byte(edition: Edition, tmp_path: Path):
    file, source = edition

    for name in ("one", "other"):
        write_month(file, tmp_path / name, source=source, rows=FEW_ROWS)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.parametrize("edition", metered(editions()), ids=named)
def test_files_of_taxis_hold_the_dirt_of_real_ones(edition: Edition, tmp_path: Path):
    file, source = edition

    write_month(file, tmp_path / "file", source=source, rows=ROWS)
    trips = read(tmp_path / "file", file, source)

    pickups = trips["pickup_datetime"].to_pylist()
    assert any(pickup.year in (2008, 2009) for pickup in pickups)
    assert sum(Month.of(pickup) == file.month for pickup in pickups) > 0.98 * ROWS
    assert compute.min(trips["fare_amount"]).as_py() < 0
    assert compute.max(trips["trip_distance"]).as_py() > 10_000
    assert compute.max(trips["rate_code_id"]).as_py() == (99 if file.month.year > 2009 else None)
    assert compute.any(compute.less(trips["dropoff_datetime"], trips["pickup_datetime"])).as_py()
    if trips["pickup_longitude"].null_count:
        assert {264, 265} <= set(trips["pickup_location_id"].to_pylist() + trips["dropoff_location_id"].to_pylist())
    else:
        assert compute.max(trips["pickup_longitude"]).as_py() == 0


@pytest.mark.parametrize(
    "name",
    [
        "fhv_tripdata_2017-07",
        "fhv_tripdata_2018-01",
        "fhv_tripdata_2019-01",
        "fhv_tripdata_2020-06",
        "fhvhv_tripdata_2019-02",
        "fhvhv_tripdata_2020-06",
    ],
)
def test_files_of_car_services_hold_the_dirt_of_real_ones(name: str, tmp_path: Path):
    file = TripFile.parse(name)

    promised = write_month(file, tmp_path / "file", source="csv_archive", rows=ROWS)
    trips = read(tmp_path / "file", file, "csv_archive")

    assert promised == Generated(ROWS, without_passengers=0, null_block=0)
    assert max(trips["dropoff_datetime"].to_pylist()).year == 3019
    assert compute.any(compute.less(trips["dropoff_datetime"], trips["pickup_datetime"])).as_py()
    assert set(trips["sr_flag"].to_pylist()) == {None, 1}
    assert (trips["pickup_location_id"].null_count > ROWS / 2) is (file.service == "fhv")


@pytest.mark.parametrize("published", ARCHIVED, ids=lambda published: published.name)
def test_archived_files_have_the_lines_of_the_publishers(published: Lines, tmp_path: Path):
    write_month(TripFile.parse(published.name), tmp_path / "file", source="csv_archive", rows=5)

    header, *lines = (tmp_path / "file").read_bytes().splitlines(keepends=True)
    rows = [line for line in lines if line != b"\r\n"]

    assert header.startswith(published.header_start)
    assert header.endswith(published.header_end)
    assert (lines[0] == b"\r\n") is published.blank_second
    assert len(rows) == 5
    assert all(row.endswith(b"\r\n") and row.count(b",") == published.fields - 1 for row in rows)


def test_trips_are_sorted_by_the_hour(tmp_path: Path):
    file = TripFile("yellow", Month(2021, 1))

    promised = write_month(file, tmp_path / "file", rows=ROWS)
    pickups = read(tmp_path / "file", file, "official")["pickup_datetime"].to_pylist()

    metered = [pickup for pickup in pickups[: ROWS - promised.null_block] if pickup.year > 2009]
    assert all((earlier - later).total_seconds() < 3600 for earlier, later in pairwise(metered))


@pytest.mark.parametrize(
    ("name", "other", "but"),
    [
        ("green_tripdata_2021-01", "csv_mirror", ["vendor_id"]),
        ("yellow_tripdata_2009-05", "csv_archive", []),
        ("yellow_tripdata_2010-02", "csv_archive", []),
        ("fhv_tripdata_2019-01", "csv_mirror", []),
    ],
)
def test_both_editions_hold_the_same_trips(name: str, other: str, but: list[str], tmp_path: Path):
    file = TripFile.parse(name)

    for source in ("official", other):
        write_month(file, tmp_path / source, source=source, rows=ROWS)
    official, csv_edition = (read(tmp_path / source, file, source).drop_columns(but) for source in ("official", other))

    assert official.equals(csv_edition)


def test_more_rows_than_a_chunk_keep_the_promise(tmp_path: Path):
    file = TripFile("green", Month(2024, 1))

    promised = write_month(file, tmp_path / "file", rows=300_001)
    trips = read(tmp_path / "file", file, "official")

    assert trips.num_rows == promised.rows == 300_001
    assert compute.sum(compute.equal(trips["passenger_count"], 0)).as_py() == promised.without_passengers
    assert trips["passenger_count"].null_count == promised.null_block


@pytest.mark.parametrize("name", ["yellow_tripdata_2024-01", "green_tripdata_2016-01"])
def test_most_negative_amounts_reverse_a_charge_and_some_do_not(name: str, tmp_path: Path):
    file = TripFile.parse(name)
    write_month(file, tmp_path / "file", source="csv_archive" if file.month.year == 2016 else "official", rows=50_000)

    trips = read(tmp_path / "file", file, "csv_archive" if file.month.year == 2016 else "official")

    columns = ("vendor_id", "pickup_datetime", "dropoff_datetime", "total_amount")
    rows = list(zip(*(trips[column].to_pylist() for column in columns), strict=True))
    negative = [row for row in rows if row[-1] < 0]
    lone = {(*row[:-1], -row[-1]) for row in negative} - set(rows)
    assert 1 <= len(lone) < len(negative) / 10


def test_few_rows_are_enough(edition: Edition, tmp_path: Path):
    file, source = edition

    for rows in (1, 2, 10):
        assert write_month(file, tmp_path / "file", source=source, rows=rows).rows == rows
        assert read(tmp_path / "file", file, source).num_rows == rows


def test_no_rows_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="cannot have 0 rows"):
        write_month(TripFile("green", Month(2024, 1)), tmp_path / "file", rows=0)


def test_file_of_the_notes_has_its_known_counts(tmp_path: Path):
    file = TripFile("yellow", Month(2021, 1))

    promised = write_month(file, tmp_path / "file", source="csv_mirror")

    assert promised == Generated(rows=1_369_765, without_passengers=26_726, null_block=98_352)


@pytest.mark.parametrize(("month", "compression"), [("2023-01", "GZIP"), ("2023-02", "ZSTD")])
def test_parquet_is_one_row_group_compressed_as_in_its_time(tmp_path: Path, month: str, compression: str):
    write_month(TripFile("green", Month.parse(month)), tmp_path / "file", rows=ROWS)

    metadata = parquet.read_metadata(tmp_path / "file")

    assert metadata.num_row_groups == 1
    assert metadata.row_group(0).column(0).compression == compression
