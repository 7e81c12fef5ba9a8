"""schema: the tables of trips as they should be: made if missing, given new columns, refused if something else."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from include.nyc_taxi import catalog, landed_rows
from include.nyc_taxi.errors import WarehouseRefused
from include.nyc_taxi.targets.duckdb import ledger, published_view, relations
from include.nyc_taxi.targets.duckdb.database import literal, statement

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from include.nyc_taxi.targets.duckdb.database import DatabaseFile
    from include.nyc_taxi.targets.duckdb.table import Table

_OF_SERVICE = "Trips of the service "
log = logging.getLogger(__name__)

_TYPES = {"int16": "SMALLINT", "int32": "INTEGER", "float64": "DOUBLE", "timestamp": "TIMESTAMP", "text": "VARCHAR"}


def check(database: DatabaseFile, table: Table, service: str) -> None:
    """See that the file may be read and written, and that a load of the service may go into the table.

    Raises:
        WarehouseRefused: it may not.
        WarehouseBusy: another process writes the file, and did not end in time.
    """
    path = database.path
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise WarehouseRefused(f"{path} cannot be read and written by the user of this process: grant it both")
    with database.reading() as connection:
        if connection is not None:
            _lacks(connection, table, service)
            published_view.check(connection, table, service)


def prepare(connection: DuckDBPyConnection, table: Table, service: str) -> None:
    """Create what is missing of the ledger, the schema, the table, its columns and its view, within the transaction.

    Raises:
        WarehouseRefused: something else has the name of the table or its view, or the table holds another service.
    """
    ledger.prepare(connection)
    wanted = _wanted(service)
    missing = _lacks(connection, table, service)
    if missing == wanted:
        _create(connection, table, service, wanted)
    else:
        _add_columns(connection, table, missing)
    published_view.keep(connection, table, service)


def _wanted(service: str) -> dict[str, str]:
    columns = {column.name: _TYPES[column.type] for column in catalog.service(service).columns}
    return columns | {landed_rows.FILE_MONTH: "DATE"}


def _lacks(connection: DuckDBPyConnection, table: Table, service: str) -> dict[str, str]:
    """The columns that the table does not have; all of them if there is no such table."""
    wanted, found = _wanted(service), relations.find(connection, table)
    if found is None:
        return wanted
    there = relations.columns_of(connection, table)
    if found.kind != "table" or landed_rows.FILE_MONTH not in there:
        raise WarehouseRefused(
            f"{table} exists and is not a table of trips, but a {found.kind} with the columns {list(there)}: rename "
            "it, or load into another table or schema"
        )
    other = _service_in(found.comment) or service
    if other != service:
        raise WarehouseRefused(f"{table} holds trips of {other}, not of {service}: load into another table")
    differing = {column: there[column] for column, type_ in wanted.items() if there.get(column, type_) != type_}
    if differing:
        raise WarehouseRefused(f"{table} has columns of other types: {differing}; expected {wanted}")
    return {column: type_ for column, type_ in wanted.items() if column not in there}


def _create(connection: DuckDBPyConnection, table: Table, service: str, wanted: dict[str, str]) -> None:
    connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{table.schema}"')
    columns = ", ".join(f'"{name}" {type_}' for name, type_ in wanted.items())
    connection.execute(statement("create_trips", table, columns=columns))
    _describe(connection, table, service)


def _add_columns(connection: DuckDBPyConnection, table: Table, missing: dict[str, str]) -> None:
    for name, type_ in missing.items():
        log.info("%s: adding column %s %s", table, name, type_)
        connection.execute(statement("add_column", table, column=f'"{name}"', type=type_))


def _service_in(comment: str | None) -> str | None:
    """The service that a table's comment names."""
    if comment is None or not comment.startswith(_OF_SERVICE):
        return None
    return comment.removeprefix(_OF_SERVICE).partition(".")[0]


def _describe(connection: DuckDBPyConnection, table: Table, service: str) -> None:
    described = catalog.service(service)
    connection.execute(
        statement("comment_on_table", table, comment=literal(f"{_OF_SERVICE}{service}. {described.description}"))
    )
    for column in described.columns:
        text = literal(column.description)
        connection.execute(statement("comment_on_column", table, column=f'"{column.name}"', comment=text))
