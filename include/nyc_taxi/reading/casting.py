"""casting: turn the values of a published column into its canonical type, without losing any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import compute

from include.nyc_taxi.errors import SchemaMismatch
from include.nyc_taxi.reading.schema import INTEGERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from include.nyc_taxi.catalog import Column


def cast(array: pa.Array, column: Column, type_: pa.DataType, where: str) -> tuple[pa.Array, list[int]]:
    """Cast values to the canonical type of their column.

    Args:
        array: the values, in the file's type.
        column: their canonical column.
        type_: its Arrow type.
        where: the file and the column, for errors.

    Returns:
        The values, null in place of those that do not fit, and the indices of those.

    Raises:
        SchemaMismatch: the file's type has another meaning, such as a time with a zone.
    """
    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        raise SchemaMismatch(f"{where}: has type {array.type}, expected New York wall time without a zone")
    if pa.types.is_timestamp(type_) and (pa.types.is_integer(array.type) or pa.types.is_date(array.type)):
        # Arrow would count microseconds since 1970, or assume midnight: both are guesses.
        raise _wrong_type(where, array, type_)

    def whole(values: pa.Array) -> pa.Array:
        return _cast(values, column, type_)

    try:
        return whole(array), []
    except pa.ArrowNotImplementedError as error:
        raise _wrong_type(where, array, type_) from error
    except pa.ArrowInvalid:
        return _salvaged(array, whole, type_)


def decoded_text(value: object) -> object:
    """Return bytes as the UTF-8 text that they encode, and any other value as it is."""
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return value


def _wrong_type(where: str, array: pa.Array, type_: pa.DataType) -> SchemaMismatch:
    return SchemaMismatch(f"{where}: has type {array.type}, expected {type_}")


def _cast(values: pa.Array, column: Column, type_: pa.DataType) -> pa.Array:
    if pa.types.is_binary(values.type):
        values = values.cast(pa.string())
    if pa.types.is_string(values.type) and pa.types.is_floating(type_):
        values = compute.ascii_trim_whitespace(values)  # as the CSV parser does
    return _decoded(values, column).cast(type_)


def _decoded(array: pa.Array, column: Column) -> pa.Array:
    """Replace words by the codes that they mean, and strip the blanks around numbers in text columns."""
    if pa.types.is_floating(array.type) and column.type == "text":
        array = array.cast(pa.string())  # the flags 0 and 1 of the official files of 2009 are numbers; 1.0 becomes "1"
    is_text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
    if not is_text or not (column.codes or column.type in INTEGERS):
        return array
    words = array.dictionary_encode()
    meanings = [None if word is None else _meaning(word, column) for word in words.dictionary.to_pylist()]
    builder = pa.lib.StringBuilder()
    builder.append_values(meanings)
    decoded = builder.finish().take(words.indices)
    # As in CSV files, 1.0 is an id.
    return decoded.cast(pa.float64()) if column.type in INTEGERS else decoded


def _meaning(word: str, column: Column) -> str | None:
    stripped = word.strip()
    return column.codes.get(stripped.lower(), stripped if stripped and column.type in INTEGERS else word) or None


def _salvaged(array: pa.Array, cast: Callable[[pa.Array], pa.Array], type_: pa.DataType) -> tuple[pa.Array, list[int]]:
    """Cast by halves and halves of halves; return null where a value cannot be cast, and the indices of those."""
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
