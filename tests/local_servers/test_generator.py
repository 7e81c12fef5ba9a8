"""The generated files are what the catalogue says the publisher's are, with just the dirt that they promise."""

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import compute, parquet

from include.local_servers.generator import Generated, write_month
from include.nyc_taxi import Month, TripFile, catalog, reading

Edition = tuple[TripFile, str]

ROWS = 2_000
NULL_BLOCK = ["passenger_count", "rate_code_id", "store_and_fwd_flag"]


def editions() -> list[Edition]:
    """The first month of every era of every source, and months in which only types changed."""
    found = [
        (TripFile(service.name, era.since), source)
        for service in catalog.services().values()
        for source, eras in service.eras.items()
        for era in eras
    ]
    return [
        *found,
        (TripFile("yellow", Month(2020, 10)), "official"),
        (TripFile("yellow", Month(2021, 1)), "official"),
        (TripFile("yellow", Month(2021, 1)), "csv_mirror"),
        (TripFile("green", Month(2023, 2)), "official"),
        (TripFile("green", Month(2025, 3)), "official"),
    ]


@pytest.fixture(params=editions(), ids=lambda edition: f"{edition[0]}-{edition[1]}")
def edition(request: pytest.FixtureRequest) -> Edition:
    return request.param


def read(path: Path, file: TripFile, source: str) -> pa.Table:
    with reading.read(path, file, source=source) as opened:
        return pa.Table.from_batches(opened.batches)


def test_reading_finds_just_what_was_promised(edition: Edition, tmp_path: Path):
    file, source = edition

    promised = write_month(file, tmp_path / "file", source=source, rows=ROWS)
    trips = read(tmp_path / "file", file, source)

    assert promised == Generated(rows=2_000, without_passengers=39, null_block=144)
    assert trips.num_rows == promised.rows
    assert compute.sum(compute.equal(trips["passenger_count"], 0)).as_py() == promised.without_passengers
    for column in NULL_BLOCK:
        assert trips[column].null_count == promised.null_block, column
        assert trips[column].slice(ROWS - promised.null_block).null_count == promised.null_block, column


def test_same_file_is_the_same_byte_by_byte(edition: Edition, tmp_path: Path):
    file, source = edition

    for name in ("one", "other"):
        write_month(file, tmp_path / name, source=source, rows=ROWS)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_files_hold_the_dirt_of_real_ones(edition: Edition, tmp_path: Path):
    file, source = edition

    write_month(file, tmp_path / "file", source=source, rows=ROWS)
    trips = read(tmp_path / "file", file, source)

    pickups = trips["pickup_datetime"].to_pylist()
    assert any(pickup.year in (2008, 2009) for pickup in pickups)
    assert sum(Month.of(pickup) == file.month for pickup in pickups) > 0.98 * ROWS
    assert compute.min(trips["fare_amount"]).as_py() < 0
    assert compute.max(trips["trip_distance"]).as_py() > 10_000
    assert compute.max(trips["rate_code_id"]).as_py() == 99
    assert {264, 265} <= set(trips["pickup_location_id"].to_pylist() + trips["dropoff_location_id"].to_pylist())
    assert compute.any(compute.less(trips["dropoff_datetime"], trips["pickup_datetime"])).as_py()


def test_trips_are_sorted_by_the_hour(tmp_path: Path):
    file = TripFile("yellow", Month(2021, 1))

    promised = write_month(file, tmp_path / "file", rows=ROWS)
    pickups = read(tmp_path / "file", file, "official")["pickup_datetime"].to_pylist()

    metered = [pickup for pickup in pickups[: ROWS - promised.null_block] if pickup.year > 2009]
    assert all((earlier - later).total_seconds() < 3600 for earlier, later in pairwise(metered))


def test_both_editions_hold_the_same_trips(tmp_path: Path):
    file = TripFile("green", Month(2021, 1))

    write_month(file, tmp_path / "official", source="official", rows=ROWS)
    write_month(file, tmp_path / "mirror", source="csv_mirror", rows=ROWS)
    official, mirror = read(tmp_path / "official", file, "official"), read(tmp_path / "mirror", file, "csv_mirror")

    assert official.drop_columns("vendor_id").equals(mirror.drop_columns("vendor_id"))


def test_more_rows_than_a_chunk_keep_the_promise(tmp_path: Path):
    file = TripFile("green", Month(2024, 1))

    promised = write_month(file, tmp_path / "file", rows=300_001)
    trips = read(tmp_path / "file", file, "official")

    assert trips.num_rows == promised.rows == 300_001
    assert compute.sum(compute.equal(trips["passenger_count"], 0)).as_py() == promised.without_passengers
    assert trips["passenger_count"].null_count == promised.null_block


def test_few_rows_are_enough(tmp_path: Path):
    file = TripFile("green", Month(2024, 1))

    for rows in (1, 2, 10):
        assert write_month(file, tmp_path / "file", rows=rows).rows == rows
        assert read(tmp_path / "file", file, "official").num_rows == rows


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
