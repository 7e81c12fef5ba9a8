"""reading: a published file of any format and era becomes a stream of record batches in its service's one schema.

Nothing is lost on the way: a value that its canonical type cannot hold, a column that the catalogue does not know and a
row that has too few fields are errors that name what was found and what was expected.
"""

from __future__ import annotations

import csv
import logging
import re
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

import pyarrow as pa
from isal import igzip, igzip_lib
from pyarrow import compute, parquet
from pyarrow import csv as arrow_csv

from include.nyc_taxi import catalog
from include.nyc_taxi.errors import DamagedFile, SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from include.nyc_taxi.catalog import Column, Era, Service
    from include.nyc_taxi.files import TripFile

log = logging.getLogger(__name__)

UnknownColumns = Literal["error", "drop"]

BATCH_ROWS = 1 << 16
_INTEGERS = ("int16", "int32")
_BLOCK_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_MAGIC = b"PAR1"
_CSV_COLUMN = re.compile(r"In CSV column #(\d+)")
_CSV_ROW = re.compile(r"Row #(\d+)")  # the header is number 1

_ARROW_TYPES = {
    "int16": pa.int16(),
    "int32": pa.int32(),
    "float64": pa.float64(),
    "timestamp": pa.timestamp("us"),
    "text": pa.string(),
}
# Ids are parsed as numbers with a point, because some editions write 1.0 for 1; the cast to an integer then proves that
# nothing was behind the point.
_CSV_TYPES = _ARROW_TYPES | {"int16": pa.float64(), "int32": pa.float64()}


def arrow_schema(service: str) -> pa.Schema:
    """The one schema of a service's rows, in the lake and on the way into every warehouse."""
    columns = catalog.service(service).columns
    return pa.schema(
        [
            pa.field(column.name, _ARROW_TYPES[column.type], metadata={"description": column.description})
            for column in columns
        ]
    )


@dataclass(frozen=True)
class Reading:
    """An opened trip file: what it was taken for, and its rows.

    `rows` is their number where the format says it up front (parquet), else None.
    """

    file: TripFile
    era: Era
    rows: int | None
    batches: Iterator[pa.RecordBatch]


@contextmanager
def read(
    path: Path, file: TripFile, *, source: str = "official", unknown_columns: UnknownColumns = "error"
) -> Iterator[Reading]:
    """Open a published file, parquet or CSV or gzip-compressed CSV, as record batches of the service's schema.

    Raises:
        SchemaMismatch: a column is unknown or missing, or a value does not fit its column.
        DamagedFile: the file is empty, cut, or not of a format we know.
    """
    service = catalog.service(file.service)
    era = service.era(source, file.month)
    with path.open("rb") as raw:
        published = _opened(raw, path, era)
        columns = _matched(published.names, service, era, path.name, unknown_columns)
        yield Reading(file, era, published.rows, _canonical(published, columns, service, path.name))


class _Published(ABC):
    """A file as the publisher wrote it: its column names, and its rows in types near the publisher's."""

    names: list[str]
    rows: int | None = None

    @abstractmethod
    def batches(self, columns: Mapping[str, Column]) -> Iterator[pa.RecordBatch]:
        """The rows, with the given columns under their published names, perhaps with others."""


class _Parquet(_Published):
    def __init__(self, raw: BinaryIO, name: str) -> None:
        self.name = name
        try:
            # The publisher's files are one row group each: without a read buffer whole columns would be held at once.
            self.file = parquet.ParquetFile(raw, buffer_size=_BLOCK_BYTES, pre_buffer=False)
            self.names = self.file.schema_arrow.names
            self.rows = self.file.metadata.num_rows
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DamagedFile(f"{name}: is no whole parquet file: {error}") from error

    def batches(self, columns: Mapping[str, Column]) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self.file.iter_batches(BATCH_ROWS, columns=list(columns), use_threads=False):
                batch.validate(full=True)  # else bytes that are no text go on as text
                yield batch
        except (pa.ArrowException, OSError) as error:
            raise DamagedFile(f"{self.name}: cannot be read to its end: {error}") from error


