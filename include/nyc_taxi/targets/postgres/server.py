"""server: what every question to Postgres has in common: transactions, statements from sql/, and errors."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow, tuple_row

from include.nyc_taxi import faults
from include.nyc_taxi.targets.sql_files import sql_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import LiteralString

_LONGEST_QUESTION = "5s"
LOCK_SECONDS = 2.0
"""How long a statement waits for a lock that readers hold, so that the readers behind it do not wait long either."""


@contextmanager
def errors_told(what: str) -> Iterator[None]:
    """Turn errors of the server into ours, which tell whether a retry may succeed."""
    try:
        yield
    except psycopg.Error as error:
        raise faults.of_postgres(error).tell(what, error) from error


@contextmanager
def transaction(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Open a transaction whose every statement sees what others have committed, whatever the connection's default.

    If this machine is lost, the server releases the transaction's locks after two minutes; its default is two hours.
    """
    with connection.transaction():
        connection.execute(text("begin_transaction"))
        connection.execute(text("use_settings"))
        yield


@contextmanager
def questions(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Open a transaction, or a part of the caller's, in which statements mean the same in every database.

    A database or a role may have other settings, and a pooler may give each transaction to another session: so nothing
    is expected of the session. A connection that only reads gets answers within five seconds, or none.
    """
    with connection.transaction():
        connection.execute(text("use_settings"))
        if connection.read_only:
            connection.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(_LONGEST_QUESTION))
        yield


def end_when_stopped(connection: psycopg.Connection[Any] | psycopg.Cursor[Any]) -> None:
    """Have the server end this transaction if the process stands still in it, while its locks keep readers waiting."""
    connection.execute(text("end_when_stopped"))


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
    return sql_file(__file__, f"{name}.sql")


def template(name: str) -> sql.SQL:
    """The statement in `sql/{name}.sql`, whose `{names}` are to be filled in."""
    return sql.SQL(text(name))


def limit_lock_waits(connection: psycopg.Connection[Any] | psycopg.Cursor[Any], seconds: float = LOCK_SECONDS) -> None:
    """Let each statement of this transaction wait for a lock for a short time only."""
    connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(f"{round(seconds * 1000)}ms"))
