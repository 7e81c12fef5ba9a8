"""Really published files are read as an independent reader reads them.

TLC_REAL_DATA names a folder with files of the official source in `trip-data/` and of the CSV mirror in `csv-mirror/`.
It may also have `facts/published_files.csv`, `facts/schema_eras.json`, and broken files in `misc/`. None of it is part
of this project.
"""

import csv
import gzip
import json
import os
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from functools import cache
from math import fsum
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest
from pyarrow import compute, parquet

from devtools.servers.publisher import Publisher
from include.nyc_taxi import Month, TripFile, catalog, download, landing, reading
from include.nyc_taxi.errors import PermanentError, SchemaMismatch
from include.nyc_taxi.lake import Lake, data_key, rejects_key

REAL_DATA = Path(os.environ.get("TLC_REAL_DATA", "/nowhere"))
KNOWN_ROWS = {TripFile("green", Month(2021, 1)): 76_518, TripFile("green", Month(2024, 1)): 56_551}

pytestmark = pytest.mark.skipif(
    "TLC_REAL_DATA" not in os.environ, reason="TLC_REAL_DATA does not name a folder of the publisher's files"
)

# The publisher's names that differ from ours by more than case: a second opinion, not the catalogue's.
OURS = {
    "vendorid": "vendor_id",
    "tpep_pickup_datetime": "pickup_datetime",
    "tpep_dropoff_datetime": "dropoff_datetime",
    "lpep_pickup_datetime": "pickup_datetime",
    "lpep_dropoff_datetime": "dropoff_datetime",
    "ratecodeid": "rate_code_id",
    "pulocationid": "pickup_location_id",
    "dolocationid": "dropoff_location_id",
}


class Summary(NamedTuple):
    """Return what is compared of a column: the least and the greatest value, and the exact sum of numbers."""

    nulls: int
    least: object = None
    greatest: object = None
    total: float = 0.0


def ours(published: str) -> str:
    name = published.strip().lower()
    return OURS.get(name, name)


def listed(values: list | pa.ChunkedArray) -> list:
    return values if isinstance(values, list) else values.to_pylist()


def summary(values: list) -> Summary:
    there = [value for value in values if value is not None]
    total = fsum(there) if there and isinstance(there[0], int | float) else 0.0
    return Summary(len(values) - len(there), min(there, default=None), max(there, default=None), total)


def lone_negatives(published: dict[str, list | pa.ChunkedArray]) -> int:
    """Count the rows with a negative total for which no row of the same trip has the opposite total."""
    trip = ("vendor_id", "pickup_datetime", "dropoff_datetime", "pickup_location_id", "dropoff_location_id")
    rows = list(zip(*(listed(published[name]) for name in (*trip, "total_amount")), strict=True))
    charges = set(rows)
    return sum((*row[:-1], -row[-1]) not in charges for row in rows if row[-1] < 0)


def read_independently(path: Path) -> dict[str, list | pa.ChunkedArray]:
    """Return the columns of the file under canonical names; lists of a Parquet file's values take too much memory."""
    if path.suffix == ".gz":
        return read_csv(path)
    table = parquet.read_table(path)
    return {ours(name): table[name] for name in table.column_names}


def read_csv(path: Path) -> dict[str, list]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    columns = dict(zip(map(ours, header), zip(*rows, strict=True), strict=True))
    return {name: [_value(name, text) for text in texts] for name, texts in columns.items()}


def _value(column: str, text: str) -> object:
    if not text:
        return None
    if column.endswith("_datetime"):
        return datetime.fromisoformat(text)
    return text if column == "store_and_fwd_flag" else float(Decimal(text))


@cache
def published_rows() -> dict[TripFile, int]:
    """Return the known numbers of rows of official files."""
    facts = REAL_DATA / "facts" / "published_files.csv"
    if not facts.exists():
        return KNOWN_ROWS
    with facts.open(newline="") as file:
        return KNOWN_ROWS | {
            TripFile(row["dataset"], Month(int(row["year"]), int(row["month"]))): int(row["rows"])
            for row in csv.DictReader(file)
            if row["dataset"] in catalog.services()
        }


def known_files() -> list:
    """Return every file of the folder that the catalogue has, with its source."""
    places = [("official", "trip-data/*.parquet"), ("csv_mirror", "csv-mirror/**/*.csv.gz")]
    found = [(path, publisher) for publisher, pattern in places for path in sorted(REAL_DATA.glob(pattern))]
    return [pytest.param(path, publisher, id=path.name) for path, publisher in found if _is_known(path, publisher)]


