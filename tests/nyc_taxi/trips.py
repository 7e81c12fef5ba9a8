"""Small trip files, written row by row and without the core, as a publisher could publish them."""

import csv
import gzip
import hashlib
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from include.nyc_taxi import Month, TripFile, editions
from include.nyc_taxi.editions import Edition
from include.nyc_taxi.lake import Lake, raw_key

Row = dict[str, Any]

FILE = TripFile("green", Month(2021, 1))
CSV, GZIPPED, PARQUET = (f"green_tripdata_2021-01{suffix}" for suffix in (".csv", ".csv.gz", ".parquet"))

# The columns of green 2021-01, the same in both sources, with one trip of our own.
TRIP: Row = {
    "VendorID": 2,
    "lpep_pickup_datetime": datetime(2021, 1, 5, 8, 30, 1),
    "lpep_dropoff_datetime": datetime(2021, 1, 5, 8, 43, 59),
    "store_and_fwd_flag": "N",
    "RatecodeID": 1,
    "PULocationID": 74,
    "DOLocationID": 263,
    "passenger_count": 1,
    "trip_distance": 2.31,
    "fare_amount": 11.5,
    "extra": 0.5,
    "mta_tax": 0.5,
    "tip_amount": 2.96,
    "tolls_amount": 0.0,
    "ehail_fee": None,
    "improvement_surcharge": 0.3,
    "total_amount": 18.51,
    "payment_type": 1,
    "trip_type": 1,
    "congestion_surcharge": 2.75,
}
NOTHING: Row = dict.fromkeys(TRIP)
DOUBLES = {
    "RatecodeID",
    "passenger_count",
    "payment_type",
    "trip_type",
}  # ids with nulls, as the official file has them


def trip(**values: object) -> Row:
    """Return the trip with other values by published names; an unknown name is a new last column."""
    return TRIP | values


def without(row: Row, name: str) -> Row:
    """Return the row without a column."""
    return {key: value for key, value in row.items() if key != name}


def csv_text(rows: Sequence[Row], end: str = "\n") -> str:
    """Return a header and the rows, both in the first row's order."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator=end)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def csv_gz(rows: Sequence[Row], end: str = "\n") -> bytes:
    """Return the rows as a file of the CSV mirror."""
    return gzip.compress(csv_text(rows, end).encode(), mtime=0)


def write_parquet(path: Path, rows: Sequence[Row], types: Mapping[str, pa.DataType] | None = None) -> Path:
    """Write the rows as an official file, some columns in other types than the publisher's."""
    schema = pa.schema([(name, _type(name, rows, types or {})) for name in rows[0]])
    parquet.write_table(pa.Table.from_pylist(list(rows), schema), path)
    return path


def _type(name: str, rows: Sequence[Row], types: Mapping[str, pa.DataType]) -> pa.DataType:
    if name in types:
        return types[name]
    if name in DOUBLES:
        return pa.float64()
    return pa.array([TRIP.get(name, rows[0][name])]).type


def put_raw(
    lake: Lake, content: bytes, file: TripFile = FILE, source: str = "csv_mirror", *, etag: str = '"v1"'
) -> Edition:
    """Have the bytes in raw/ as the current edition, as a fetch leaves them."""
    key = raw_key(file, source)
    with lake.scratch(PurePosixPath(key).name) as path:
        path.write_bytes(content)
        seen = editions.Seen(
            sha256=hashlib.sha256(content).hexdigest(),
            source=source,
            url=f"http://publisher/{key}",
            etag=etag,
            last_modified=None,
            bytes=len(content),
            at=datetime(2021, 3, 1, tzinfo=UTC),
            after=len(editions.history(lake, key).editions),
        )
        edition = editions.add(lake, key, path, seen)
    editions.describe(lake, key, edition.sha256, is_held_back=False)  # tests make months shrink as they like
    return edition


def raw_path(lake: Lake, file: TripFile, source: str) -> Path:
    """Return the path of the bytes of a file's current edition in a local lake."""
    return Path(lake.path(editions.history(lake, raw_key(file, source)).current.key))


def files_in(lake: Lake) -> list[str]:
    """Return the path of every file in a local lake, apart from the empty ones that conditional writes lock."""
    root = Path(lake.root)
    files = [path for path in root.rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(root)) for path in files if path.parent.name != ".locks" or path.stat().st_size)
