"""points: where a run may stop on its way, for any time: between two requests, two moves, two statements.

`instrument` has the steps of this process call `at` at each point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import psycopg
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery as bq

from include.nyc_taxi.lake import Lake

if TYPE_CHECKING:
    from pathlib import Path

IN_DOWNLOAD = "in mid-download"
DOWNLOADED = "after the download"
STAGING = "while rows are staged"
STAGED = "between stage and publish"
BETWEEN_MOVES = "between the moves of data/ and rejects/"
LANDED = "after landing"
LOOKED = "after looking at the lake"
READING = "before data/ is read"
IN_COPY = "in mid-COPY"
SWAPPED = "between swap and commit"
WRITTEN = "between rows and commit"
BEFORE_UPLOAD = "before the upload"
LOADED = "between load job and count"
COUNTED = "between count and ledger row"

At = Callable[[str], None]


class HeldUpLake(Lake):
    """A lake whose user may be held up between two requests."""

    def __init__(self, lake: Lake, at: At) -> None:
        super().__init__(None if lake.is_local else lake.fs, lake.root)
        self.stop_at = at

    def commit(self, path: Path, key: str, *replacing: Any) -> None:
        """Stop before the accepted rows are staged."""
        if key.startswith(".staging/") and path.name == "data.parquet":
            self.stop_at(STAGING)
        super().commit(path, key, *replacing)

    def move(self, key: str, to: str, *replacing: Any) -> None:
        """Stop before the rejected rows are put in place, when the accepted ones are."""
        if to.startswith("rejects/"):
            self.stop_at(BETWEEN_MOVES)
        super().move(key, to, *replacing)

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        """Stop before a file of data/ is read."""
        if key.startswith("data/"):
            self.stop_at(READING)
        with super().local(key) as path:
            yield path

    @contextmanager
    def frozen(self, key: str, *state: Any) -> Iterator[str]:
        """Stop before a file of data/ is copied for a load job."""
        self.stop_at(READING)
        with super().frozen(key, *state) as url:
            yield url


class HeldUpClient(bq.Client):
    """A client of BigQuery that may be held up between two requests."""

    def __init__(self, at: At = lambda _: None) -> None:
        super().__init__(project="local", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
        self.stop_at = at

    def create_dataset(self, *args: Any, **options: Any) -> bq.Dataset:
        """Stop before anything is created."""
        self.stop_at(LOOKED)
        return super().create_dataset(*args, **options)

    def load_table_from_file(self, *args: Any, **options: Any) -> bq.LoadJob:
        """Stop before and after a load of trips, and before one of a ledger's row."""
        return self._load(super().load_table_from_file, *args, **options)

    def load_table_from_uri(self, *args: Any, **options: Any) -> bq.LoadJob:
        """Stop as `load_table_from_file` does."""
        return self._load(super().load_table_from_uri, *args, **options)

    def _load(self, load: Callable[..., bq.LoadJob], what: object, to: bq.TableReference, **options: Any) -> bq.LoadJob:
        is_of_trips = "$" in to.table_id
        self.stop_at(BEFORE_UPLOAD if is_of_trips else COUNTED)
        job = load(what, to, **options)
        if is_of_trips:
            job.result()
            self.stop_at(LOADED)
        return job


def held_up_cursor(at: At) -> type[psycopg.Cursor[Any]]:
    """Return a cursor that may be held up before it takes the month's lock, and after it has sent some of the rows."""

    class Cursor(psycopg.Cursor[Any]):
        def execute(self, query: Any, *args: Any, **options: Any) -> Any:
            if "pg_try_advisory_xact_lock" in str(query):
                at(LOOKED)
            return super().execute(query, *args, **options)

        @contextmanager
        def copy(self, *args: Any, **options: Any) -> Iterator[Any]:
            with super().copy(*args, **options) as copy:
                yield _HeldUpCopy(copy, at)

    return Cursor


class _HeldUpCopy:
    def __init__(self, copy: psycopg.Copy, at: At) -> None:
        self.copy = copy
        self.at = at
        self.writes = 0

    def write(self, data: bytes) -> None:
        self.copy.write(data)
        self.writes += 1
        if self.writes == 2:  # noqa: PLR2004 - the header, and a batch
            self.at(IN_COPY)


def instrument(at: At) -> None:
    """Have the steps that this process runs call `at` at every point but those in a download."""
    from include.nyc_taxi import landing
    from include.nyc_taxi.targets.duckdb import load as into_file
    from include.nyc_taxi.targets.postgres.load import _Replacement
    from include.orchestration import connections, steps

    opened_lake, opened_warehouse, opened_cloud = (
        connections.lake,
        connections.warehouse,
        connections.bigquery_client,
    )

    def warehouse() -> psycopg.Connection[Any]:
        connection = opened_warehouse()
        connection.cursor_factory = held_up_cursor(at)
        return connection

    def cloud() -> bq.Client:
        client = opened_cloud()
        client.__class__ = HeldUpClient
        vars(client)["stop_at"] = at
        return client

    connections.lake = lambda: HeldUpLake(opened_lake(), at)
    connections.warehouse = warehouse
    connections.bigquery_client = cloud
    for step, point in (("land", DOWNLOADED), ("stage", DOWNLOADED), ("load", LANDED)):
        setattr(steps, step, _before(getattr(steps, step), partial(at, point)))
    landing.publish = _before(landing.publish, lambda: at(STAGED))
    in_file = into_file._Replacement  # noqa: SLF001 - as below
    in_file._replace = _after(in_file._replace, lambda: at(WRITTEN))  # type: ignore[method-assign]
    _Replacement._swap = _after(_Replacement._swap, lambda: at(SWAPPED))  # type: ignore[method-assign] # noqa: SLF001


def _before(do: Callable[..., Any], stop: Callable[[], None]) -> Callable[..., Any]:
    @wraps(do)
    def stopped(*args: Any, **options: Any) -> Any:
        stop()
        return do(*args, **options)

    return stopped


def _after(do: Callable[..., Any], stop: Callable[[], None]) -> Callable[..., Any]:
    @wraps(do)
    def stopped(*args: Any, **options: Any) -> Any:
        result = do(*args, **options)
        stop()
        return result

    return stopped
