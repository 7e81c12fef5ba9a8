"""parquet_pages: how large the pages of a Parquet file become, by their headers, before any of them is inflated.

The sizes in a file's footer are what it claims. Arrow inflates a page to the size in the page's header, so these are
the sizes that count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyarrow import parquet

_FIRST_READ = 1 << 12
_LONGEST_HEADER = 1 << 24
_DEEPEST = 16
_BOOLEANS = (1, 2)
_BYTE, _VARINTS, _DOUBLE, _BINARY, _LISTS, _MAP, _STRUCT = 3, (4, 5, 6), 7, 8, (9, 10), 11, 12
_LONG_LIST = 15
# Field ids of parquet.thrift: PageHeader, and the number of values in the header of a page of either version.
_INFLATED, _DEFLATED, _PAGE, _PAGE_V2, _VALUES = 2, 3, 5, 8, 1


@dataclass(frozen=True)
class Pages:
    """The sizes of the pages of a file, in bytes when inflated.

    `at_once` is the sum of the largest page of each column. `bytes_a_value` is the largest mean of a page.
    """

    inflated: int
    at_once: int
    bytes_a_value: int


def pages(file: BinaryIO, metadata: parquet.FileMetaData) -> Pages:
    """Read every page header of a file.

    Raises:
        ValueError: the headers cannot be read.
    """
    inflated = bytes_a_value = 0
    largest: dict[int, int] = {}
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        if group.num_rows == 0:
            continue  # Arrow reads none of it, and its offsets may lie
        for index in range(group.num_columns):
            for header in _headers(file, group.column(index)):
                size = int(header[_INFLATED])
                inflated += size
                largest[index] = max(largest.get(index, 0), size)
                if data := header.get(_PAGE) or header.get(_PAGE_V2):
                    bytes_a_value = max(bytes_a_value, size // max(int(data.get(_VALUES, 1)), 1))
    return Pages(inflated, sum(largest.values()), bytes_a_value)


def _headers(file: BinaryIO, chunk: parquet.ColumnChunkMetaData) -> Iterator[dict[int, Any]]:
    at, dictionary = chunk.data_page_offset, chunk.dictionary_page_offset
    if dictionary and 0 < dictionary < at:
        at = dictionary
    end = at + chunk.total_compressed_size
    while at < end:
        header, length = _header(file, at)
        inflated, deflated = header.get(_INFLATED, 0), header.get(_DEFLATED)
        if not (isinstance(inflated, int) and isinstance(deflated, int) and inflated >= 0 <= deflated):
            raise ValueError(f"the page header at byte {at:,} has no sizes")
        yield {_INFLATED: 0} | header
        at += length + header[_DEFLATED]


def _header(file: BinaryIO, at: int) -> tuple[dict[int, Any], int]:
    """Read the page header at a place: its fields by their ids, and its length."""
    size = _FIRST_READ
    while True:
        file.seek(at)
        buffer = file.read(size)
        thrift = _Compact(buffer)
        try:
            return thrift.struct(), thrift.at
        except IndexError:
            if len(buffer) < size or size > _LONGEST_HEADER:
                raise ValueError(f"the page header at byte {at:,} is cut") from None
        size *= 16


class _Compact:
    """Reads Thrift's compact protocol, as far as page headers need it."""

    def __init__(self, buffer: bytes) -> None:
        self.buffer = buffer
        self.at = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        if depth > _DEEPEST:
            raise ValueError("a page header is nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while kind := self._byte():
            number = number + (kind >> 4) if kind >> 4 else self._zigzag()
            fields[number] = self._field(kind & 15, depth)
        return fields

    def _field(self, kind: int, depth: int) -> Any:  # noqa: ANN401 - of the field's type
        return kind == _BOOLEANS[0] if kind in _BOOLEANS else self._value(kind, depth)

    def _value(self, kind: int, depth: int) -> Any:  # noqa: ANN401 - of the field's type
        if kind in _VARINTS:
            return self._zigzag()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in _LISTS:
            return self._list(depth)
        if kind in (_BYTE, *_BOOLEANS, _DOUBLE, _BINARY):
            return self._skip(self._varint() if kind == _BINARY else 8 if kind == _DOUBLE else 1)
        raise ValueError(f"a page header has a field of the unknown type {kind}")

    def _list(self, depth: int) -> None:
        head = self._byte()
        count = head >> 4
        for _ in range(self._varint() if count == _LONG_LIST else count):
            self._value(head & 15, depth + 1)

    def _skip(self, length: int) -> None:
        self.at += length
        if self.at > len(self.buffer):
            raise IndexError

    def _byte(self) -> int:
        self.at += 1
        return self.buffer[self.at - 1]

    def _varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:  # noqa: PLR2004 - the bit that says that more follow
                return number
            if shift > 70:  # noqa: PLR2004 - no number has more than 64 bits
                raise ValueError("a page header has a number that is too long")

    def _zigzag(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)
