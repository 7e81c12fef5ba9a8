"""parquet_file: read the publisher's Parquet files in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa
from pyarrow import parquet

from include.nyc_taxi import limits
from include.nyc_taxi.errors import DamagedFile
from include.nyc_taxi.reading.casting import wrong_type
from include.nyc_taxi.reading.parquet_pages import Pages, pages
from include.nyc_taxi.reading.plain import LONGEST_TEXT
from include.nyc_taxi.reading.published import PublishedFile
from include.nyc_taxi.reading.schema import ARROW_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from include.nyc_taxi.catalog import Column, Era

_BUFFER_BYTES = 1 << 20
_BATCH_ROWS = 1 << 16
_BATCH_BYTES_A_COLUMN = 1 << 26
_BYTE_ARRAY = "BYTE_ARRAY"
# For new columns. The publisher's integers have always fitted into 32 bits.
_WORDS_OF_TYPES = (
    ("int32", pa.types.is_integer),
    ("float64", pa.types.is_floating),
    ("float64", pa.types.is_decimal),
    ("timestamp", pa.types.is_timestamp),
)


class ParquetFile(PublishedFile):
    """A Parquet file, open for reading."""

    def __init__(self, raw: BinaryIO, name: str) -> None:
        self.name = name
        try:
            metadata = parquet.read_metadata(raw)
            self.rows = metadata.num_rows
            limits.check(max(self.rows, _rows_of_groups(metadata)), limits.most_rows(), f"{name}: rows")
            limits.check_columns(metadata.schema.names, name)
            self._batch_rows = _batch_rows(_checked_pages(raw, metadata, name))
            raw.seek(0)
            # The publisher's files are one row group each: without a read buffer Arrow would hold whole columns.
            self.file = parquet.ParquetFile(
                raw,
                buffer_size=_BUFFER_BYTES,
                pre_buffer=False,
                read_dictionary=_texts(metadata),
                coerce_int96_timestamp_unit="us",
            )
            self.names = self.file.schema_arrow.names
        except MemoryError:  # an ArrowException too
            raise
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DamagedFile(f"{name}: is not a complete Parquet file: {error}") from error

    def type_of(self, name: str) -> str:
        """Return the type of a column in the catalogue's words."""
        type_ = self._types[name]
        return next((word for word, is_such in _WORDS_OF_TYPES if is_such(type_)), "text")

    def batches(self, columns: Mapping[str, Column], era: Era) -> Iterator[pa.RecordBatch]:  # noqa: ARG002 - all eras
        """Read the given columns in batches of at most 65,536 rows, of fewer if their values are long."""
        for name, column in columns.items():
            if _is_never_a_value(self._types[name]):
                raise wrong_type(f"{self.name}: column {name!r}", self._types[name], ARROW_TYPES[column.type])
        try:
            for batch in self.file.iter_batches(self._batch_rows, columns=list(columns), use_threads=False):
                batch.validate(full=True)  # Arrow does not check on its own that text is UTF-8
                yield batch
        except MemoryError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise DamagedFile(f"{self.name}: cannot be read to its end: {error}") from error

    @property
    def _types(self) -> dict[str, pa.DataType]:
        return dict(zip(self.names, self.file.schema_arrow.types, strict=True))


def _rows_of_groups(metadata: parquet.FileMetaData) -> int:
    return sum(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))


def _checked_pages(raw: BinaryIO, metadata: parquet.FileMetaData, name: str) -> Pages:
    """Refuse a file whose pages would fill the memory or the time of a worker.

    Raises:
        TooLarge: they would.
        DamagedFile: a page header cannot be read.
    """
    try:
        found = pages(raw, metadata)
    except ValueError as error:
        raise DamagedFile(f"{name}: cannot be read to its end: {error}") from error
    limits.check(found.inflated, limits.most_bytes(), f"{name}: inflated bytes")
    limits.check(found.at_once, limits.most_bytes_of_pages(), f"{name}: inflated bytes of the largest pages")
    return found


def _batch_rows(found: Pages) -> int:
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES_A_COLUMN // max(found.bytes_a_value, 1)))


def _texts(metadata: parquet.FileMetaData) -> list[str]:
    """Return the columns of texts with dictionaries: read as such, a long word that all rows repeat is there once."""
    with_dictionary: set[int] = set()
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        with_dictionary |= {index for index in range(group.num_columns) if group.column(index).has_dictionary_page}
    columns = [metadata.schema.column(index) for index in sorted(with_dictionary)]
    return [
        column.path for column in columns if column.physical_type == _BYTE_ARRAY and not column.max_repetition_level
    ]


def _is_never_a_value(type_: pa.DataType) -> bool:
    """Whether no value of the type is one of a trip: lists, structs, and fixed widths beyond any text's."""
    is_wide = pa.types.is_fixed_size_binary(type_) and type_.byte_width > LONGEST_TEXT
    return bool(pa.types.is_nested(type_) or is_wide)