class _Csv(_Published):
    def __init__(self, raw: BinaryIO, name: str, era: Era, *, gzipped: bool) -> None:
        self.raw = raw
        self.name = name
        self.era = era
        self.gzipped = gzipped
        with self._damage_reported():
            header, line_end, rows = self._stream().read(_BLOCK_BYTES).partition(b"\n")
            self.names = _fields(header.decode("utf-8-sig"))
            first_row = _fields(rows.lstrip(b"\r\n").partition(b"\n")[0].decode(errors="replace"))
        if not line_end:
            self.rows = 0  # the parser takes a header without an end for an error
        beyond = len(first_row) - len(self.names)
        self.padding = [f"padding {number}" for number in range(1, 1 + (beyond if beyond == era.padding else 0))]

    def batches(self, columns: Mapping[str, Column]) -> Iterator[pa.RecordBatch]:
        if self.rows == 0:
            return
        with self._damage_reported():
            try:
                for batch in self._parsed(columns, use_threads=True):
                    self._refuse_swallowed_rows(batch)
                    yield batch
            except pa.ArrowInvalid as error:
                raise SchemaMismatch(f"{self.name}: {self._with_row(columns, error)}") from error

    def _refuse_swallowed_rows(self, batch: pa.RecordBatch) -> None:
        """A stray quote makes one value of all that stands up to the next, which a line end alone does not prove."""
        for name, values in zip(batch.schema.names, batch.columns, strict=True):
            if pa.types.is_string(values.type) and (lines := compute.match_substring(values, "\n")).true_count:
                for text in values.filter(lines).to_pylist():
                    if "," in text:
                        raise SchemaMismatch(
                            f"{self.name}: column {name!r}: a quote takes in whole rows: {text[:100]!r}"
                        )

    def _parsed(self, columns: Mapping[str, Column], *, use_threads: bool) -> arrow_csv.CSVStreamingReader:
        types = {name: self._type(column) for name, column in columns.items()}
        # Padding is read too, as nothing: a value in it would belong to a column that we do not know of.
        types |= dict.fromkeys(self.padding, pa.null())
        return arrow_csv.open_csv(
            self._stream(),
            read_options=arrow_csv.ReadOptions(
                column_names=self.names + self.padding, skip_rows=1, block_size=_BLOCK_BYTES, use_threads=use_threads
            ),
            # Else a quoted line end is an error wherever it falls on the end of a block.
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                null_values=[""],
                strings_can_be_null=True,
                timestamp_parsers=[arrow_csv.ISO8601],
            ),
        )

    def _type(self, column: Column) -> pa.DataType:
        return pa.string() if self.era.worded and column.codes else _CSV_TYPES[column.type]

    def _with_row(self, columns: Mapping[str, Column], error: pa.ArrowInvalid) -> str:
        """The parser's words with the row, which it counts only when it works alone, and the column's name."""
        try:
            for _ in self._parsed(columns, use_threads=False):
                pass
        except pa.ArrowInvalid as numbered:
            error = numbered
        text = _CSV_COLUMN.sub(lambda match: f"column {(self.names + self.padding)[int(match[1])]!r}", str(error))
        return _CSV_ROW.sub(lambda match: f"row {int(match[1]) - 1:,}", text)

    def _stream(self) -> BinaryIO:
        self.raw.seek(0)
        return cast("BinaryIO", igzip.open(self.raw, "rb")) if self.gzipped else self.raw

    @contextmanager
    def _damage_reported(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, UnicodeDecodeError, csv.Error, igzip_lib.IsalError) as error:
            raise DamagedFile(f"{self.name}: cannot be read to its end: {error}") from error


def _fields(line: str) -> list[str]:
    return next(csv.reader([line.rstrip("\r")]), [])


def _opened(raw: BinaryIO, path: Path, era: Era) -> _Published:
    """Tell the format by the first bytes; a name that promises another format is an error."""
    start = raw.read(4)
    raw.seek(0)
    if not start:
        raise DamagedFile(f"{path.name}: the file is empty")
    suffix = ".parquet" if start == _PARQUET_MAGIC else ".gz" if start.startswith(_GZIP_MAGIC) else ".csv"
    if path.suffix in (".gz", ".parquet") and path.suffix != suffix:
        raise DamagedFile(f"{path.name}: begins with {start!r}, which no {path.suffix} file does")
    return _Parquet(raw, path.name) if suffix == ".parquet" else _Csv(raw, path.name, era, gzipped=suffix == ".gz")


