"""generator: generate trip files in the publisher's shapes and with the publisher's dirt.

No row is copied from a published file. The same call always writes the same bytes. The source decides the format
alone, so the files of a month from two sources hold the same trips.

    services    a row per service with what is special about its files
    spellings   how the publisher wrote its files in each year
    trips       what all trips have in common; taxis and cars add the rest
    writing     Parquet and CSV
    zone_files  an edition of the taxi zones, for tests
    city        another one, for the demo's map
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from devtools.generator import spellings
from devtools.generator.cars import HiredTrips
from devtools.generator.services import KNOWN_NULL_BLOCK, KNOWN_ROWS, KNOWN_WITHOUT_PASSENGERS, habits
from devtools.generator.taxis import MeteredTrips
from devtools.generator.writing import record_batch, write_csv, write_parquet
from include.nyc_taxi import Month, catalog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from include.nyc_taxi import TripFile

_CHUNK_ROWS = 1 << 17
_ZSTD = Month(2023, 2)  # the publisher changed from gzip to zstd


@dataclass(frozen=True)
class Generated:
    """Counts the rows that a correct reading of a generated file finds.

    Of `rows`, `without_passengers` have a passenger_count of 0 and `null_block` have no record of a meter.
    """

    rows: int
    without_passengers: int
    null_block: int


def write_month(file: TripFile, path: Path, *, source: str = "official", rows: int | None = None) -> Generated:
    """Write the file as the source would publish it, and return its counts.

    Args:
        file: the service and month.
        path: the file to write.
        source: the source of the catalogue.
        rows: the number of rows; None is the published number if it is known here, else a fixed number per service.

    Raises:
        ValueError: `rows` is less than 1.
        PermanentError: the source does not publish the month.
    """
    rows = usual_rows(file, source) if rows is None else rows
    if rows < 1:
        raise ValueError(f"{file}: cannot have {rows} rows, expected at least 1")
    promised = _promised(file, source, rows)
    schema = spellings.schema_of(file, source)
    batches = _batches(file, source, promised, schema)
    published_as = catalog.source(source).path
    if published_as.endswith(".parquet"):
        write_parquet(batches, schema, path, "gzip" if file.month < _ZSTD else "zstd")
    else:
        era = catalog.service(file.service).era(source, file.month)
        dialect = spellings.dialect(file, source)
        write_csv(batches, schema, path, dialect, era.padding, gzipped=published_as.endswith(".gz"))
    return promised


def _promised(file: TripFile, source: str, rows: int) -> Generated:
    if not catalog.service(file.service).has_meter:
        return Generated(rows, 0, 0)
    in_block = rows if file.month >= spellings.NULL_BLOCK[source] else 0
    return Generated(
        rows,
        without_passengers=round(rows * KNOWN_WITHOUT_PASSENGERS / KNOWN_ROWS),
        null_block=round(in_block * KNOWN_NULL_BLOCK / KNOWN_ROWS),
    )


def usual_rows(file: TripFile, source: str) -> int:
    """Return how many rows `write_month` writes unless it is told: the published number of a few known files."""
    row = habits(file.service)
    return row.rows.get((str(file.month), source), row.usual_rows)


def _batches(file: TripFile, source: str, promised: Generated, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Give all rows: first those in order of time, then the null block."""
    metered = promised.rows - promised.null_block
    kind = MeteredTrips if catalog.service(file.service).has_meter else HiredTrips
    for first in range(0, metered, _CHUNK_ROWS):
        count = min(_CHUNK_ROWS, metered - first)
        before, after = (promised.without_passengers * row // metered for row in (first, first + count))
        trips = kind(file, first, count, metered, "metered")
        trips.make_dirty(nobody=after - before)
        trips.age()
        if spellings.has_words_for_codes(schema):
            trips.spell(spellings.latest(spellings.SPELLED, file.month))
        yield record_batch(trips, schema)
    for first in range(0, promised.null_block, _CHUNK_ROWS):
        count = min(_CHUNK_ROWS, promised.null_block - first)
        block = MeteredTrips(file, first, count, promised.null_block, "null block")
        block.forget_the_meter(source)
        yield record_batch(block, schema)
