"""schema: the tables of trips as they should be: made if missing, given new columns, refused if something else."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from include.nyc_taxi import catalog, landed_rows
from include.nyc_taxi.errors import WarehouseBusy, WarehouseRefused
from include.nyc_taxi.targets.postgres import ledger, published_view
from include.nyc_taxi.targets.postgres.readiness import check_service, find, service_of
from include.nyc_taxi.targets.postgres.server import ask, limit_lock_waits, template, text, transaction, value
from include.nyc_taxi.targets.postgres.table import Table

if TYPE_CHECKING:
    from collections.abc import Collection

    from include.nyc_taxi.month import Month

log = logging.getLogger(__name__)

_TYPES = {
    "int16": "smallint",
    "int32": "integer",
    "float64": "double precision",
    "timestamp": "timestamp without time zone",
    "text": "text",
}


def prepare(connection: psycopg.Connection[Any], table: Table, service: str) -> None:
    """Create what is missing of the ledger, the schema, the table, its columns and its view.

    Raises:
        WarehouseRefused: something else has the name of the table or its view, or the table holds another service.
    """
    if connection.info.transaction_status is not psycopg.pq.TransactionStatus.IDLE:
        raise ValueError("replace_month needs a connection that is not inside a transaction: it commits its own")
    wanted = {column.name: _TYPES[column.type] for column in catalog.service(service).columns}
    with transaction(connection):
        if _is_ready(connection, table, service, wanted):
            return
    with transaction(connection):
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('nyc_taxi create', 0))")
        if not ledger.is_current(connection):
            ledger.create(connection)
        missing = _lacks(connection, table, wanted)
        check_service(connection, table, service)
        if missing == wanted:
            _create(connection, table, wanted)
        else:
            _add_columns(connection, table, missing)
        _describe(connection, table, service, missing)
        published_view.keep(connection, table, service)


def _is_ready(connection: psycopg.Connection[Any], table: Table, service: str, wanted: dict[str, str]) -> bool:
    return (
        ledger.is_current(connection)
        and _lacks(connection, table, wanted) == {}
        and service_of(connection, table) == service
        and published_view.is_current(connection, table, service)
    )


def oid_of(connection: psycopg.Connection[Any], table: Table) -> int:
    """The table's oid.

    Raises:
        WarehouseBusy: it is gone.
    """
    found = find(connection, table)
    if found is None:
        raise WarehouseBusy(f"{table} was dropped by another session just now")
    return found[0]


def partition_of(connection: psycopg.Connection[Any], oid: int, month: Month) -> Table | None:
    """The partition that holds the month, whatever its name."""
    found = ask(connection, text("find_partition"), {"oid": oid, "month": month.first_day}).fetchone()
    return None if found is None else Table(*found)


def columns_of(connection: psycopg.Connection[Any], oid: int) -> dict[str, str]:
    """The types of the table's columns by name, in their order."""
    return dict(ask(connection, text("table_columns"), {"oid": oid}).fetchall())


def are_taken(connection: psycopg.Connection[Any], schema: str, *names: str) -> bool:
    """Whether a table, view or index of the schema has one of these names."""
    return bool(value(connection, text("names_taken"), {"schema": schema, "names": list(names)}))


def definitions(columns: dict[str, str]) -> sql.Composed:
    """The columns as they stand in CREATE TABLE."""
    # The types are our own words or the server's, never a caller's.
    return sql.SQL(", ").join(sql.SQL("{} " + type_).format(sql.Identifier(name)) for name, type_ in columns.items())


def _lacks(connection: psycopg.Connection[Any], table: Table, wanted: dict[str, str]) -> dict[str, str]:
    """The wanted columns that the table does not have; all of them if there is no such table."""
    found = find(connection, table)
    if found is None:
        return wanted
    oid, partition_key = found
    if partition_key != f"LIST ({landed_rows.FILE_MONTH})":
        raise WarehouseRefused(
            f"{table} exists and is not a table partitioned by {landed_rows.FILE_MONTH}: "
            "rename it, or load into another table_name"
        )
    there = columns_of(connection, oid)
    other = {column: there[column] for column, type_ in wanted.items() if there.get(column, type_) != type_}
    if other:
        raise WarehouseRefused(f"{table} has columns of other types: {other}; expected {wanted}")
    return {column: type_ for column, type_ in wanted.items() if column not in there}


def _create(connection: psycopg.Connection[Any], table: Table, columns: dict[str, str]) -> None:
    if not value(connection, "SELECT to_regnamespace(quote_ident(%s))", [table.schema]):
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(table.schema)))
    create = template("create_trips")
    index = f"{table.name}_brin"
    if are_taken(connection, table.schema, index):  # by the index of a table that somebody renamed
        index = f"{table.name}_{uuid.uuid4().hex[:8]}_brin"
    connection.execute(create.format(table=table.identifier, columns=definitions(columns), index=sql.Identifier(index)))


def _add_columns(connection: psycopg.Connection[Any], table: Table, missing: dict[str, str]) -> None:
    limit_lock_waits(connection)
    for name, type_ in missing.items():
        log.info("%s: adding column %s %s", table, name, type_)
        definition = definitions({name: type_})
        connection.execute(sql.SQL("ALTER TABLE {} ADD COLUMN {}").format(table.identifier, definition))


def _describe(connection: psycopg.Connection[Any], table: Table, service: str, columns: Collection[str]) -> None:
    if (
        value(connection, "SELECT obj_description(%(oid)s::oid, 'pg_class')", {"oid": oid_of(connection, table)})
        is None
    ):
        description = f"Trips of the service {service}. {catalog.service(service).description}"
        connection.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(table.identifier, sql.Literal(description)))
    comment = sql.SQL("COMMENT ON COLUMN {} IS {}")
    for column in catalog.service(service).columns:
        if column.name in columns:
            name = sql.Identifier(table.schema, table.name, column.name)
            connection.execute(comment.format(name, sql.Literal(column.description)))
