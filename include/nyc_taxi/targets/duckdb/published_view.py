"""published_view: the view of a table under the publisher's names, in a DuckDB file."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from include.nyc_taxi import catalog
from include.nyc_taxi.targets import published_view as shared
from include.nyc_taxi.targets.duckdb import relations
from include.nyc_taxi.targets.duckdb.database import literal, statement

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from include.nyc_taxi.targets.duckdb.table import Table

log = logging.getLogger(__name__)

_TYPES = {"int32": "INTEGER", "int64": "BIGINT", "float64": "DOUBLE", "timestamp": "TIMESTAMP", "text": "VARCHAR"}


def check(connection: DuckDBPyConnection, table: Table, service: str) -> None:
    """See that nothing else has the name of the table's view.

    Raises:
        WarehouseRefused: something has.
    """
    view = table.published_view(service)
    if view is None or (found := relations.find(connection, view)) is None:
        return
    if found.kind != "view" or not shared.is_ours(found.comment, service):
        raise shared.in_the_way(view, found.kind, table)


def is_current(connection: DuckDBPyConnection, table: Table, service: str) -> bool:
    """Whether the table's view is as it should be, or it has none."""
    view = table.published_view(service)
    if view is None:
        return True
    found = relations.find(connection, view)
    return found is not None and found.comment == _comment(table, view, service)


def keep(connection: DuckDBPyConnection, table: Table, service: str) -> None:
    """Create the table's view, or replace one of another definition, within the transaction.

    Raises:
        WarehouseRefused: something else has its name.
    """
    view = table.published_view(service)
    if view is None or is_current(connection, table, service):
        return
    check(connection, table, service)
    connection.execute(_definition(table, view, service))
    connection.execute(statement("comment_on_view", view, comment=literal(_comment(table, view, service))))
    log.info("%s: made the view of %s under the publisher's names", view, table)


def _definition(table: Table, view: Table, service: str) -> str:
    columns = ",\n    ".join(
        f'CAST("{each.column.name}" AS {_TYPES[each.type]}) AS "{each.name}"'
        for each in catalog.service(service).published
    )
    return statement("create_published_view", table, view=view.identifier, columns=columns)


def _comment(table: Table, view: Table, service: str) -> str:
    return shared.comment_of(service, _definition(table, view, service))