def _is_known(path: Path, publisher: str) -> bool:
    try:
        file = TripFile.parse(path.name)
        catalog.service(file.service).era(publisher, file.month)
    except (ValueError, PermanentError):
        return False
    return True


@pytest.fixture(scope="module")
def base_urls() -> Iterator[dict[str, str]]:
    with Publisher(REAL_DATA) as publisher:
        yield {"official": publisher.base_url, "csv_mirror": f"{publisher.base_url}/csv-mirror"}


def test_there_are_real_files():
    assert known_files()


@pytest.mark.parametrize(("path", "publisher"), known_files())
def test_real_file_lands_as_an_independent_reading_finds_it(
    path: Path, publisher: str, lake: Lake, base_urls: dict[str, str]
):
    file = TripFile.parse(path.name)
    published = read_independently(path)
    rows, zeros = len(published["vendor_id"]), listed(published["passenger_count"]).count(0)

    fetched = download.fetch(file, lake, source=publisher, base_url=base_urls[publisher])
    everything = landing.land(file, lake, source=publisher, profile="none")
    whole = parquet.read_table(lake.path(data_key(file)))
    strict = landing.land(file, lake, source=publisher, profile="strict")
    notes = landing.land(file, lake, source=publisher)
    kept, rejected = (parquet.read_table(lake.path(key(file))) for key in (data_key, rejects_key))

    assert Path(lake.path(fetched.key)).read_bytes() == path.read_bytes()
    assert whole.num_rows == everything.rows_read == notes.rows_read == rows
    for name, values in published.items():
        expected, found = listed(values), listed(whole[name])
        assert summary(found) == summary(expected), name
        differing = [row for row, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1]]
        assert differing == [], name
    assert all(whole[name].null_count == rows for name in set(whole.column_names) - {*published, "file_month"})
    assert publisher != "official" or rows == published_rows().get(file, rows)
    assert everything.without_passengers_read == notes.rows_rejected == rejected.num_rows == zeros
    assert kept.num_rows == rows - zeros
    assert strict.rule_hits.get("lone_negative_amount", 0) == lone_negatives(published)
    assert not zeros or compute.min_max(rejected["passenger_count"]).as_py() == {"min": 0, "max": 0}


@pytest.mark.parametrize("service", sorted(catalog.services()))
def test_eras_of_the_catalogue_have_the_published_columns(service: str):
    facts = REAL_DATA / "facts" / "schema_eras.json"
    if not facts.exists():
        pytest.skip("facts/schema_eras.json is not there")
    eras = json.loads(facts.read_text())["eras"][service]

    for era in eras:
        known = catalog.service(service).era("official", Month.parse(era["from"]))
        published = [name for name, _type in era["columns"]]
        assert [ours(name) for name in known.columns] == [ours(name) for name in published], era["from"]


@pytest.mark.parametrize(
    ("name", "publisher", "rows"),
    [
        ("yellow_tripdata_2019-06.sample1000.csv", "csv_mirror", 1_000),
        ("yellow_tripdata_2025-02.sample5000.parquet", "official", 5_000),
    ],
)
def test_real_sample_of_another_service_and_era_is_read(name: str, publisher: str, rows: int):
    path = REAL_DATA / "misc" / name
    if not path.exists():
        pytest.skip(f"{name} is not there")

    with reading.read(path, TripFile.parse(name), source=publisher) as opened:
        assert sum(batch.num_rows for batch in opened.batches) == rows


@pytest.mark.parametrize(
    ("name", "word"),
    [
        (
            "yellow_tripdata_2021-01.excel-resaved.csv",
            r"column 'tpep_pickup_datetime': '1/1/2021 0:30' in row 1 does not fit .* expected at most 1 in 1,000",
        ),
        ("yellow_tripdata_2021-01.truncated.csv", r"row \d[\d,]*: Expected 18 columns, got 2: 1,2021-0"),
    ],
)
def test_file_that_was_broken_in_the_wild_is_refused(name: str, word: str):
    path = REAL_DATA / "misc" / name
    if not path.exists():
        pytest.skip(f"{name} is not there")

    with (
        pytest.raises(SchemaMismatch, match=word),
        reading.read(path, TripFile.parse(name), source="csv_mirror") as opened,
    ):
        list(opened.batches)
