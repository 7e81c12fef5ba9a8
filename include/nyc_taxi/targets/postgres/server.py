"""server: what every question to Postgres has in common: transactions, statements from sql/, and errors."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow, tuple_row

from include.nyc_taxi.errors import WarehouseBusy, WarehouseRefused
from include.nyc_taxi.targets.sql_files import sql_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import LiteralString

LOCK_SECONDS = 2.0
"""How long a statement waits for a lock that readers hold, so that the readers behind it do not wait long either."""


@contextmanager
def errors_told(what: str) -> Iterator[None]:
    """Turn errors of the server into ours, which tell whether a retry may succeed."""
    try:
        yield
    except psycopg.OperationalError as error:
        raise WarehouseBusy(f"{what}: {error}") from error
    except psycopg.Error as error:
        raise WarehouseRefused(f"{what}: {error}") from error


@contextmanager
def transaction(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Open a transaction whose every statement sees what others have committed, whatever the connection's default.

    If this machine is lost, the server releases the transaction's locks after two minutes; its default is two hours.
    """
    with connection.transaction():
        connection.execute(text("begin_transaction"))
        yield


def ask(
    connection: psycopg.Connection[Any],
    query: LiteralString | sql.Composed,
    parameters: Sequence[str] | Mapping[str, Any] | None = None,
) -> psycopg.Cursor[TupleRow]:
    """Run a query; rows come as tuples, whatever the connection's own row factory."""
    return connection.cursor(row_factory=tuple_row).execute(query, parameters)


def value(
    connection: psycopg.Connection[Any],
    query: LiteralString | sql.Composed,
    parameters: Sequence[str] | Mapping[str, Any] | None = None,
) -> object:
    """Run a query and return the first column of its first row; None without rows."""
    row = ask(connection, query, parameters).fetchone()
    return None if row is None else row[0]


def text(name: str) -> LiteralString:
    """The statement in `sql/{name}.sql`."""
    return sql_file(__package__, f"{name}.sql")


def template(name: str) -> sql.SQL:
    """The statement in `sql/{name}.sql`, whose `{names}` are to be filled in."""
    return sql.SQL(text(name))


def limit_lock_waits(connection: psycopg.Connection[Any] | psycopg.Cursor[Any], seconds: float = LOCK_SECONDS) -> None:
    """Let each statement of this transaction wait for a lock for a short time only."""
    connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(f"{round(seconds * 1000)}ms"))
