"""values: files that other tools have rewritten, and files whose columns, types or rows are others than expected.

A rewritten file has the rows of the plain one, in other types: what is loaded must be the same, to the last value.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import compute, parquet

from devtools.faults.fault import Fault
from devtools.faults.months import edition, marked, trips
from devtools.generator import write_month
from include.nyc_taxi import TripFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.faults.scene import Scene

_KIND = "values"
_FLAG, _PICKUP = "store_and_fwd_flag", "lpep_pickup_datetime"
_DIGEST = """
    SELECT md5(string_agg(each::text, '|' ORDER BY each::text)) FROM public.green_taxi_trips AS each
"""
_ROWS = 20_080
_SHAPES: dict[str, dict[str, Any]] = {
    "without compression": {"compression": "none"},
    "compressed by gzip": {"compression": "gzip"},
    "compressed by zstd": {"compression": "zstd"},
    "compressed by brotli": {"compression": "brotli"},
    "in pages of version 2": {"data_page_version": "2.0"},
    "in row groups of 100 rows": {"row_group_size": 100},
    "without dictionaries": {"use_dictionary": False},
    "with checksums": {"write_page_checksum": True},
    "without statistics": {"write_statistics": False},
    "with times as INT96": {"use_deprecated_int96_timestamps": True},
    "of version 1.0": {"version": "1.0"},
}


def faults() -> Iterator[Fault]:
    """List the faults of this kind."""
    for name, options in _SHAPES.items():
        yield _rewritten(name, lambda table: table, **options)
    for name, rewrite in _REWRITES.items():
        yield _rewritten(name, rewrite)
    for name, (what, make, word) in _DRIFT.items():
        yield Fault(_KIND, f"a file {name}", what, _offered(make), (word,), is_short=name == "of another month")
    yield Fault(
        _KIND,
        "a file with an unknown column that is dropped",
        "The file has a new column, and the run has unknown_columns=drop.",
        _dropped,
    )


def _rewritten(name: str, rewrite: Callable[[pa.Table], pa.Table], **options: Any) -> Fault:
    def do(scene: Scene) -> None:
        table = marked(trips(_ROWS), 2)
        scene.publish(2)
        scene.run_cleanly()
        [[expected]] = scene.query(_DIGEST)
        scene.publish(1)
        again = scene.run_cleanly(edition=edition(1).sha256[:8])
        if not again.is_right:
            raise RuntimeError(f"edition 1 did not come back: {again.tries[-1]}")
        scene.offer(replace(edition(2), content=_written(rewrite(table), **options)))
        scene.before_judging(lambda: _compare(scene, expected))

    return Fault(
        _KIND, f"a file {name}", f"The file is rewritten {name}.", do, is_short=name == "with flags as numbers"
    )


def _compare(scene: Scene, expected: str) -> None:
    [[found]] = scene.query(_DIGEST)
    if found != expected:
        scene.complaints.append("the rewritten file was loaded with other values than the plain one")


def _written(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    parquet.write_table(table, file, **options)
    return file.getvalue()


def _each(is_such: Callable[[pa.DataType], bool], type_: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    def rewrite(table: pa.Table) -> pa.Table:
        return table.cast(
            pa.schema([field.with_type(type_) if is_such(field.type) else field for field in table.schema])
        )

    return rewrite


def _with(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def _dictionaries(table: pa.Table) -> pa.Table:
    return pa.table([column.combine_chunks().dictionary_encode() for column in table.columns], names=table.column_names)


def _flags_as_numbers(table: pa.Table) -> pa.Table:
    yes, no = (compute.equal(table[_FLAG], letter) for letter in "YN")
    number = compute.case_when(compute.make_struct(yes, no), pa.scalar(1), pa.scalar(0))
    return _with(table, _FLAG, number)


def _index(name: str) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.add_column(0, name, pa.array(range(table.num_rows)))


def _nan(table: pa.Table) -> pa.Table:
    for name in ("passenger_count", "RatecodeID"):
        table = _with(table, name, compute.fill_null(table[name].cast(pa.float64()), float("nan")))
    return table


_is_id = pa.types.is_integer
_REWRITES: dict[str, Callable[[pa.Table], pa.Table]] = {
    "with large texts": _each(pa.types.is_string, pa.large_string()),
    "with views of texts": _each(pa.types.is_string, pa.string_view()),
    "with texts as bytes": _each(pa.types.is_string, pa.large_binary()),
    "with every column as a dictionary": _dictionaries,
    "with numbers as texts": _each(pa.types.is_integer, pa.string()),
    "with ids as doubles": _each(_is_id, pa.float64()),
    "with ids as bytes of one": _each(_is_id, pa.int16()),
    "with times in nanoseconds": _each(pa.types.is_timestamp, pa.timestamp("ns")),
    "with times in seconds": _each(pa.types.is_timestamp, pa.timestamp("s")),
    "with flags as numbers": _flags_as_numbers,
    "with an index of pandas": _index("__index_level_0__"),
    "with an index without a name": _index(""),
    "with NaN for no value": _nan,
    "with its columns backwards": lambda table: table.select(list(reversed(table.column_names))),
    "with names in capitals": lambda table: table.rename_columns([name.upper() for name in table.column_names]),
}


def _offered(make: Callable[[], bytes]) -> Callable[[Scene], object]:
    return lambda scene: scene.offer_what_nobody_should_load(make())


def _dropped(scene: Scene) -> None:
    table = marked(trips(_ROWS), 2)
    content = _written(table.append_column("tip_of_the_day", pa.repeat("x", _ROWS)))
    scene.offer(replace(edition(2), content=content))
    scene.wanted = replace(scene.wanted, unknown_columns="drop")


def _changed(change: Callable[[pa.Table], pa.Table]) -> Callable[[], bytes]:
    return lambda: _written(change(marked(trips(_ROWS), 2)))


def _of(name: str) -> Callable[[], bytes]:
    def make() -> bytes:
        from pathlib import Path
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            path = Path(folder) / "file"
            write_month(TripFile.parse(name), path, rows=_ROWS)
            return path.read_bytes()

    return make


def _repeated(name: str, value: object) -> Callable[[pa.Table], pa.Table]:
    return lambda table: _with(table, name, pa.repeat(value, table.num_rows))


_DRIFT: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "of another month": ("The file holds the trips of another month.", _of("green_tripdata_2023-05"), "Implausible"),
    "of another service": ("The file is that of another service.", _of("fhv_tripdata_2024-01"), "SchemaMismatch"),
    "without a column": (
        "A column is missing.",
        _changed(lambda table: table.drop_columns(["trip_distance"])),
        "SchemaMismatch",
    ),
    "without an important column": (
        "The pickup times are missing.",
        _changed(lambda table: table.drop_columns([_PICKUP])),
        "SchemaMismatch",
    ),
    "with an unknown column": (
        "A column is new.",
        _changed(lambda table: table.append_column("tip_of_the_day", pa.repeat("x", table.num_rows))),
        "SchemaMismatch",
    ),
    "with another name for a column": (
        "A column has another name.",
        _changed(lambda table: table.rename_columns({"trip_distance": "distance"})),
        "SchemaMismatch",
    ),
    "with words for numbers": (
        "A column of numbers holds words.",
        _changed(_repeated("trip_distance", "far")),
        "SchemaMismatch",
    ),
    "with dates for times": (
        "The pickup times are dates.",
        _changed(_each(pa.types.is_timestamp, pa.date32())),
        "SchemaMismatch",
    ),
    "with lists": (
        "A column holds lists.",
        _changed(lambda table: _with(table, "trip_distance", pa.repeat(pa.scalar([1.0]), table.num_rows))),
        "SchemaMismatch",
    ),
    "with years beyond any": (
        "Every pickup is in the year 2262.",
        _changed(_repeated(_PICKUP, 9_223_372_036_854_775_000)),
        "SchemaMismatch",
    ),
    "without rows": ("The file has a header and no rows.", _changed(lambda table: table.slice(0, 0)), "DamagedFile"),
    "without passengers": ("No row has a passenger.", _changed(_repeated("passenger_count", 0.0)), "Implausible"),
    "with fewer rows": (
        "The file has a third of its rows.",
        _changed(lambda table: table.slice(0, _ROWS // 3)),
        "ShrunkenEdition",
    ),
    "of nulls": (
        "No row has any value.",
        _changed(
            lambda table: pa.table(
                [pa.nulls(table.num_rows, field.type) for field in table.schema], schema=table.schema
            )
        ),
        "Implausible",
    ),
    "with a column twice": (
        "A column comes twice.",
        _changed(lambda table: table.append_column("trip_distance", table["trip_distance"])),
        "SchemaMismatch",
    ),
}
