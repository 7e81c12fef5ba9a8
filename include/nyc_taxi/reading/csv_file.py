"""csv_file: read CSV files of every era, plain or compressed by gzip, in bounded memory."""

from __future__ import annotations

import csv
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

import pyarrow as pa
from isal import igzip, igzip_lib
from pyarrow import compute
from pyarrow import csv as arrow_csv

from include.nyc_taxi import limits
from include.nyc_taxi.errors import DamagedFile, SchemaMismatch
from include.nyc_taxi.reading.casting import shown
from include.nyc_taxi.reading.plain import is_text
from include.nyc_taxi.reading.published import PublishedFile
from include.nyc_taxi.reading.schema import ARROW_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from include.nyc_taxi.catalog import Column, Era

# A row has about 90 bytes, so a block has about 20,000 rows; with fewer, calls into Arrow take longer than their work.
_BLOCK_BYTES = 1 << 21
_CONVERSION = "CSV conversion error"
_LONGER_THAN_BLOCKS = "straddles two block boundaries"
_COLUMN_NUMBER = re.compile(r"In CSV column #(\d+)")
_ROW_NUMBER = re.compile(r"Row #(\d+)")  # the header is number 1

# Some files write the id 1 as 1.0, so ids are parsed as floating point numbers. The cast to an integer then proves that
# nothing followed the point. The parser would take a date without a time for midnight, so times stay texts.
_CSV_TYPES = ARROW_TYPES | {"int16": pa.float64(), "int32": pa.float64(), "timestamp": pa.string()}


class _NotOfItsType(Exception):
    """The parser met a value that is not of its column's type."""


class CsvFile(PublishedFile):
    """A CSV file whose header has been read."""

    def __init__(self, path: Path, *, gzipped: bool) -> None:
        self.path = path
        self.name = path.name
        self.gzipped = gzipped
        with self._damage_reported(), self._stream() as stream:
            header, line_end, rows = stream.read(_BLOCK_BYTES).partition(b"\n")
            self.names = _fields(header.decode("utf-8-sig"))
            first_row = _fields(rows.lstrip(b"\r\n").partition(b"\n")[0].decode(errors="replace"))
        if not line_end:
            self.rows = 0  # the parser rejects a header without a line end
        limits.check_columns(self.names, self.name)
        self.fields_beyond = len(first_row) - len(self.names)

    def batches(self, columns: Mapping[str, Column], era: Era) -> Iterator[pa.RecordBatch]:
        """Read the rows in typed columns; from the first value that does not fit on, as the bytes of each value."""
        if self.rows == 0:
            return
        typed = {
            name: pa.string() if era.worded and column.codes else _CSV_TYPES[column.type]
            for name, column in columns.items()
        }
        done = 0
        try:
            for batch in self._parsed(typed, era):
                yield batch
                done += batch.num_rows
        except _NotOfItsType:
            for batch in self._parsed(dict.fromkeys(columns, pa.binary()), era):
                known = min(done, batch.num_rows)
                done -= known
                yield batch.slice(known)

    def _parsed(self, types: Mapping[str, pa.DataType], era: Era) -> Iterator[pa.RecordBatch]:
        with self._damage_reported(), self._stream() as stream:
            try:
                for batch in self._parser(stream, types, era):
                    self._refuse_swallowed_rows(batch)
                    yield batch
            except pa.ArrowInvalid as error:
                if _CONVERSION in str(error) and pa.binary() not in types.values():
                    raise _NotOfItsType from error
                raise SchemaMismatch(f"{self.name}: {self._located(era, error)}") from error

    def _refuse_swallowed_rows(self, batch: pa.RecordBatch) -> None:
        """Refuse a value with line ends and commas: an unclosed quote swallows the rows that follow."""
        for name, values in zip(batch.schema.names, batch.columns, strict=True):
            if not (is_text(values.type) and b"\n" in _bytes_of(values)):
                continue
            if (lines := compute.match_substring(values, "\n")).true_count:
                for text in values.filter(lines).to_pylist():
                    if ("," if isinstance(text, str) else b",") in text:
                        raise SchemaMismatch(
                            f"{self.name}: column {name!r}: a quote swallows whole rows: {shown(text)}"
                        )

    def _parser(self, stream: BinaryIO, types: Mapping[str, pa.DataType], era: Era) -> arrow_csv.CSVStreamingReader:
        padding = self._padding(era)
        # Padding is read as nulls, so that a value in it is an error: it would belong to an unknown column.
        types = {**types, **dict.fromkeys(padding, pa.null())}
        return arrow_csv.open_csv(
            stream,
            read_options=arrow_csv.ReadOptions(
                column_names=self.names + padding,
                skip_rows=1,
                block_size=_BLOCK_BYTES,
                # With threads it reads ahead by a block for each core, and counts no rows in its errors.
                use_threads=False,
                encoding=era.encoding,
            ),
            # Without it, a quoted line end is an error if it falls on the end of a block.
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )

    def _padding(self, era: Era) -> list[str]:
        return [f"padding {number}" for number in range(1, 1 + era.padding * (self.fields_beyond == era.padding))]

    def _located(self, era: Era, error: pa.ArrowInvalid) -> str:
        """Return the parser's message with the row and the column's name."""
        if _LONGER_THAN_BLOCKS in str(error):
            return f"a line or a quoted value is longer than {_BLOCK_BYTES:,} bytes"
        names = self.names + self._padding(era)
        text = _COLUMN_NUMBER.sub(lambda match: f"column {names[int(match[1])]!r}", str(error))
        return _ROW_NUMBER.sub(lambda match: f"row {int(match[1]) - 1:,}", text)

    def _stream(self) -> BinaryIO:
        """Open the file from its start."""
        return cast("BinaryIO", igzip.open(self.path, "rb")) if self.gzipped else self.path.open("rb")

    @contextmanager
    def _damage_reported(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, UnicodeDecodeError, csv.Error, igzip_lib.IsalError) as error:
            raise DamagedFile(f"{self.name}: cannot be read to its end: {error}") from error


def _bytes_of(texts: pa.Array) -> bytes:
    data = texts.buffers()[2]
    return b"" if data is None else data.to_pybytes()


def _fields(line: str) -> list[str]:
    return next(csv.reader([line.rstrip("\r")]), [])
