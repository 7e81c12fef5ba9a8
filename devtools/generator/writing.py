"""writing: write trips as the publisher's Parquet and CSV files."""

from __future__ import annotations

import gzip
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
import pyarrow as pa
from pyarrow import compute, parquet
from pyarrow import csv as arrow_csv

from devtools.generator.taxis import PLACES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from devtools.generator.services import Dialect
    from devtools.generator.trips import Trips, Values

_ROW_GROUP_ROWS = 6_000_000
_GZIP_PARQUET_LEVEL = 1
_GZIP_CSV_LEVEL = 4


def record_batch(trips: Trips, schema: pa.Schema) -> pa.RecordBatch:
    """Return the trips in a file's schema; columns that the trips do not have are null."""
    return pa.RecordBatch.from_arrays([_array(trips, field) for field in schema], schema=schema)


def _array(trips: Trips, field: pa.Field) -> pa.Array:
    name = field.metadata[b"canonical"].decode()
    values = trips.columns.get(name)
    if values is None or pa.types.is_null(field.type):
        return pa.nulls(trips.count, field.type)
    if name in trips.words:
        return _words(trips.words[name], values).cast(field.type)
    type_ = field.type
    if pa.types.is_string(type_):
        type_ = pa.timestamp("s") if name.endswith("_datetime") else pa.int64()
    if pa.types.is_timestamp(type_):
        values = values * (1_000_000 if type_.unit == "us" else 1)
    return _numbers(values, type_).cast(field.type)


def _numbers(values: Values, type_: pa.DataType) -> pa.Array:
    # pa.array imports pandas where it is installed, which costs a second of CPU.
    dtype = f"{'f' if pa.types.is_floating(type_) else 'i'}{type_.bit_width // 8}"
    there = None
    if isinstance(values, np.ma.MaskedArray):
        there = pa.py_buffer(np.packbits(~np.ma.getmaskarray(values), bitorder="little"))
        values = values.filled(0)
    return pa.Array.from_buffers(type_, len(values), [there, pa.py_buffer(np.ascontiguousarray(values, dtype))])


def _words(words: tuple[str, ...], values: Values) -> pa.Array:
    """Return the words of the numbers; the empty word is null."""
    ends = np.cumsum([0, *map(len, words)], dtype=np.int32)
    text = pa.Array.from_buffers(
        pa.string(), len(words), [None, pa.py_buffer(ends), pa.py_buffer("".join(words).encode())]
    )
    if "" in words:
        values = np.ma.masked_where(np.isin(values, [number for number, word in enumerate(words) if not word]), values)
    return text.take(_numbers(values, pa.int32()))


def write_parquet(batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path, compression: str) -> None:
    """Write a Parquet file of one row group, as the publisher does, or of several to bound the memory."""
    schema = pa.schema([field.remove_metadata() for field in schema])
    level = _GZIP_PARQUET_LEVEL if compression == "gzip" else None
    with parquet.ParquetWriter(path, schema, compression=compression, compression_level=level) as writer:
        waiting: list[pa.RecordBatch] = []
        for batch in batches:
            waiting.append(batch)
            if sum(some.num_rows for some in waiting) >= _ROW_GROUP_ROWS:
                _write_row_group(writer, waiting, schema)
                waiting = []
        if waiting:
            _write_row_group(writer, waiting, schema)


def _write_row_group(writer: parquet.ParquetWriter, batches: list[pa.RecordBatch], schema: pa.Schema) -> None:
    table = pa.Table.from_batches([pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in batches])
    writer.write_table(table, row_group_size=table.num_rows)


def write_csv(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    path: Path,
    dialect: Dialect,
    padding: int,
    *,
    gzipped: bool,
) -> None:
    """Write a CSV file in a dialect, with some empty fields after those of the header."""
    options = arrow_csv.WriteOptions(
        include_header=False, quoting_style="all_valid" if dialect.quoted else "none", eol="\r\n"
    )
    with ExitStack() as stack:
        file: BinaryIO = stack.enter_context(path.open("wb"))
        if gzipped:
            file = cast("BinaryIO", stack.enter_context(gzip.GzipFile("", "wb", _GZIP_CSV_LEVEL, file, mtime=0)))
        file.write(_header(schema.names, dialect))
        for batch in batches:
            arrow_csv.write_csv(_as_text(batch, dialect, padding), file, options)


def _header(names: list[str], dialect: Dialect) -> bytes:
    quote = '"' if dialect.quoted else ""
    published = [f"{quote}{name.replace(*dialect.renamed)}{quote}" for name in names]
    end = "\n\r\n" if dialect.blank_line else "\r\n"
    return (dialect.between_names.join(published) + dialect.after_names + end).encode()


def _as_text(batch: pa.RecordBatch, dialect: Dialect, padding: int) -> pa.RecordBatch:
    """Write numbers as the publisher does: distances under a mile without a digit before the point, long decimals."""
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    for field in batch.schema:
        canonical = field.metadata[b"canonical"].decode()
        if canonical in PLACES or (dialect.long_decimals and pa.types.is_floating(field.type)):
            columns[field.name] = _long_decimals(columns[field.name])
        elif canonical == "trip_distance":
            columns[field.name] = _distances(columns[field.name])
        if dialect.quoted:
            columns[field.name] = columns[field.name].cast(pa.string()).fill_null("")
    columns |= {f"padding {number}": pa.nulls(batch.num_rows) for number in range(padding)}
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _long_decimals(numbers: pa.Array) -> pa.Array:
    """Write numbers with 17 digits, even if fewer identify them."""
    builder = pa.lib.StringBuilder()
    builder.append_values([None if number is None else f"{number:.17g}" for number in numbers.to_pylist()])
    return builder.finish()


def _distances(miles: pa.Array) -> pa.Array:
    text = miles.cast(pa.decimal128(18, 2), safe=False).cast(pa.string())
    return compute.replace_substring_regex(text, r"^0\.", ".")
