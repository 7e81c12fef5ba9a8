"""opening: tell the format of a file by its first bytes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from include.nyc_taxi.errors import DamagedFile
from include.nyc_taxi.reading.csv_file import CsvFile
from include.nyc_taxi.reading.parquet_file import ParquetFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from include.nyc_taxi.reading.published import PublishedFile

_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_MAGIC = b"PAR1"


@contextmanager
def opened(path: Path) -> Iterator[PublishedFile]:
    """Open a file of any format for the block.

    Raises:
        DamagedFile: the file is empty, or its name promises another format than its first bytes have.
    """
    with path.open("rb") as raw:
        start = raw.read(len(_PARQUET_MAGIC))
        raw.seek(0)
        suffix = _suffix(start)
        if not start:
            raise DamagedFile(f"{path.name}: the file is empty")
        if path.suffix in (".gz", ".parquet") and path.suffix != suffix:
            raise DamagedFile(f"{path.name}: begins with {start!r}, expected the first bytes of a {path.suffix} file")
        yield ParquetFile(raw, path.name) if suffix == ".parquet" else CsvFile(path, gzipped=suffix == ".gz")


def _suffix(start: bytes) -> str:
    if start == _PARQUET_MAGIC:
        return ".parquet"
    return ".gz" if start.startswith(_GZIP_MAGIC) else ".csv"
