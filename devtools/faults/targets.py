"""targets: what a reader sees of the campaign's month in each target, and what a load may have left there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb
import psycopg
from pyarrow import compute, parquet

from devtools.faults.months import FILE, MARK, NOTHING, Held
from devtools.faults.points import (
    BEFORE_UPLOAD,
    BETWEEN_MOVES,
    COUNTED,
    DOWNLOADED,
    IN_COPY,
    LANDED,
    LOADED,
    LOOKED,
    READING,
    STAGED,
    STAGING,
    SWAPPED,
    WRITTEN,
)
from devtools.faults.tasks import CHECK, CHECK_SET_UP, COMMIT, DOWNLOAD, LAND, LOAD, STAGE
from include.nyc_taxi.errors import LakeUnavailable
from include.nyc_taxi.lake import Lake, data_key, rejects_key
from include.nyc_taxi.targets.bigquery import BigQuery
from include.nyc_taxi.targets.duckdb import DuckDB
from include.nyc_taxi.targets.duckdb.database import DatabaseFile
from include.nyc_taxi.targets.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import LiteralString

    from google.cloud import bigquery as bq

    from devtools.faults.months import Edition
    from include.nyc_taxi.targets.loads import Load

_LEFT_BEHIND = """
    SELECT relname FROM pg_class WHERE relname ~ '_new_[0-9a-f]{8}' AND relkind IN ('r', 'i')
    UNION ALL
    SELECT 'partition without a parent: ' || relname FROM pg_class
    WHERE relname ~ '^green_taxi_trips_[0-9]{4}_[0-9]{2}$' AND relkind = 'r' AND NOT relispartition
"""
_TRIPS = "SELECT count(*), min(total_amount), max(total_amount) FROM public.green_taxi_trips"
_ZONES = """
    SELECT count(*), min(number), max(number)
    FROM (SELECT substring(borough FROM 'Borough ([0-9]+)')::float AS number FROM public.taxi_zones) AS numbered
"""
_SUMMARY = "SELECT trips FROM public.trips_by_month WHERE service = %s AND month = %s"

READER = "reader"
"""The name of a reader's sessions."""
_PATIENT = "-c statement_timeout=60s -c search_path=public"


class Way(NamedTuple):
    """The way of a month into a target: the tasks of a flow, and the points at which a run may be met.

    At those of `holding` the run has what other runs of the month wait for, such as a lock.
    """

    tasks: tuple[str, ...]
    points: tuple[str, ...] = ()
    holding: tuple[str, ...] = ()


_THROUGH_THE_LAKE = (CHECK_SET_UP, DOWNLOAD, STAGE, CHECK, COMMIT)
_TO_THE_LAKE = (DOWNLOADED, STAGING, STAGED, BETWEEN_MOVES, LANDED)
WAYS = {
    "postgres": Way(
        (CHECK_SET_UP, DOWNLOAD, LAND, LOAD),
        (*_TO_THE_LAKE, LOOKED, READING, IN_COPY, SWAPPED),
        holding=(READING, IN_COPY, SWAPPED),
    ),
    "bigquery": Way((*_THROUGH_THE_LAKE, LOAD), (*_TO_THE_LAKE, LOOKED, READING, BEFORE_UPLOAD, LOADED, COUNTED)),
    "lake": Way(_THROUGH_THE_LAKE),
    "duckdb": Way((*_THROUGH_THE_LAKE, LOAD), (*_TO_THE_LAKE, READING, WRITTEN), holding=(WRITTEN,)),
}
"""Each target's way."""


class Place(ABC):
    """A target, as a reader and an auditor see it who do not take part in the faults."""

    @abstractmethod
    def reader(self) -> Any:
        """Give a function that reads the month: what it holds, or None if there is no answer at this moment."""

    @abstractmethod
    def last_load(self) -> Load | None:
        """Return what the ledger says of the month."""

    @abstractmethod
    def left_behind(self) -> list[str]:
        """Name what no load should leave: staging tables, months without a parent, sums of other rows."""

    def held(self) -> Held | None:
        """Return what the target holds of the month now."""
        with self.reader() as read:
            found: Held | None = read()
            return found

    def problems(self, wanted: Edition) -> list[str]:
        """Compare the exact counts of an edition with the rows, and with what the ledger says of them."""
        name, held, load, found = type(self).__name__, self.held(), self.last_load(), []
        if held != wanted.held:
            found.append(f"{name} holds {held}; expected {wanted.held}")
        counts = (load.source_sha256, load.rows_read, load.rows_loaded, load.rows_rejected) if load else None
        expected = (wanted.sha256, wanted.rows, wanted.accepted, wanted.rejected)
        if counts != expected:
            found.append(f"the ledger of {name} has {counts}; expected {expected}")
        return found + [f"left behind in {name}: {what}" for what in self.left_behind()]


class InPostgres(Place):
    """A database of Postgres. Its reader waits for no lock longer than a minute."""

    def __init__(self, conninfo: Callable[[], str]) -> None:
        self.conninfo = conninfo

    @contextmanager
    def reader(self) -> Iterator[Callable[[], Held | None]]:
        """Read over one connection, and over another one if that breaks."""
        open_: list[psycopg.Connection[Any]] = []

        def read() -> Held | None:
            try:
                if not open_:
                    open_.append(
                        psycopg.connect(self.conninfo(), autocommit=True, application_name=READER, options=_PATIENT)
                    )
                return self._read(open_[0])
            except psycopg.OperationalError:
                while open_:
                    open_.pop().close()
                return None

        try:
            yield read
        finally:
            while open_:
                open_.pop().close()

    def last_load(self) -> Load | None:
        """Return the ledger's last row of the month."""
        with psycopg.connect(self.conninfo()) as connection:
            return Postgres().loads(connection).get(FILE)

    def left_behind(self) -> list[str]:
        """Look for staging tables and detached months, and compare the summary with the rows."""
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            found = [str(name) for (name,) in connection.execute(_LEFT_BEHIND).fetchall()]
            held, load = self._read(connection), Postgres().loads(connection).get(FILE)
            summary = connection.execute(_SUMMARY, [FILE.service, str(FILE.month)]).fetchone() if load else None
            if summary and held and summary[0] != held.rows:
                found.append(f"a summary of {summary[0]:,} trips, the month has {held.rows:,}")
            return found

    def _read(self, connection: psycopg.Connection[Any]) -> Held:
        return _asked(connection, _TRIPS)


