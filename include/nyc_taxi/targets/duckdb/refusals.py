"""refusals: what an error of DuckDB means: a retry may help, or somebody has to set something up.

DuckDB gives its errors no codes, so their kinds and words decide. What no row fits is permanent.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb

from include.nyc_taxi.errors import OutOfMemory, WarehouseBusy, WarehouseRefused
from include.nyc_taxi.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUSY = Fault(WarehouseBusy)
_ROWS: tuple[tuple[type[duckdb.Error], str, Fault], ...] = (
    (duckdb.OutOfMemoryException, "", Fault(
        OutOfMemory, "raise memory_limit in the extra of the connection, or free space for the folder beside the file"
    )),
    (duckdb.IOException, "No space left|[Qq]uota|File too large", Fault(WarehouseBusy, "free some space")),
    (duckdb.IOException, "Permission denied|Read-only file system|Operation not permitted|Is a directory", Fault(
        WarehouseRefused, "correct the connection's host, or let the user of this process write there"
    )),
    (duckdb.IOException, "not a valid DuckDB|not read enough bytes|version number|newer version|[Cc]hecksum", Fault(
        WarehouseRefused, "the file is damaged, of another version or something else: name another, or restore it"
    )),
    (duckdb.IOException, "No locks available|not supported|not implemented", Fault(
        WarehouseRefused, "its file system has no locks: put the file on a disk of the machine on which tasks run"
    )),
    (duckdb.IOException, "", _BUSY),
    (duckdb.TransactionException, "", _BUSY),
    (duckdb.ConnectionException, "", _BUSY),
    (duckdb.ResourceInUseException, "", _BUSY),
    (duckdb.InterruptException, "", _BUSY),
    (duckdb.FatalException, "", _BUSY),
    (duckdb.SerializationException, "", Fault(WarehouseRefused, "the file is damaged: restore it")),
)  # fmt: skip


@contextmanager
def errors_told(what: str) -> Iterator[None]:
    """Turn errors of DuckDB into ours, which tell whether a retry may succeed."""
    try:
        yield
    except duckdb.Error as error:
        raise of_duckdb(error).tell(what, error) from error


def of_duckdb(error: duckdb.Error) -> Fault:
    """What an error of DuckDB means."""
    found = (fault for kind, words, fault in _ROWS if isinstance(error, kind) and re.search(words, str(error)))
    return next(found, Fault(WarehouseRefused))
