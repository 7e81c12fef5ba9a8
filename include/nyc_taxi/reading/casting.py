"""casting: turn the values of a published column into its canonical type, without losing any.

A value means what its text means, whatever type it is stored in: the integer 1, the decimal 1.00, the word "1.0" in a
dictionary and the boolean true are one flag.
"""

from __future__ import annotations

import re
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import compute, types

from include.nyc_taxi.errors import SchemaMismatch
from include.nyc_taxi.reading.plain import is_number, is_text, plain
from include.nyc_taxi.reading.schema import INTEGERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from include.nyc_taxi.catalog import Column

_SHORTEST_MOMENT = len("2020-01-05 0830")
_EMPTY = "^$"
_POINT_ZERO = re.compile(r"\.0*$")
_TRUTH = {"true": "1", "false": "0"}
_LONGEST_SHOWN = 100


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
    if types.is_timestamp(array.type) and array.type.tz is not None:
        raise SchemaMismatch(f"{where}: has type {array.type}, expected New York wall time without a zone")
    values, too_long = plain(array)
    if not _has_meaning(values.type, type_):
        raise wrong_type(where, array.type, type_)

    def whole(some: pa.Array) -> pa.Array:
        return _cast(some, column, type_)

    try:
        return whole(values), too_long
    except pa.ArrowNotImplementedError as error:
        raise wrong_type(where, array.type, type_) from error
    except pa.ArrowInvalid:
        salvaged, wrong = _salvaged(values, whole, type_)
        return salvaged, sorted({*too_long, *wrong})


def shown(value: object) -> str:
    """Return a value of a file as errors quote it: bytes as the text that they encode, and long texts in short."""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            value = value[:_LONGEST_SHOWN]
    if isinstance(value, str) and len(value) > _LONGEST_SHOWN:
        return f"{value[:_LONGEST_SHOWN]!r}... ({len(value):,} characters)"
    return str(value) if isinstance(value, Decimal) else repr(value)


def wrong_type(where: str, found: pa.DataType, type_: pa.DataType) -> SchemaMismatch:
    """Return the error that a column's type has another meaning."""
    return SchemaMismatch(f"{where}: has type {found}, expected {type_}")


def _has_meaning(found: pa.DataType, type_: pa.DataType) -> bool:
    """Whether values of the found type can mean what the canonical type holds, so that nothing is guessed."""
    if types.is_null(found) or is_text(found):
        return True
    if types.is_timestamp(type_):
        # Arrow would count microseconds since 1970 for a number, and assume midnight for a date.
        return bool(types.is_timestamp(found))
    return is_number(found) or (types.is_boolean(found) and not types.is_floating(type_))


def _cast(values: pa.Array, column: Column, type_: pa.DataType) -> pa.Array:
    if is_text(values.type):
        values = values.cast(pa.string())
    if types.is_timestamp(type_):
        return _moments(values, type_)
    if types.is_string(type_):
        return _decoded(_spelled(values), column)
    return _numbers(values, column, type_).cast(type_)


def _moments(values: pa.Array, type_: pa.DataType) -> pa.Array:
    """Cast moments; texts may have blanks around them, but hardly any file has such."""
    if types.is_string(values.type):
        with suppress(pa.ArrowInvalid):
            return _timed(values).cast(type_)
        values = _timed(_stripped(values))
    return values.cast(type_)


def _timed(values: pa.Array) -> pa.Array:
    """Return the texts of moments if each has a time."""
    if (compute.min(compute.binary_length(values)).as_py() or _SHORTEST_MOMENT) < _SHORTEST_MOMENT:
        raise pa.ArrowInvalid("a date without a time")  # Arrow would assume midnight
    return values


def _numbers(values: pa.Array, column: Column, type_: pa.DataType) -> pa.Array:
    """Return the values as numbers, without NaN."""
    if types.is_boolean(values.type):
        return values.cast(pa.int8())
    if types.is_floating(type_) and (types.is_decimal(values.type) or types.is_float32(values.type)):
        # Arrow's cast of a decimal is off by a bit, and the nearest double to a float32 is not that to its text.
        values = values.cast(pa.string())
    elif types.is_float16(values.type):
        values = values.cast(pa.float64())
    if types.is_string(values.type):
        # As in CSV files, 1.0 is an id.
        values = (_decoded(values, column) if column.type in INTEGERS else _stripped(values)).cast(pa.float64())
    return _finite(values) if types.is_floating(values.type) else values


def _finite(values: pa.Array) -> pa.Array:
    """Return the values with null for NaN, which is no value; an infinity does not fit."""
    if types.is_float16(values.type):
        values = values.cast(pa.float64())
    if compute.is_finite(values).true_count == len(values) - values.null_count:
        return values
    if compute.is_inf(values).true_count:
        raise pa.ArrowInvalid("an infinite number")
    return compute.if_else(compute.is_nan(values), pa.nulls(len(values), values.type), values)


def _spelled(values: pa.Array) -> pa.Array:
    """Return the texts of values: official files of 2009 have the flags 0 and 1 as numbers, and 1.0 is spelled 1."""
    return (_finite(values) if types.is_floating(values.type) else values).cast(pa.string())


def _stripped(values: pa.Array) -> pa.Array:
    """Return texts without blanks around them, and null for empty ones, as the CSV parser reads them."""
    values = compute.ascii_trim_whitespace(values)
    empty = compute.match_substring_regex(values, _EMPTY)
    return compute.if_else(empty, pa.nulls(len(values), values.type), values) if empty.true_count else values


def _decoded(array: pa.Array, column: Column) -> pa.Array:
    """Replace words by what they mean: codes by values, and empty ones by null."""
    words = array.dictionary_encode()
    builder = pa.lib.StringBuilder()
    builder.append_values([None if word is None else _meaning(word, column) for word in words.dictionary.to_pylist()])
    return builder.finish().take(words.indices)


def _meaning(word: str, column: Column) -> str | None:
    if "\0" in word:
        raise pa.ArrowInvalid("a NUL byte")  # no text of Postgres may have one
    stripped = word.strip()
    folded = stripped.lower()
    number = _TRUTH.get(folded) or _POINT_ZERO.sub("", folded)
    if column.type in INTEGERS:
        return column.codes.get(folded, _TRUTH.get(folded) or stripped or word) or None
    if column.codes and folded == "nan":
        return None
    return column.codes.get(folded, column.codes.get(number, word)) or None


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
