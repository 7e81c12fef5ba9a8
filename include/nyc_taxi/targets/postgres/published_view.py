"""published_view: the view of a table under the publisher's names, in lower case, as Postgres folds them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg import sql

from include.nyc_taxi import catalog
from include.nyc_taxi.targets import published_view as shared
from include.nyc_taxi.targets.postgres.server import ask, end_when_stopped, limit_lock_waits, template, text

if TYPE_CHECKING:
    import psycopg

    from include.nyc_taxi.targets.postgres.table import Table

log = logging.getLogger(__name__)

_TYPES = {
    "int32": "integer",
    "int64": "bigint",
    "float64": "double precision",
    "timestamp": "timestamp without time zone",
    "text": "text",
}


class _Found(NamedTuple):
    """What has the view's name: its kind, its comment, its columns, and whether it reads the table and no other."""

    kind: str
    comment: str | None
    columns: list[str]
    reads_the_table: bool


def check(connection: psycopg.Connection[Any], table: Table, service: str) -> None:
    """See that nothing else has the name of the table's view.

    Raises:
        WarehouseRefused: something has.
    """
    view = table.published_view(service)
    if view is not None:
        _check(_find(connection, view, table), view, table, service)


def is_current(connection: psycopg.Connection[Any], table: Table, service: str) -> bool:
    """Whether the table's view is as it should be, or it has none."""
    view = table.published_view(service)
    return view is None or _is_current(_find(connection, view, table), table, service)


def keep(connection: psycopg.Connection[Any], table: Table, service: str) -> None:
    """Create the table's view, or replace one of another definition, within the transaction.

    A view that is as it should be is not touched, so that its readers do not wait.

    Raises:
        WarehouseRefused: something else has its name, or other views depend on columns that it must lose.
    """
    view = table.published_view(service)
    if view is None:
        return
    found = _find(connection, view, table)
    if _is_current(found, table, service):
        return
    _check(found, view, table, service)
    limit_lock_waits(connection)
    end_when_stopped(connection)
    if found is not None and not _may_become(found, service):
        connection.execute(sql.SQL("DROP VIEW {}").format(view.identifier))
    _create(connection, view, table, service)
    log.info("%s: made the view of %s under the publisher's names", view, table)


def _find(connection: psycopg.Connection[Any], view: Table, table: Table) -> _Found | None:
    names = {"schema": view.schema, "name": view.name, "table": table.name}
    found = ask(connection, text("find_published_view"), names).fetchone()
    return None if found is None else _Found(*found)


def _check(found: _Found | None, view: Table, table: Table, service: str) -> None:
    if found is not None and not (found.kind == "view" and shared.is_ours(found.comment, service)):
        raise shared.in_the_way(view, found.kind, table)


def _create(connection: psycopg.Connection[Any], view: Table, table: Table, service: str) -> None:
    columns = [
        sql.SQL(f"{{}}::{type_} AS {{}}").format(sql.Identifier(canonical), sql.Identifier(name))  # our own words
        for name, type_, canonical in _columns(service)
    ]
    create, comment = template("create_published_view"), sql.SQL("COMMENT ON VIEW {} IS {}")
    listed = sql.SQL(",\n    ").join(columns)
    connection.execute(create.format(view=view.identifier, columns=listed, table=table.identifier))
    connection.execute(comment.format(view.identifier, sql.Literal(_comment(table, service))))


def _is_current(found: _Found | None, table: Table, service: str) -> bool:
    return found is not None and found.reads_the_table and found.comment == _comment(table, service)


def _may_become(found: _Found, service: str) -> bool:
    """Whether CREATE OR REPLACE takes the new columns: those that are there stay, and others follow them."""
    wanted = [f"{name} {type_}" for name, type_, _ in _columns(service)]
    return found.columns == wanted[: len(found.columns)]


def _comment(table: Table, service: str) -> str:
    columns = (" ".join(column) for column in _columns(service))
    return shared.comment_of(service, "\n".join((str(table), *columns)))


def _columns(service: str) -> list[tuple[str, str, str]]:
    """Its columns, each by name, type and the column of the table."""
    return [(each.name.lower(), _TYPES[each.type], each.column.name) for each in catalog.service(service).published]
