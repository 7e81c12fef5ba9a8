"""opening: tell the format of a file by its first bytes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from include.nyc_taxi import formats
from include.nyc_taxi.errors import DamagedFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from include.nyc_taxi.reading.published import PublishedFile

_SUFFIXES = (formats.GZIP, formats.PARQUET)


@contextmanager
def opened(path: Path) -> Iterator[PublishedFile]:
    """Open a file of any format for the block.

    Raises:
        DamagedFile: the file is empty, or its name promises another format than its first bytes have.
    """
    with path.open("rb") as raw:
        start = raw.read(formats.FIRST_BYTES)
        raw.seek(0)
        suffix = formats.format_of(start)
        if not start:
            raise DamagedFile(f"{path.name}: the file is empty")
        promised = path.suffix if path.suffix in _SUFFIXES else suffix
        words = formats.impostor(start, promised)
        if words or promised != suffix:
            raise DamagedFile(f"{path.name}: is {words or formats.kind(start)}, expected a {promised} file")
        if suffix == formats.ZIP:
            raise DamagedFile(f"{path.name}: is a zip archive, expected Parquet, CSV or CSV compressed by gzip")
        if suffix == formats.PARQUET:
            from include.nyc_taxi.reading.parquet_file import ParquetFile

            yield ParquetFile(raw, path.name)
        else:
            from include.nyc_taxi.reading.csv_file import CsvFile

            yield CsvFile(path, gzipped=suffix == formats.GZIP)
