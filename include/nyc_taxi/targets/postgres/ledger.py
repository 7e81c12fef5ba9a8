"""ledger: the table `load_ledger`, made from the fields of `targets.ledger`, and what it tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from include.nyc_taxi.targets.ledger import FIELDS
from include.nyc_taxi.targets.postgres.server import errors_told, questions, template, text, value

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

    from include.nyc_taxi.targets.ledger import Field
    from include.nyc_taxi.targets.loads import Load
    from include.nyc_taxi.trip_file import TripFile

_TYPES = {"text": "text", "integer": "bigint", "number": "double precision", "counts": "jsonb", "moment": "timestamptz"}


def is_current(connection: psycopg.Connection[Any]) -> bool:
    """Whether the ledger is there with all of its fields, and the tables of summaries too."""
    return bool(value(connection, text("ledger_is_current"), {"names": [field.name for field in FIELDS]}))


def create(connection: psycopg.Connection[Any]) -> None:
    """Create the ledger and the tables of summaries, or add what those of an earlier version lack."""
    columns = sql.SQL(", ").join(map(_definition, FIELDS))
    additions = sql.SQL(", ").join(sql.SQL("ADD COLUMN IF NOT EXISTS {}").format(_definition(each)) for each in FIELDS)
    connection.execute(template("create_ledger").format(columns=columns, additions=additions))
    comment = sql.SQL("COMMENT ON COLUMN load_ledger.{} IS {}")
    for field in FIELDS:
        connection.execute(comment.format(sql.Identifier(field.name), sql.Literal(field.description)))
    connection.execute(text("create_summaries"))


def last_load(connection: psycopg.Connection[Any], key: Mapping[str, str]) -> dict[str, Any] | None:
    """The row of the last load of a month into a table."""
    return connection.cursor(row_factory=dict_row).execute(text("last_load"), key).fetchone()


def write(connection: psycopg.Connection[Any], entry: Mapping[str, Any]) -> None:
    """Add a row; `entry` has a value for each field."""
    values = {field.name: Jsonb(entry[field.name]) if field.type == "counts" else entry[field.name] for field in FIELDS}
    statement = template("insert_ledger").format(
        names=sql.SQL(", ").join(map(sql.Identifier, values)), values=sql.SQL(", ").join(map(sql.Placeholder, values))
    )
    connection.execute(statement, values)


def loads(connection: psycopg.Connection[Any], schema: str) -> dict[TripFile, Load]:
    """The last load of each file whose partition is there, in the schema's own table of the service before others.

    Raises:
        WarehouseBusy: the connection broke, or the question took too long.
        WarehouseRefused: a right is missing.
    """
    from include.nyc_taxi.targets.loads import loads_of

    with errors_told("load_ledger"), questions(connection), connection.cursor(row_factory=dict_row) as cursor:
        ledger = cursor.execute("SELECT to_regclass('load_ledger') AS name").fetchone()
        if ledger == {"name": None}:
            return {}
        return loads_of(cursor.execute(text("last_loads"), {"schema": schema}))


def _definition(field: Field) -> sql.Composed:
    constraint = " NOT NULL" if field.is_required else ""
    default = f" DEFAULT {field.default}" if field.default else ""
    # Type, constraint and default are our own words.
    return sql.SQL("{} {}").format(sql.Identifier(field.name), sql.SQL(_TYPES[field.type] + constraint + default))
