"""reading: a published file of any format and era becomes a stream of record batches in its service's one schema.

Nothing is lost on the way: a column that the catalogue does not know and a row that has too few fields are errors that
name what was found and what was expected. A row with a value that its canonical type cannot hold is set aside with that
value's text; more than a few such rows are an error, as they speak of another layout.
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
from include.nyc_taxi.catalog.additions import rows_to_add
from include.nyc_taxi.errors import DamagedFile, SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from include.nyc_taxi.catalog import Column, Era, Service
    from include.nyc_taxi.trip_file import TripFile

log = logging.getLogger(__name__)

UnknownColumns = Literal["error", "drop"]

BATCH_ROWS = 1 << 16
_INTEGERS = ("int16", "int32")
_MISFITS_ONE_IN = 1_000
_FEWEST_MISFITS_TO_STOP_EARLY = 1_000
_BLOCK_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_MAGIC = b"PAR1"
_CONVERSION = "CSV conversion error"
_LONGER_THAN_BLOCKS = "straddles two block boundaries"
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
# For columns that are new. Integers of the publisher's have always fitted 32 bits.
_WORDS_OF_TYPES = (
    ("int32", pa.types.is_integer),
    ("float64", pa.types.is_floating),
    ("timestamp", pa.types.is_timestamp),
)


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

    `look_through` gives them as well, in some columns only and as often as one likes.

    `rows` is their number where the format says it up front (parquet), else None. `misfits` are, of those read so far,
    the rows that the batches leave out.
    """

    file: TripFile
    era: Era
    rows: int | None
    batches: Iterator[pa.RecordBatch]
    misfits: Misfits
    look_through: Callable[[Collection[str]], Iterator[pa.RecordBatch]]


