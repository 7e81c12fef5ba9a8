"""misfits: set aside the rows with a value that its canonical type cannot hold, as long as they are few."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from include.nyc_taxi import limits
from include.nyc_taxi.errors import SchemaMismatch
from include.nyc_taxi.reading.casting import cast, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from include.nyc_taxi.catalog import Column

_ONE_IN = 1_000
_FEWEST_TO_STOP_EARLY = 1_000


class Misfits:
    """Collects the rows with a value that does not fit its column: at most one row in a thousand.

    `rows` are batches of these rows, with null for each value that does not fit, and beside each batch the texts of
    the values, one text per row.
    """

    def __init__(self, file_name: str) -> None:
        self.rows: list[tuple[pa.RecordBatch, list[str]]] = []
        self.file_name = file_name
        self._first = ""
        self._count = 0

    def note(self, value: str, row: int, field: pa.Field) -> None:
        """Count a value that does not fit.

        Raises:
            SchemaMismatch: so many do not fit that the file must have another layout.
        """
        self._first = self._first or (
            f"{self.file_name}: {value} in row {row:,} does not fit {field.name} {field.type}"
        )
        self._count += 1
        if self._count > max(_FEWEST_TO_STOP_EARLY, row // _ONE_IN):
            self.judge(row)

    def judge(self, rows: int) -> None:
        """Check a file that was read to its end.

        Raises:
            SchemaMismatch: more than one row in a thousand has a value that does not fit.
        """
        if self._count * _ONE_IN > rows:
            raise SchemaMismatch(
                f"{self._first}; {self._count:,} such values in {rows:,} rows, expected at most 1 in {_ONE_IN:,}"
            )


def canonical(
    published: Iterator[pa.RecordBatch], columns: Mapping[str, Column], schema: pa.Schema, misfits: Misfits
) -> Iterator[pa.RecordBatch]:
    """Give the rows in the schema: its columns, order and types, null where the file has no such column.

    Rows that do not fit go to `misfits` instead.
    """
    published_name = {column.name: name for name, column in columns.items()}
    rows_before, most_rows = 0, limits.most_rows()
    for batch in published:
        arrays = []
        wrong_values: dict[int, list[str]] = {}
        for field in schema:
            name = published_name.get(field.name)
            if name is None:
                arrays.append(pa.nulls(batch.num_rows, field.type))
                continue
            where = f"column {name!r}"
            array, wrong = cast(batch.column(name), columns[name], field.type, f"{misfits.file_name}: {where}")
            arrays.append(array)
            for index in wrong:
                value = f"{where}: {shown(batch.column(name)[index].as_py())}"
                misfits.note(value, rows_before + index + 1, field)
                wrong_values.setdefault(index, []).append(value)
        rows_before += batch.num_rows
        limits.check(rows_before, most_rows, f"{misfits.file_name}: rows")
        trips = pa.RecordBatch.from_arrays(arrays, schema=schema)
        yield _without(trips, wrong_values, misfits) if wrong_values else trips
    misfits.judge(rows_before)


def _without(trips: pa.RecordBatch, wrong_values: Mapping[int, list[str]], misfits: Misfits) -> pa.RecordBatch:
    """Return the rows that fit, and move the others to the misfits."""
    wrong = sorted(wrong_values)
    misfits.rows.append((trips.take(pa.array(wrong)), ["; ".join(wrong_values[index]) for index in wrong]))
    return trips.filter(pa.array([index not in wrong_values for index in range(trips.num_rows)]))
