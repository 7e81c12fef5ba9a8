"""database: the DuckDB file. It is open only for the moment of a question or a transaction.

While one process writes the file, DuckDB lets no other one open it, so whoever comes waits. Readers exclude writers
only, so questions open the file read-only.
"""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from threading import Lock
from time import monotonic, sleep
from typing import TYPE_CHECKING

import duckdb

from include.nyc_taxi.errors import WarehouseBusy
from include.nyc_taxi.targets.duckdb.refusals import errors_told
from include.nyc_taxi.targets.sql_files import sql_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from include.nyc_taxi.targets.duckdb.table import Table

log = logging.getLogger(__name__)

# By another process, by this one in another way, and by this one while it closes the file.
_TAKEN = re.compile(
    r"Conflicting lock is held in (?P<process>.*?PID (?P<number>\d+)\)?)|different configuration"
    r"|is already attached by database"
)
_PAUSE_SECONDS = 0.1
_writers: dict[str, Lock] = {}


class DatabaseFile:
    """A DuckDB file, which other processes have too."""

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        memory_limit: str = "512MB",
        threads: int = 2,
        patience_seconds: float = 600.0,
    ) -> None:
        """Name the file; nothing is opened yet.

        Args:
            path: the file, which a first load creates.
            read_only: refuse to open it for writing.
            memory_limit: the most memory that DuckDB takes before it goes on in a folder beside the file.
            threads: how many threads a question or a load uses.
            patience_seconds: how long to wait while other processes have the file open.
        """
        self.path = path
        self.is_read_only = read_only
        self.patience_seconds = patience_seconds
        self._settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory_limit,
            "threads": threads,
            "enable_external_file_cache": False,  # a file of the lake may be replaced by one of the same size and time
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }

    @contextmanager
    def reading(self) -> Iterator[DuckDBPyConnection | None]:
        """Open the file for questions; None if there is no file yet.

        Raises:
            WarehouseBusy: another process writes it, and did not end in time.
            WarehouseRefused: it is not a DuckDB file, or may not be read.
        """
        with errors_told(str(self.path)):
            if not self.path.exists():
                yield None
                return
            with self._connected(read_only=True) as connection:
                yield connection

    @contextmanager
    def transaction(self) -> Iterator[DuckDBPyConnection]:
        """Open the file for one transaction, which is committed if the block succeeds. Creates the file.

        Raises:
            WarehouseBusy: other processes have it open, and did not end in time; or the disk is full.
            WarehouseRefused: it is not a DuckDB file, or may not be written.
        """
        if self.is_read_only:
            raise ValueError(f"{self.path} was named as read-only; expected one that may be written")
        with errors_told(str(self.path)), self._turn():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._connected(read_only=False) as connection:
                connection.begin()
                yield connection  # without a commit, closing rolls back
                connection.commit()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for the other threads of this process, which DuckDB would let write at the same time."""
        lock = _writers.setdefault(str(self.path.resolve()), Lock())
        if not lock.acquire(timeout=self.patience_seconds):
            raise WarehouseBusy(f"{self.path}: another thread has written it for {self.patience_seconds:g} s")
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _connected(self, *, read_only: bool) -> Iterator[DuckDBPyConnection]:
        connection = self._connect(read_only=read_only)
        try:
            # Airflow starts some tasks with `python -c`, which DuckDB takes for a person, and draws into its log.
            connection.execute("SET enable_progress_bar = false")
            yield connection
        finally:
            connection.close()

    def _connect(self, *, read_only: bool) -> DuckDBPyConnection:
        """Open the file, as soon as no other process has it in a way that excludes this one."""
        started, is_told = monotonic(), False
        while True:
            try:
                return duckdb.connect(str(self.path), read_only=read_only, config=self._settings)
            except (duckdb.IOException, duckdb.ConnectionException, duckdb.ResourceInUseException) as error:
                taken = _TAKEN.search(str(error))
                if taken is None:
                    raise
                holder = _holder(taken)
                if monotonic() - started >= self.patience_seconds:
                    raise WarehouseBusy(
                        f"{self.path}: {holder} has had it open for {self.patience_seconds:g} s; DuckDB lets one "
                        "process write or several read: close it there, or open it read-only"
                    ) from error
            if not is_told:
                log.info(
                    "%s: waiting for %s, which has it open, for %g s at most", self.path, holder, self.patience_seconds
                )
                is_told = True
            sleep(_PAUSE_SECONDS)


def _holder(taken: re.Match[str]) -> str:
    """Name the process that has the file open; DuckDB numbers one of another container, which it cannot see, 0."""
    if taken["number"] == "0":
        return "a process of another container"
    return taken["process"] or "this process"


def literal(text: str) -> str:
    """The text as it stands in a statement that takes no parameters."""
    return "'" + text.replace("'", "''") + "'"


def statement(name: str, table: Table | None = None, **parts: str) -> str:
    """The statement in `sql/{name}.sql`, with the table's name and other words of our own filled in."""
    text = sql_file(__file__, f"{name}.sql")
    for part, words in (parts | ({"table": table.identifier} if table else {})).items():
        text = text.replace(f"{{{part}}}", words)
    return text
