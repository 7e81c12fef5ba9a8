"""reading: read a published file of any format and era as record batches in the one schema of its service.

Nothing is lost. An unknown column and a row with too few fields are errors that name what was found and what was
expected. A row with a value that its canonical type cannot hold is set aside with the text of that value. More than one
such row in a thousand is an error, because the file then has another layout.

    opening        tells the format by the first bytes
    csv_file       CSV, plain or compressed by gzip
    parquet_file   Parquet
    eras           finds the era whose columns the file has
    casting        casts values to the canonical types
    misfits        sets aside the rows that do not fit
    schema         the canonical types
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from include.nyc_taxi import catalog
from include.nyc_taxi.reading.eras import UnknownColumns, columns_of, era_of
from include.nyc_taxi.reading.misfits import Misfits, canonical
from include.nyc_taxi.reading.opening import opened
from include.nyc_taxi.reading.schema import arrow_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from include.nyc_taxi.catalog import Era
    from include.nyc_taxi.trip_file import TripFile

__all__ = ["Misfits", "Reading", "UnknownColumns", "arrow_schema", "read"]


@dataclass(frozen=True)
class Reading:
    """An opened trip file and its rows.

    Attributes:
        file: the trip file.
        era: the era that it is read as.
        names: the columns that the publisher gave it.
        rows: the number of its rows if the format states it (Parquet), else None.
        batches: the rows that fit, once, in the service's schema.
        misfits: the rows that `batches` has left out so far.
        look_through: reads the named columns of all rows that fit, as often as it is called.
    """

    file: TripFile
    era: Era
    names: Sequence[str]
    rows: int | None
    batches: Iterator[pa.RecordBatch]
    misfits: Misfits
    look_through: Callable[[Collection[str]], Iterator[pa.RecordBatch]]


@contextmanager
def read(
    path: Path, file: TripFile, *, source: str = "official", unknown_columns: UnknownColumns = "error"
) -> Iterator[Reading]:
    """Open a published file, Parquet or CSV or CSV compressed by gzip, as record batches of the service's schema.

    Args:
        path: the local file; a suffix .gz or .parquet must be true.
        file: the service and month of the file.
        source: the source that published it.
        unknown_columns: whether a column that the catalogue does not know is an error or is dropped.

    Raises:
        SchemaMismatch: a column is unknown or missing, or too many values do not fit their columns.
        DamagedFile: the file is empty, cut, or not of a known format.
    """
    service = catalog.service(file.service)
    expected_era = service.era(source, file.month)
    with opened(path) as published:
        era = era_of(published, service, expected_era)
        columns = columns_of(published, service, era, file.month, unknown_columns)
        schema = arrow_schema(service.name)

        def look_through(names: Collection[str]) -> Iterator[pa.RecordBatch]:
            some = {name: column for name, column in columns.items() if column.name in names}
            fields = pa.schema([field for field in schema if field.name in names])
            return canonical(published.batches(some, era), some, fields, Misfits(path.name))

        misfits = Misfits(path.name)
        batches = canonical(published.batches(columns, era), columns, schema, misfits)
        yield Reading(file, era, published.names, published.rows, batches, misfits, look_through)
