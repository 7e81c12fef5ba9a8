"""refusals: why a server refuses a connection, by its code, in whatever language it speaks.

libpq drops the SQLSTATE of a failed attempt to connect, and says it in its trace only.
"""

from __future__ import annotations

import re
import select
import tempfile
from time import monotonic
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors, pq
from psycopg.conninfo import make_conninfo

from include.nyc_taxi import faults

if TYPE_CHECKING:
    from typing import BinaryIO

# The severity is in the server's language; what libpq itself says has none.
_BY_THE_SERVER = re.compile(r"failed: [^\s:]+:  ")
_STATE = re.compile(rb"\tErrorResponse\t.* C \"([0-9A-Z]{5})\"")
_WITHIN_SECONDS = 5.0


def by_code(error: psycopg.Error) -> psycopg.Error:
    """Return a refusal as the error of its SQLSTATE: of a server whose words tell nothing, by asking it once more."""
    if error.sqlstate or not _BY_THE_SERVER.search(str(error)) or faults.is_told_by_words(error):
        return error
    state = _state_of_next_refusal(error)
    try:
        return errors.lookup(state)(str(error)) if state else error
    except KeyError:
        return error


def _state_of_next_refusal(error: psycopg.Error) -> str | None:
    if error.pgconn is None:
        return None
    options = {option.keyword.decode(): option.val.decode() for option in error.pgconn.info if option.val is not None}
    with tempfile.TemporaryFile() as trace:
        try:
            _connect(make_conninfo(**options), trace)
        except psycopg.Error:
            return None  # a libpq that keeps no trace
        trace.seek(0)
        found = _STATE.findall(trace.read())
    return found[-1].decode() if found else None


def _connect(conninfo: str, trace: BinaryIO) -> None:
    """Try to connect, until the server answers or a few seconds have passed, with a trace of what both say."""
    connection, deadline = pq.PGconn.connect_start(conninfo.encode()), monotonic() + _WITHIN_SECONDS
    try:
        connection.trace(trace.fileno())
        status: int = pq.PollingStatus.WRITING
        while status in (pq.PollingStatus.READING, pq.PollingStatus.WRITING) and monotonic() < deadline:
            socket = [connection.socket]
            reads, writes = (socket, []) if status == pq.PollingStatus.READING else ([], socket)
            select.select(reads, writes, [], deadline - monotonic())
            status = connection.connect_poll()
        connection.untrace()  # it writes what is buffered
    finally:
        connection.finish()
