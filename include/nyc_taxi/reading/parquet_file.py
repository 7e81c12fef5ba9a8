"""parquet_file: read the publisher's Parquet files in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa
from pyarrow import parquet

from include.nyc_taxi.errors import DamagedFile
from include.nyc_taxi.reading.published import BLOCK_BYTES, PublishedFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from include.nyc_taxi.catalog import Column, Era

_BATCH_ROWS = 1 << 16
# For new columns. The publisher's integers have always fitted into 32 bits.
_WORDS_OF_TYPES = (
    ("int32", pa.types.is_integer),
    ("float64", pa.types.is_floating),
    ("timestamp", pa.types.is_timestamp),
)


class ParquetFile(PublishedFile):
    """A Parquet file, open for reading."""

    def __init__(self, raw: BinaryIO, name: str) -> None:
        self.name = name
        try:
            # The publisher's files are one row group each: without a read buffer Arrow would hold whole columns.
            self.file = parquet.ParquetFile(raw, buffer_size=BLOCK_BYTES, pre_buffer=False)
            self.names = self.file.schema_arrow.names
            self.rows = self.file.metadata.num_rows
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DamagedFile(f"{name}: is not a complete Parquet file: {error}") from error

    def type_of(self, name: str) -> str:
        """Return the type of a column in the catalogue's words."""
        type_ = dict(zip(self.names, self.file.schema_arrow.types, strict=True))[name]
        return next((word for word, is_such in _WORDS_OF_TYPES if is_such(type_)), "text")

    def batches(self, columns: Mapping[str, Column], era: Era) -> Iterator[pa.RecordBatch]:  # noqa: ARG002 - all eras
        """Read the given columns in batches of 65,536 rows."""
        try:
            for batch in self.file.iter_batches(_BATCH_ROWS, columns=list(columns), use_threads=False):
                batch.validate(full=True)  # Arrow does not check on its own that text is UTF-8
                yield batch
        except (pa.ArrowException, OSError) as error:
            raise DamagedFile(f"{self.name}: cannot be read to its end: {error}") from error
