"""The small trip of `trips` in files of every format, and the row that it is read as."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest

from include.nyc_taxi import TripFile, reading
from include.nyc_taxi.reading import Reading, arrow_schema
from tests.nyc_taxi.trips import CSV, FILE, GZIPPED, PARQUET, TRIP, Row, csv_gz, csv_text, trip, write_parquet

LINE = csv_text([TRIP]).splitlines()[1]
HEADER = csv_text([TRIP]).splitlines()[0]

# The row that the trip is read as: every column of green in its canonical type.
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
    """Write the rows in the format of the suffix."""
    if path.suffix == ".parquet":
        return write_parquet(path, rows)
    path.write_bytes(csv_gz(rows) if path.suffix == ".gz" else csv_text(rows).encode())
    return path


def write_lines(path: Path, *lines: str) -> Path:
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return path


def changed(**values: str) -> str:
    """Return the trip's line in a CSV file, with other words in some fields."""
    return csv_text([trip(**values)]).splitlines()[1]


each_format = pytest.mark.parametrize("name", [CSV, GZIPPED, PARQUET], ids=["csv", "csv.gz", "parquet"])