def _matched(
    names: list[str], service: Service, era: Era, file_name: str, unknown_columns: UnknownColumns
) -> dict[str, Column]:
    """The canonical column of every published one, or an error that lists what is extra and what is missing."""
    known = {name: column for name in names if (column := service.column_published_as(name, era)) is not None}
    found = set(known.values())
    extra = [name for name in names if name not in known and name not in era.ignored]
    missing = [name for name in era.columns if service.column_published_as(name, era) not in found]
    if missing or (extra and unknown_columns == "error"):
        raise SchemaMismatch(
            f"{file_name}: its columns are not those of era {era.name}: extra {extra}, missing {missing}. "
            "A new column needs a row in include/nyc_taxi/catalog/columns.toml and an era in services.toml; "
            "unknown_columns=drop leaves extra columns out."
        )
    if len(found) < len(known) or len(set(names)) < len(names):
        raise SchemaMismatch(f"{file_name}: two of its columns have the same meaning: {names}")
    if extra:
        log.warning("%s: dropped unknown columns %s", file_name, extra)
    return known


def _canonical(
    published: _Published, columns: Mapping[str, Column], service: Service, file_name: str
) -> Iterator[pa.RecordBatch]:
    """The rows in the service's schema: columns in its order, in its types, null where the file has none."""
    schema = arrow_schema(service.name)
    published_name = {column.name: name for name, column in columns.items()}
    rows_before = 0
    for batch in published.batches(columns):
        arrays = []
        for field in schema:
            name = published_name.get(field.name)
            if name is None:
                arrays.append(pa.nulls(batch.num_rows, field.type))
            else:
                where = f"{file_name}: column {name!r}"
                arrays.append(_cast(_decoded(batch.column(name), columns[name]), field, where, rows_before))
        rows_before += batch.num_rows
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _decoded(array: pa.Array, column: Column) -> pa.Array:
    """Words in place of codes become what they stand for; of numbers in words, the blanks around them go."""
    if pa.types.is_floating(array.type) and column.type == "text":
        array = array.cast(pa.string())  # the flags 0 and 1 of the official files of 2009 are numbers; 1.0 becomes "1"
    is_text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
    if not is_text or not (column.codes or column.type in _INTEGERS):
        return array
    words = array.dictionary_encode()
    meanings = [None if word is None else _meaning(word, column) for word in words.dictionary.to_pylist()]
    builder = pa.lib.StringBuilder()
    builder.append_values(meanings)
    decoded = builder.finish().take(words.indices)
    if column.type not in _INTEGERS:
        return decoded
    try:
        return decoded.cast(pa.float64())  # as in CSV files, 1.0 is an id
    except pa.ArrowInvalid:
        return decoded


def _meaning(word: str, column: Column) -> str | None:
    stripped = word.strip()
    return column.codes.get(stripped.lower(), stripped if column.type in _INTEGERS else word) or None


def _cast(array: pa.Array, field: pa.Field, where: str, rows_before: int) -> pa.Array:
    """The same values in the canonical type, or an error that names the first value which does not fit."""
    if array.type == field.type:
        return array
    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        raise SchemaMismatch(f"{where}: {array.type} has a zone, where New York wall time without one was expected")
    if pa.types.is_timestamp(field.type) and pa.types.is_integer(array.type):
        # Arrow would count microseconds since 1970; what the publisher counted nobody said.
        raise SchemaMismatch(f"{where}: {array.type} was found where {field.type} was expected")
    try:
        return array.cast(field.type)
    except pa.ArrowNotImplementedError as error:
        raise SchemaMismatch(f"{where}: {array.type} was found where {field.type} was expected") from error
    except pa.ArrowInvalid as error:
        index = _first_misfit(array, field.type)
        raise SchemaMismatch(
            f"{where}: {array[index].as_py()!r} in row {rows_before + index + 1:,} "
            f"does not fit {field.name} {field.type}"
        ) from error


def _first_misfit(array: pa.Array, type_: pa.DataType) -> int:
    """The index of the first value that cannot be cast, where there is one."""
    low, high = 0, len(array)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            array.slice(low, middle - low).cast(type_)
        except pa.ArrowInvalid:
            high = middle
        else:
            low = middle
    return low