class Misfits:
    """Rows with a value that its column cannot hold, as long as they are few: one in a thousand at most.

    `rows` has them in batches, null in place of those values, and beside each row what they were.
    """

    def __init__(self, file_name: str) -> None:
        self.rows: list[tuple[pa.RecordBatch, list[str]]] = []
        self.file_name = file_name
        self._first = ""
        self._count = 0

    def note(self, value: str, row: int, field: pa.Field) -> None:
        """Count a value that does not fit; past any doubt that the file is of another layout, stop."""
        self._first = self._first or (
            f"{self.file_name}: {value} in row {row:,} does not fit {field.name} {field.type}"
        )
        self._count += 1
        if self._count > max(_FEWEST_MISFITS_TO_STOP_EARLY, row // _MISFITS_ONE_IN):
            self.judge(row)

    def judge(self, rows: int) -> None:
        """Refuse a file, read to its end, that has too many."""
        if self._count * _MISFITS_ONE_IN > rows:
            raise SchemaMismatch(
                f"{self._first}; {self._count:,} such values in {rows:,} rows are too many to leave those rows out"
            )


@contextmanager
def read(
    path: Path, file: TripFile, *, source: str = "official", unknown_columns: UnknownColumns = "error"
) -> Iterator[Reading]:
    """Open a published file, parquet or CSV or gzip-compressed CSV, as record batches of the service's schema.

    Raises:
        SchemaMismatch: a column is unknown or missing, or too many values do not fit their columns.
        DamagedFile: the file is empty, cut, or not of a format we know.
    """
    service = catalog.service(file.service)
    era = service.era(source, file.month)
    with path.open("rb") as raw:
        published = _opened(raw, path)
        era = _era_by_columns(published.names, service, era, path.name)
        columns = _matched(published, service, era, file, unknown_columns)
        schema = arrow_schema(service.name)

        def look_through(names: Collection[str]) -> Iterator[pa.RecordBatch]:
            some = {name: column for name, column in columns.items() if column.name in names}
            fields = pa.schema([field for field in schema if field.name in names])
            return _canonical(published.batches(some, era), some, fields, Misfits(path.name))

        misfits = Misfits(path.name)
        batches = _canonical(published.batches(columns, era), columns, schema, misfits)
        yield Reading(file, era, published.rows, batches, misfits, look_through)


class _NotOfItsType(Exception):
    """The CSV parser met a value that is not of its column's type."""


class _Published(ABC):
    """A file as the publisher wrote it: its column names, and its rows in types near the publisher's."""

    name: str
    names: list[str]
    rows: int | None = None

    def type_of(self, name: str) -> str:  # noqa: ARG002 - a CSV file does not say it
        """The catalogue's word for the type of a column, as far as the format tells it."""
        return "text"

    @abstractmethod
    def batches(self, columns: Mapping[str, Column], era: Era) -> Iterator[pa.RecordBatch]:
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

    def type_of(self, name: str) -> str:
        """The catalogue's word for the type of a column."""
        type_ = dict(zip(self.names, self.file.schema_arrow.types, strict=True))[name]
        return next((word for word, is_such in _WORDS_OF_TYPES if is_such(type_)), "text")

    def batches(self, columns: Mapping[str, Column], era: Era) -> Iterator[pa.RecordBatch]:  # noqa: ARG002 - all eras
        try:
            for batch in self.file.iter_batches(BATCH_ROWS, columns=list(columns), use_threads=False):
                batch.validate(full=True)  # else bytes that are no text go on as text
                yield batch
        except (pa.ArrowException, OSError) as error:
            raise DamagedFile(f"{self.name}: cannot be read to its end: {error}") from error


class _Csv(_Published):
    def __init__(self, path: Path, *, gzipped: bool) -> None:
        self.path = path
        self.name = path.name
        self.gzipped = gzipped
        with self._damage_reported(), self._stream() as stream:
            header, line_end, rows = stream.read(_BLOCK_BYTES).partition(b"\n")
            self.names = _fields(header.decode("utf-8-sig"))
            first_row = _fields(rows.lstrip(b"\r\n").partition(b"\n")[0].decode(errors="replace"))
        if not line_end:
            self.rows = 0  # the parser takes a header without an end for an error
        self.fields_beyond = len(first_row) - len(self.names)

    def batches(self, columns: Mapping[str, Column], era: Era) -> Iterator[pa.RecordBatch]:
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
            # From the first value of another type on, every value comes as it stands, so that each can be judged.
            for batch in self._parsed(dict.fromkeys(columns, pa.binary()), era):
                known = min(done, batch.num_rows)
                done -= known
                yield batch.slice(known)

    def _parsed(self, types: Mapping[str, pa.DataType], era: Era) -> Iterator[pa.RecordBatch]:
        with self._damage_reported(), self._stream() as stream:
            try:
                for batch in self._opened(stream, types, era, use_threads=True):
                    self._refuse_swallowed_rows(batch)
                    yield batch
            except pa.ArrowInvalid as error:
                if _CONVERSION in str(error) and pa.binary() not in types.values():
                    raise _NotOfItsType from error
                raise SchemaMismatch(f"{self.name}: {self._with_row(types, era, error)}") from error

    def _refuse_swallowed_rows(self, batch: pa.RecordBatch) -> None:
        """A stray quote makes one value of all that stands up to the next, which a line end alone does not prove."""
        for name, values in zip(batch.schema.names, batch.columns, strict=True):
            if not (pa.types.is_string(values.type) or pa.types.is_binary(values.type)):
                continue
            if (lines := compute.match_substring(values, "\n")).true_count:
                for text in map(str, map(_text, values.filter(lines).to_pylist())):
                    if "," in text:
                        raise SchemaMismatch(
                            f"{self.name}: column {name!r}: a quote takes in whole rows: {text[:100]!r}"
                        )

    def _opened(
        self, stream: BinaryIO, types: Mapping[str, pa.DataType], era: Era, *, use_threads: bool
    ) -> arrow_csv.CSVStreamingReader:
        padding = self._padding(era)
        # Padding is read too, as nothing: a value in it would belong to a column that we do not know of.
        types = {**types, **dict.fromkeys(padding, pa.null())}
        return arrow_csv.open_csv(
            stream,
            read_options=arrow_csv.ReadOptions(
                column_names=self.names + padding,
                skip_rows=1,
                block_size=_BLOCK_BYTES,
                use_threads=use_threads,
                encoding=era.encoding,
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

    def _padding(self, era: Era) -> list[str]:
        return [f"padding {number}" for number in range(1, 1 + era.padding * (self.fields_beyond == era.padding))]

    def _with_row(self, types: Mapping[str, pa.DataType], era: Era, error: pa.ArrowInvalid) -> str:
        """The parser's words with the row, which it counts only when it works alone, and the column's name."""
        try:
            with self._stream() as stream:
                for _ in self._opened(stream, types, era, use_threads=False):
                    pass
        except pa.ArrowInvalid as numbered:
            error = numbered
        if _LONGER_THAN_BLOCKS in str(error):
            return f"a line, or what a quote takes in, is longer than {_BLOCK_BYTES:,} bytes"
        names = self.names + self._padding(era)
        text = _CSV_COLUMN.sub(lambda match: f"column {names[int(match[1])]!r}", str(error))
        return _CSV_ROW.sub(lambda match: f"row {int(match[1]) - 1:,}", text)

    def _stream(self) -> BinaryIO:
        """The file from its start, opened once more: a parser that failed may be reading ahead in another thread."""
        return cast("BinaryIO", igzip.open(self.path, "rb")) if self.gzipped else self.path.open("rb")

    @contextmanager
    def _damage_reported(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, UnicodeDecodeError, csv.Error, igzip_lib.IsalError) as error:
            raise DamagedFile(f"{self.name}: cannot be read to its end: {error}") from error


def _fields(line: str) -> list[str]:
    return next(csv.reader([line.rstrip("\r")]), [])


def _opened(raw: BinaryIO, path: Path) -> _Published:
    """Tell the format by the first bytes; a name that promises another format is an error."""
    start = raw.read(4)
    raw.seek(0)
    if not start:
        raise DamagedFile(f"{path.name}: the file is empty")
    suffix = ".parquet" if start == _PARQUET_MAGIC else ".gz" if start.startswith(_GZIP_MAGIC) else ".csv"
    if path.suffix in (".gz", ".parquet") and path.suffix != suffix:
        raise DamagedFile(f"{path.name}: begins with {start!r}, which no {path.suffix} file does")
    return _Parquet(raw, path.name) if suffix == ".parquet" else _Csv(path, gzipped=suffix == ".gz")


def _era_by_columns(names: list[str], service: Service, era: Era, file_name: str) -> Era:
    """The era of the file's month, if the file has its columns, else the nearest one whose columns these are."""
    others = [other for eras in service.eras.values() for other in eras]
    others.sort(key=lambda other: (other.source != era.source, abs(other.since.first_day - era.since.first_day)))
    fitting = next((other for other in (era, *others) if not any(_difference(names, service, other))), era)
    if fitting is not era:
        log.warning(
            "%s: its columns are those of era %s, not of %s: read by the former", file_name, fitting.name, era.name
        )
    return fitting


def _difference(names: list[str], service: Service, era: Era) -> tuple[list[str], list[str]]:
    """The names that the era does not have, and those of the era that are missing."""
    expected = {service.column_published_as(name, era): name for name in era.columns}
    found = {service.column_published_as(name, era) for name in names}
    extra = [
        name for name in names if service.column_published_as(name, era) not in expected and name not in era.ignored
    ]
    return extra, [name for column, name in expected.items() if column not in found]


def _matched(
    published: _Published, service: Service, era: Era, file: TripFile, unknown_columns: UnknownColumns
) -> dict[str, Column]:
    """The canonical column of every published one, or an error that lists what is extra and what is missing."""
    names, file_name = published.names, published.name
    known = {name: column for name in names if (column := service.column_published_as(name, era)) is not None}
    extra, missing = _difference(names, service, era)
    if missing or (extra and unknown_columns == "error"):
        raise SchemaMismatch(
            f"{file_name}: its columns are not those of era {era.name}: extra {extra}, missing {missing}. "
            "unknown_columns=drop leaves extra columns out."
            + (_additions(published, service, era, file, extra) if known else "")
        )
    if len(set(known.values())) < len(known) or len(set(names)) < len(names):
        raise SchemaMismatch(f"{file_name}: two of its columns have the same meaning: {names}")
    if unknown := [name for name in extra if name not in known]:
        log.warning("%s: dropped unknown columns %s", file_name, unknown)
    return known


def _additions(published: _Published, service: Service, era: Era, file: TripFile, extra: list[str]) -> str:
    unknown = {name: published.type_of(name) for name in extra if service.column_published_as(name) is None}
    rows = rows_to_add(service, era, file.month, published.names, unknown)
    return (
        " If the publisher means it so, add these rows in include/nyc_taxi/catalog; "
        f"a column that has only another name gets that in its published_as instead.\n{rows}"
    )


def _canonical(
    published: Iterator[pa.RecordBatch], columns: Mapping[str, Column], schema: pa.Schema, misfits: Misfits
) -> Iterator[pa.RecordBatch]:
    """The rows in the schema: columns in its order, in its types, null where the file has none."""
    published_name = {column.name: name for name, column in columns.items()}
    rows_before = 0
    for batch in published:
        arrays = []
        told: dict[int, list[str]] = {}
        for field in schema:
            name = published_name.get(field.name)
            if name is None:
                arrays.append(pa.nulls(batch.num_rows, field.type))
                continue
            array, wrong = _cast(batch.column(name), columns[name], field, f"{misfits.file_name}: column {name!r}")
            arrays.append(array)
            for index in wrong:
                value = f"column {name!r}: {_text(batch.column(name)[index].as_py())!r}"
                misfits.note(value, rows_before + index + 1, field)
                told.setdefault(index, []).append(value)
        rows_before += batch.num_rows
        trips = pa.RecordBatch.from_arrays(arrays, schema=schema)
        yield _without(trips, told, misfits) if told else trips
    misfits.judge(rows_before)


def _without(trips: pa.RecordBatch, told: Mapping[int, list[str]], misfits: Misfits) -> pa.RecordBatch:
    """The rows but for the misfits among them, which are set aside."""
    wrong = sorted(told)
    misfits.rows.append((trips.take(pa.array(wrong)), ["; ".join(told[index]) for index in wrong]))
    return trips.filter(pa.array([index not in told for index in range(trips.num_rows)]))


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
    # As in CSV files, 1.0 is an id.
    return decoded.cast(pa.float64()) if column.type in _INTEGERS else decoded


def _meaning(word: str, column: Column) -> str | None:
    stripped = word.strip()
    return column.codes.get(stripped.lower(), stripped if stripped and column.type in _INTEGERS else word) or None


def _cast(array: pa.Array, column: Column, field: pa.Field, where: str) -> tuple[pa.Array, list[int]]:
    """The same values in the canonical type; null for those that do not fit it, whose indices come beside."""
    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        raise SchemaMismatch(f"{where}: {array.type} has a zone, where New York wall time without one was expected")
    if pa.types.is_timestamp(field.type) and (pa.types.is_integer(array.type) or pa.types.is_date(array.type)):
        # Arrow would count microseconds since 1970, or take midnight; what the publisher meant nobody said.
        raise SchemaMismatch(f"{where}: {array.type} was found where {field.type} was expected")

    def cast(values: pa.Array) -> pa.Array:
        if pa.types.is_binary(values.type):
            values = values.cast(pa.string())
        if pa.types.is_string(values.type) and pa.types.is_floating(field.type):
            values = compute.ascii_trim_whitespace(values)  # as the CSV parser does
        return _decoded(values, column).cast(field.type)

    try:
        return cast(array), []
    except pa.ArrowNotImplementedError as error:
        raise SchemaMismatch(f"{where}: {array.type} was found where {field.type} was expected") from error
    except pa.ArrowInvalid:
        return _salvaged(array, cast, field.type)


def _salvaged(array: pa.Array, cast: Callable[[pa.Array], pa.Array], type_: pa.DataType) -> tuple[pa.Array, list[int]]:
    """What can be cast, by halves and halves of halves; null for what cannot, and where that is."""
    whole: list[pa.Array] = []
    wrong: list[int] = []
    spans = [(0, len(array))]
    while spans:
        start, end = spans.pop()
        try:
            whole.append(cast(array.slice(start, end - start)))
        except pa.ArrowInvalid:
            if end - start == 1:
                whole.append(pa.nulls(1, type_))
                wrong.append(start)
            else:
                middle = (start + end) // 2
                spans += [(middle, end), (start, middle)]
    return pa.concat_arrays(whole), wrong


def _text(value: object) -> object:
    """Bytes as the text that they are, where they are any."""
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return value
