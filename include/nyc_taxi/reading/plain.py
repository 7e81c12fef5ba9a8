"""plain: bring arrays of every physical type into the few that the casts know.

A publisher, or a tool that rewrote a file, may store the same values as dictionaries, large or view strings, binaries
or extension types. None of that has a meaning.
"""

from __future__ import annotations

import pyarrow as pa
from pyarrow import compute, types

LONGEST_TEXT = 1_000
"""No text of a trip has more bytes; a longer one does not fit its column."""
_TEXTS = {
    type_.id
    for type_ in (
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.binary_view(),
        pa.binary(LONGEST_TEXT),  # of a fixed width, whatever it is
    )
}


def plain(array: pa.Array) -> tuple[pa.Array, list[int]]:
    """Return the values in a type that the casts know, and the indices of texts that are too long.

    Texts that are too long are null. A dictionary is checked before it is decoded, because a word of a megabyte that
    every row repeats would fill the memory.
    """
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if not types.is_dictionary(array.type):
        values, too_long = _short(array)
        return values, _indices(too_long)
    words, too_long = _short(array.dictionary)
    values = pa.DictionaryArray.from_arrays(array.indices, words).dictionary_decode()
    return values, _indices(too_long.take(array.indices)) if too_long is not None else []


def is_text(type_: pa.DataType) -> bool:
    """Whether values of the type are texts, or the bytes of texts."""
    return type_.id in _TEXTS


def is_number(type_: pa.DataType) -> bool:
    """Whether values of the type are integers, decimals or floating point numbers of any width."""
    return bool(types.is_integer(type_) or types.is_floating(type_) or types.is_decimal(type_))


def _short(array: pa.Array) -> tuple[pa.Array, pa.BooleanArray | None]:
    """Return the values, null where a text is too long, and which ones these are; None if no text is."""
    if not is_text(array.type):
        return array, None
    if types.is_string_view(array.type) or types.is_binary_view(array.type):
        array = array.cast(pa.large_binary())
    elif types.is_fixed_size_binary(array.type):
        array = array.cast(pa.binary())
    lengths = compute.binary_length(array)
    if (compute.max(lengths).as_py() or 0) <= LONGEST_TEXT:
        return array, None
    too_long = compute.fill_null(compute.greater(lengths, LONGEST_TEXT), False)
    return compute.if_else(too_long, pa.nulls(len(array), array.type), array), too_long


def _indices(mask: pa.BooleanArray | None) -> list[int]:
    return [] if mask is None else compute.indices_nonzero(compute.fill_null(mask, False)).to_pylist()