def _asked(connection: psycopg.Connection[Any], question: LiteralString) -> Held:
    try:
        row = connection.execute(question).fetchone()
    except psycopg.errors.UndefinedTable:
        return NOTHING
    return Held(*row) if row else NOTHING


class InBigQuery(Place):
    """A dataset of BigQuery, asked by a client that goes straight to it."""

    def __init__(self, client: Callable[[], bq.Client], dataset: str) -> None:
        self.client = client
        self.dataset = dataset

    @contextmanager
    def reader(self) -> Iterator[Callable[[], Held | None]]:
        """Read by queries."""
        from google.api_core import exceptions as api
        from requests import exceptions as web

        table = BigQuery().default_table(FILE.service, self.dataset)
        question = f"SELECT count(*), min({MARK}), max({MARK}) FROM {table}"

        def read() -> Held | None:
            try:
                with self.client() as client:
                    return Held(*next(iter(client.query_and_wait(question, retry=None, job_retry=None))))
            except api.NotFound:
                return NOTHING
            except (api.GoogleAPIError, web.RequestException):
                return None

        yield read

    def last_load(self) -> Load | None:
        """Return the ledger's last row of the month."""
        with self.client() as client:
            return BigQuery().loads(client, self.dataset).get(FILE)

    def left_behind(self) -> list[str]:
        """Name nothing: a load job leaves nothing."""
        return []


class InDuckDB(Place):
    """A DuckDB file, opened by readers for a moment; while a run writes it, it gives no answer."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def reader(self) -> Iterator[Callable[[], Held | None]]:
        """Open the file for each look, as a person's notebook should."""
        question = f"SELECT count(*), min({MARK}), max({MARK}) FROM green_taxi_trips"

        def read() -> Held | None:
            if not self.path.exists():
                return NOTHING
            try:
                with duckdb.connect(str(self.path), read_only=True) as connection:
                    row = connection.execute(question).fetchone()
            except duckdb.CatalogException:
                return NOTHING
            except (duckdb.IOException, duckdb.ConnectionException, duckdb.ResourceInUseException):
                return None
            return Held(*row) if row else NOTHING

        yield read

    def last_load(self) -> Load | None:
        """Return the ledger's last row of the month."""
        return DuckDB().loads(DatabaseFile(self.path)).get(FILE)

    def left_behind(self) -> list[str]:
        """Look for files beside the database: its log, and what did not fit into memory."""
        return [path.name for path in self.path.parent.glob(f"{self.path.name}?*")]


class InLake(Place):
    """The files of data/, as any program reads them that knows nothing of the bundle."""

    def __init__(self, lake: Callable[[], Lake]) -> None:
        self.lake = lake

    @contextmanager
    def reader(self) -> Iterator[Callable[[], Held | None]]:
        """Read the whole file."""
        lake = self.lake()

        def read() -> Held | None:
            try:
                return held_in(lake, data_key(FILE))
            except LakeUnavailable:
                return None

        yield read

    def last_load(self) -> Load | None:
        """Return what the file says of itself."""
        from include.nyc_taxi.targets.lake.loads import loads

        return loads(self.lake()).get(FILE)

    def left_behind(self) -> list[str]:
        """Compare the two files with each other: they are of one pass."""
        from include.nyc_taxi import landing

        lake = self.lake()
        is_there = [lake.size(key) is not None for key in (data_key(FILE), rejects_key(FILE))]
        return ["data/ and rejects/ of two passes"] if any(is_there) and landing.landed(lake, FILE) is None else []

    def problems(self, wanted: Edition) -> list[str]:
        """Compare the rejected rows too."""
        rejects = held_in(self.lake(), rejects_key(FILE))
        wrong = [f"rejects/ holds {rejects}; expected {wanted.rejects}"] if rejects != wanted.rejects else []
        return super().problems(wanted) + wrong


class InZones(InPostgres):
    """The table of the taxi zones in a database of Postgres."""

    def last_load(self) -> Load | None:
        """Return nothing: zones have no ledger."""

    def left_behind(self) -> list[str]:
        """Name nothing: zones have no staging table."""
        return []

    def problems(self, wanted: Edition) -> list[str]:
        """Compare the rows."""
        held = self.held()
        return [f"taxi_zones holds {held}; expected {wanted.held}"] if held != wanted.held else []

    def _read(self, connection: psycopg.Connection[Any]) -> Held:
        return _asked(connection, _ZONES)


def held_in(lake: Lake, key: str) -> Held | None:
    """Return what a file of data/ or rejects/ holds; nothing without one, None if it cannot be opened just now."""
    with suppress(OSError):  # a bucket or a folder that is away for the moment
        if lake.size(key) is None:
            return NOTHING
        with lake.local(key) as path:
            totals = parquet.read_table(path, columns=[MARK], page_checksum_verification=True)[MARK]
        ends = compute.min_max(totals).as_py()
        return Held(len(totals), ends["min"], ends["max"])
    return None
