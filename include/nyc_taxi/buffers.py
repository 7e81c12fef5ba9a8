"""buffers: read the memory of Arrow's columns as numpy arrays.

Arrow's own to_numpy and fill_null import pandas where it is installed, which costs every task a second of CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import DTypeLike, NDArray

    Numbers: TypeAlias = NDArray[Any]


def numbers(column: pa.Array, type_: DTypeLike, null: float) -> Numbers:
    """Return the column's values, which have this type, with the given number in place of nulls."""
    values, present = raw_numbers(column, type_), valid(column)
    return values if present is None else np.where(present, values, null)


def raw_numbers(column: pa.Array, type_: DTypeLike) -> Numbers:
    """Return the column's values, which have this type, with any numbers in place of nulls."""
    return np.frombuffer(column.buffers()[1], type_, len(column), column.offset * np.dtype(type_).itemsize)


def valid(column: pa.Array) -> NDArray[np.bool_] | None:
    """Return which values are not null; None if all are."""
    if not column.null_count:
        return None
    first, bit = divmod(column.offset, 8)
    bits = np.frombuffer(column.buffers()[0], np.uint8, offset=first)
    return np.unpackbits(bits, count=bit + len(column), bitorder="little")[bit:].view(bool)
