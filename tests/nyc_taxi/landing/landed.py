"""A small month in raw/, and what data/ and rejects/ hold of it."""

from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from include.nyc_taxi import landing
from include.nyc_taxi.lake import Lake, data_key, rejects_key
from include.nyc_taxi.landing import Landed
from tests.nyc_taxi.trips import FILE, TRIP, csv_gz, trip

ROOT = Path(__file__).resolve().parents[3]
DATA, REJECTS = data_key(FILE), rejects_key(FILE)

NOBODY, UNKNOWN, FAR = trip(passenger_count=0), trip(passenger_count=None), trip(trip_distance=259_777.5)
MONTH = csv_gz([TRIP, NOBODY, UNKNOWN, FAR, NOBODY])


def land(lake: Lake, **options: object) -> Landed:
    return landing.land(FILE, lake, **{"source": "csv_mirror", **options})


def table(lake: Lake, key: str) -> pa.Table:
    with lake.fs.open(lake.path(key), "rb") as file:
        return parquet.read_table(file)


def content(lake: Lake, key: str) -> bytes:
    return lake.fs.cat_file(lake.path(key))


def identity(lake: Lake, key: str) -> tuple[int, int]:
    status = Path(lake.path(key)).stat()
    return status.st_ino, status.st_mtime_ns


def assert_lies_there(lake: Lake, result: Landed) -> None:
    """Check that data/ and rejects/ hold what the result describes."""
    assert landing.landed(lake, FILE) == result
    assert table(lake, DATA).num_rows == result.rows_accepted
    assert table(lake, REJECTS).num_rows == result.rows_rejected
    assert result.rows_accepted + result.rows_rejected == result.rows_read
    assert sum(result.rejected_by_reason.values()) == result.rows_rejected
