"""ledger: the table `load_ledger` of the file, made from the fields of `targets.ledger`, and what it tells."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from include.nyc_taxi.targets.duckdb import relations
from include.nyc_taxi.targets.duckdb.database import statement
from include.nyc_taxi.targets.duckdb.table import Table
from include.nyc_taxi.targets.ledger import FIELDS, TABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from duckdb import DuckDBPyConnection

    from include.nyc_taxi.targets.duckdb.database import DatabaseFile
    from include.nyc_taxi.targets.ledger import Field
    from include.nyc_taxi.targets.loads import Load
    from include.nyc_taxi.trip_file import TripFile

_TYPES = {"text": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE", "counts": "JSON", "moment": "TIMESTAMPTZ"}
_LEDGER = Table("main", TABLE)
_COUNTS = [field.name for field in FIELDS if field.type == "counts"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def prepare(connection: DuckDBPyConnection) -> None:
    """Create the ledger, or add what one of an earlier version lacks."""
    columns = ", ".join(map(_definition, FIELDS))
    connection.execute(statement("create_ledger", columns=columns))
    there = relations.columns_of(connection, _LEDGER)
    for field in FIELDS:
        if field.name not in there:
            type_ = _TYPES[field.type] + (f" DEFAULT {field.default}" if field.default else "")
            connection.execute(statement("add_column", _LEDGER, column=f'"{field.name}"', type=type_))


def last_load(connection: DuckDBPyConnection, key: Mapping[str, str]) -> dict[str, Any] | None:
    """The row of the last load of a month into a table; None without one."""
    return next(_rows(connection, "last_load", key), None) if relations.find(connection, _LEDGER) else None


def write(connection: DuckDBPyConnection, entry: Mapping[str, Any]) -> None:
    """Add a row; `entry` has a value for each field."""
    values = {field.name: entry[field.name] for field in FIELDS}
    values |= {name: json.dumps(values[name]) for name in _COUNTS}
    names, parameters = ", ".join(f'"{name}"' for name in values), ", ".join(f"${name}" for name in values)
    insert = statement("insert_ledger", names=names, values=parameters)
    connection.execute(insert, values | {"loaded_at": datetime.now(UTC)})


def loads(database: DatabaseFile, default_table: Callable[[str], str]) -> dict[TripFile, Load]:
    """The last load of each file whose rows are there, in its service's default table before others.

    Raises:
        WarehouseBusy: another process writes the file, and did not end in time.
        WarehouseRefused: it is not a DuckDB file, or may not be read.
    """
    with database.reading() as connection:
        if connection is None or relations.find(connection, _LEDGER) is None:
            return {}
        rows = list(_rows(connection, "last_loads"))
        months = {name: _months_in(connection, Table.parse(name)) for name in {row["target_table"] for row in rows}}
    there = [row for row in rows if (found := months[row["target_table"]]) is not None and _is_held(row, found)]
    from include.nyc_taxi.targets.loads import loads_of

    return loads_of(sorted(there, key=lambda row: row["target_table"] == default_table(row["service"])))


def _is_held(row: Mapping[str, Any], months: set[str]) -> bool:
    return row["month"] in months or not row["rows_loaded"]


def _months_in(connection: DuckDBPyConnection, table: Table) -> set[str] | None:
    """The months that a table has rows of; None if there is no such table."""
    if relations.find(connection, table) is None:
        return None
    return {str(month) for (month,) in connection.execute(statement("months_in", table)).fetchall()}


def _rows(
    connection: DuckDBPyConnection, question: str, parameters: Mapping[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    """The ledger's rows that answer, with their counts and moments as Python has them."""
    found = connection.execute(statement(question), dict(parameters or {}))
    names = [column[0] for column in found.description or ()]
    for values in found.fetchall():
        row = dict(zip(names, values, strict=True))
        row |= {name: json.loads(row[name]) for name in _COUNTS if row.get(name) is not None}
        yield row | {"loaded_at": _EPOCH + timedelta(microseconds=row["loaded_at"])}


def _definition(field: Field) -> str:
    default = f" DEFAULT {field.default}" if field.default else ""
    return f'"{field.name}" {_TYPES[field.type]}{" NOT NULL" if field.is_required else ""}{default}'
