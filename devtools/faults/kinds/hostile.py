"""hostile: small files that would fill the memory, the disk or the time of a worker."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import parquet

from devtools.faults.fault import RIGHT, Fault
from devtools.faults.months import edition, marked, trips

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.faults.scene import Scene

_KIND = "hostile"
_MEGABYTE = 1 << 20
_FLAG = "store_and_fwd_flag"
_MEMORY = 1_500 * _MEGABYTE  # more than a normal month takes


def faults() -> Iterator[Fault]:
    """List the faults of this kind."""
    yield from _words()
    yield from _sizes()


def _words() -> Iterator[Fault]:
    yield _fault(
        "a word of a megabyte in every row",
        "A dictionary repeats a word of a megabyte; decoded, the rows are 20 GB.",
        _long_word,
        "SchemaMismatch",
        is_short=True,
    )
    yield _fault(
        "a page that inflates to a gigabyte",
        "A page of a few kilobytes inflates to a gigabyte.",
        _large_page,
        "TooLarge",
    )
    yield _fault(
        "long words in every row",
        "Each of 200 rows has a word of a megabyte of its own.",
        _long_words,
        "SchemaMismatch",
    )


def _sizes() -> Iterator[Fault]:
    yield _fault("5,000 columns", "The file has 5,000 columns.", _many_columns, "TooLarge")
    yield _fault(
        "a file beyond any known one",
        "The file is larger than any known one, by the factor in force.",
        _too_large,
        "TooLarge",
    )
    yield _fault(
        "deep nesting", "A column is nested a hundred times.", _nested, "SchemaMismatch", "DamagedFile", "TooLarge"
    )
    yield _fault(
        "a page header that lies",
        "The header of the first page promises what no page can be.",
        _lying_page,
        "DamagedFile",
        "CountMismatch",
        "SchemaMismatch",
    )
    yield _fault(
        "a header of 100 kB",
        "The server sends a header of 100 kB.",
        _large_header,
        "SourceUnavailable",
        "PermanentError",
        RIGHT,
    )
    yield _fault(
        "a name of a column of a megabyte",
        "A column has a name of a megabyte.",
        _long_name,
        "TooLarge",
    )


def _fault(
    name: str, what: str, make: Callable[[], bytes] | Callable[[Scene], object], *expects: str, is_short: bool = False
) -> Fault:
    do: Any = make if make in (_too_large, _large_header) else _offered(make)
    return Fault(_KIND, f"hostile: {name}", what, do, expects, is_short=is_short)


def _offered(make: Any) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        scene.limit(more_memory_bytes=_MEMORY)
        scene.offer_what_nobody_should_load(make())

    return do


def _with(name: str, column: pa.Array, **options: Any) -> bytes:
    one = marked(trips(1), 2)
    columns = [column if field == name else pa.repeat(one[field][0], len(column)) for field in one.column_names]
    return _written(pa.table(columns, names=one.column_names), **options)


def _written(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    parquet.write_table(table, file, **({"compression": "zstd"} | options))
    return file.getvalue()


def _long_word() -> bytes:
    words = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), 20_000), pa.array(["x" * _MEGABYTE]))
    return _with(_FLAG, words, dictionary_pagesize_limit=4 * _MEGABYTE)


def _large_page() -> bytes:
    words = pa.array([bytes(1_000 * _MEGABYTE)], pa.large_binary())
    return _with(_FLAG, words, use_dictionary=False, write_statistics=False)


def _long_words() -> bytes:
    words = pa.array([f"{'x' * _MEGABYTE}{row}" for row in range(200)])
    return _with(_FLAG, words, use_dictionary=False)


def _many_columns() -> bytes:
    table = marked(trips(1), 2)
    for number in range(5_000):
        table = table.append_column(f"column {number}", pa.array([number]))
    return _written(table)


def _too_large(scene: Scene) -> None:
    scene.offer_what_nobody_should_load(edition(2).content)
    scene.set(TAXI_LIMIT_FACTOR="0.0008")


def _nested() -> bytes:
    value: Any = 1.0
    for _ in range(100):
        value = [value]
    return _with("trip_distance", pa.array([value]))


def _lying_page() -> bytes:
    content = bytearray(edition(2).content)
    content[4:40] = b"\xff" * 36
    return bytes(content)


def _large_header(scene: Scene) -> None:
    from devtools.servers import misbehaving as web

    scene.publisher.always = web.Fault(headers={"X-Long": "x" * 100_000})
    scene.afterwards(lambda: setattr(scene.publisher, "always", web.Fault()))


def _long_name() -> bytes:
    table = marked(trips(100), 2)
    return _written(table.append_column("x" * _MEGABYTE, pa.repeat(1, 100)))
