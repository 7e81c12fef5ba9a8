"""copy_binary: encode Arrow record batches as the rows of Postgres' COPY in its binary format.

numpy fills a table of bytes, a column at a time, with the lengths of all values and with the values of columns in which
all have one length. If there are others, the parts of the table and the other values are scattered to their places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from include.nyc_taxi import buffers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from include.nyc_taxi.buffers import Numbers

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
_TYPES = {pa.int16(): np.int16, pa.int32(): np.int32, pa.float64(): np.float64, pa.timestamp("us"): np.int64}
_COUNT_BYTES, _LENGTH_BYTES, _NULL = 2, 4, np.int32(-1)
_POSTGRES_EPOCH = 946_684_800_000_000  # 2000-01-01, in microseconds since 1970
# The server refuses this time. Earlier ones would wrap around to another time or to -infinity.
_EARLIEST = np.iinfo(np.int64).min + _POSTGRES_EPOCH + 1
_PIECE_BYTES = 3 << 20


@dataclass(frozen=True)
class _Even:
    """A column whose values all have one length, which is not 0."""

    values: Numbers

    @property
    def template(self) -> bytes:
        return self.values.itemsize.to_bytes(_LENGTH_BYTES, "big") + bytes(self.values.itemsize)

    def fill(self, fields: Numbers) -> None:
        fields[:, _LENGTH_BYTES:].view(self.values.dtype.newbyteorder(">"))[:, 0] = self.values


@dataclass(frozen=True)
class _Uneven:
    """A column with nulls or with texts of several lengths: value `i` begins at byte `starts[i]` of `data`."""

    data: Numbers
    starts: Numbers
    lengths: Numbers
    template = bytes(_LENGTH_BYTES)

    @property
    def sizes(self) -> Numbers:
        return np.maximum(self.lengths, 0)

    def fill(self, fields: Numbers) -> None:
        fields.view(">i4")[:, 0] = self.lengths

    def scatter(self, out: Numbers, at: Numbers) -> None:
        """Write the bytes of each value `i` at `at[i]`."""
        width = int(self.lengths.max())
        while width > 0:
            rows = np.flatnonzero(self.lengths == width)
            _anywhere(out, width)[at[rows]] = _anywhere(self.data, width)[self.starts[rows]]
            width = int(np.where(self.lengths < width, self.lengths, 0).max())


class Encoder:
    """Encodes one batch after another in the same memory: to get new memory takes longer than to fill it."""

    def __init__(self) -> None:
        self._table, self._out = np.empty(_PIECE_BYTES, np.uint8), np.empty(_PIECE_BYTES, np.uint8)

    def encode(self, batch: pa.RecordBatch) -> Iterator[memoryview]:
        """Yield the batch's rows as they stand between `HEADER` and `TRAILER`, in pieces of at most 3 MiB.

        Only a row that is larger makes a larger piece. A piece is valid until the next one is asked for.

        Raises:
            TypeError: a column is none of int16, int32, float64, timestamp[us] without a zone, and string.
        """
        most_bytes = batch.nbytes + batch.num_rows * (_COUNT_BYTES + _LENGTH_BYTES * batch.num_columns)
        if batch.num_rows > 1 and most_bytes > _PIECE_BYTES:
            yield from self.encode(batch.slice(0, batch.num_rows // 2))
            yield from self.encode(batch.slice(batch.num_rows // 2))
        elif batch.num_rows:
            columns = [_column(name, it) for name, it in zip(batch.schema.names, batch.columns, strict=True)]
            yield self._rows(columns, batch.num_rows).data

    def _rows(self, columns: Sequence[_Even | _Uneven], count: int) -> Numbers:
        """Return the encoded rows, one after the other."""
        template = len(columns).to_bytes(_COUNT_BYTES, "big") + b"".join(column.template for column in columns)
        sizes = np.full(count, len(template)) + sum(it.sizes for it in columns if isinstance(it, _Uneven))
        total, at = int(sizes.sum()), np.cumsum(sizes) - sizes
        filled, out = _part(self._table, len(template) * count), _part(self._out, total)
        filled.view(f"V{len(template)}")[:] = np.void(template)
        table = filled.reshape(-1, len(template))
        begin, end = 0, _COUNT_BYTES
        for column in columns:
            start, end = end, end + len(column.template)
            column.fill(table[:, start:end])
            if total > len(filled) and (isinstance(column, _Uneven) or end == len(template)):
                _anywhere(out, end - begin)[at] = table[:, begin:end].view(f"V{end - begin}")[:, 0]
                at += end - begin
                begin = end
            if isinstance(column, _Uneven):
                column.scatter(out, at)
                at += column.sizes
        return out if total > len(filled) else filled


def _part(memory: Numbers, size: int) -> Numbers:
    """Return the memory's first bytes, or other memory if it has too few."""
    return memory[:size] if size <= len(memory) else np.empty(size, np.uint8)


def _anywhere(data: Numbers, width: int) -> Numbers:
    """Return a view of the bytes in which item `i` is the value of some width that begins at byte `i`."""
    return np.ndarray(len(data) - width + 1, f"V{width}", data, strides=(1,))


def _column(name: str, column: pa.Array) -> _Even | _Uneven:
    valid = buffers.valid(column)
    if column.type == pa.string():
        return _text(column, valid)
    if column.type not in _TYPES:
        raise TypeError(f"column {name} is of type {column.type}, expected string or one of {[*map(str, _TYPES)]}")
    values = buffers.raw_numbers(column, _TYPES[column.type])
    if pa.types.is_timestamp(column.type):
        values = np.maximum(values, _EARLIEST)
        values -= _POSTGRES_EPOCH
    if valid is None:
        return _Even(values)
    data = values.astype(values.dtype.newbyteorder(">")).view(np.uint8)
    return _Uneven(data, np.arange(0, len(data), values.itemsize), np.where(valid, np.int32(values.itemsize), _NULL))


def _text(column: pa.Array, valid: Numbers | None) -> _Even | _Uneven:
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int32, len(column) + 1, column.offset * 4)
    bytes_, lengths = np.frombuffer(data or b"", np.uint8), np.diff(ends)
    if valid is not None:
        lengths = np.where(valid, lengths, _NULL)
    elif lengths[0] and (lengths == lengths[0]).all():
        return _Even(np.ndarray(len(column), f"V{lengths[0]}", bytes_, ends[0]))
    return _Uneven(bytes_, ends[:-1], lengths)
