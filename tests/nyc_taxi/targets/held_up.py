"""Runs that bring a month from the publisher into a target, and can be held up anywhere on their way.

A run goes through the steps of a flow, one after the other, and tries each again after a transient error, as Airflow
does. `at` is called at every point at which a machine may stop for any time.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psycopg
from pyarrow import parquet

from devtools.faults.points import (
    DOWNLOADED,
    LANDED,
    LOOKED,
    STAGED,
    At,
    HeldUpClient,
    HeldUpLake,
    held_up_cursor,
)
from include.nyc_taxi import download, landing
from include.nyc_taxi.errors import LakeChanged, LakeUnavailable, Superseded, TransientError
from include.nyc_taxi.lake import Lake, data_key, rejects_key
from include.nyc_taxi.precedence import Run, Wish
from include.nyc_taxi.targets.bigquery import BigQuery
from include.nyc_taxi.targets.bigquery.table import Table as BigQueryTable
from include.nyc_taxi.targets.duckdb import DuckDB
from include.nyc_taxi.targets.duckdb.database import DatabaseFile
from include.nyc_taxi.targets.ledger import Loaded
from include.nyc_taxi.targets.loads import Load
from include.nyc_taxi.targets.postgres import Postgres
from tests.nyc_taxi.trips import FILE, Row, trip

ACCEPTED, REJECTED = 20, 2
_TRIES = 8

T = TypeVar("T")


def rows_of(edition: int) -> list[Row]:
    """An edition's rows, as many as those of any other one: each says in its total which edition it is of."""
    rejected = [trip(passenger_count=0, total_amount=float(edition))] * REJECTED
    return [trip(total_amount=float(edition))] * ACCEPTED + rejected


class Held(NamedTuple):
    """What a reader finds of a month: how many rows, and of which edition, the lowest and the highest."""

    rows: int
    lowest: float | None
    highest: float | None


@dataclass(frozen=True)
class InPostgres:
    """A Postgres warehouse."""

    conninfo: str

    def load(self, lake: Lake, at: At, **options: Any) -> Loaded:
        with psycopg.connect(self.conninfo, cursor_factory=held_up_cursor(at)) as connection:
            return Postgres().replace_month(connection, FILE, lake, **options)

    @contextmanager
    def reader(self) -> Iterator[Callable[[], Held]]:
        question = "SELECT count(*), min(total_amount), max(total_amount) FROM green_taxi_trips"
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            yield lambda: Held(*connection.execute(question).fetchone())

    def last_load(self) -> Load:
        with psycopg.connect(self.conninfo) as connection:
            return Postgres().loads(connection)[FILE]


@dataclass(frozen=True)
class InBigQuery:
    """A dataset of BigQuery."""

    dataset: str

    def load(self, lake: Lake, at: At, **options: Any) -> Loaded:
        with HeldUpClient(at) as client:
            return BigQuery().replace_month(client, FILE, lake, table=self.table, **options)

    @contextmanager
    def reader(self) -> Iterator[Callable[[], Held]]:
        question = f"SELECT count(*), min(total_amount), max(total_amount) FROM {self.table}"
        with HeldUpClient() as client:
            yield lambda: Held(*next(iter(client.query_and_wait(question))))

    def last_load(self) -> Load:
        with HeldUpClient() as client:
            return BigQuery().loads(client, self.dataset)[FILE]

    @property
    def table(self) -> BigQueryTable:
        return BigQuery().default_table("green", self.dataset)


@dataclass(frozen=True)
class InDuckDB:
    """A DuckDB file."""

    path: str

    def load(self, lake: Lake, at: At, **options: Any) -> Loaded:
        at(LOOKED)
        return DuckDB().replace_month(DatabaseFile(Path(self.path)), FILE, lake, **options)

    @contextmanager
    def reader(self) -> Iterator[Callable[[], Held]]:
        question = "SELECT count(*), min(total_amount), max(total_amount) FROM green_taxi_trips"

        def read() -> Held:
            with DatabaseFile(Path(self.path)).reading() as connection:
                return Held(*connection.execute(question).fetchone())

        yield read

    def last_load(self) -> Load:
        return DuckDB().loads(DatabaseFile(Path(self.path)))[FILE]


Place = InPostgres | InBigQuery | InDuckDB


def tried(step: Callable[[], T]) -> T:
    """Try a step again after a transient error."""
    for _ in range(_TRIES):
        try:
            return step()
        except TransientError as error:
            last = error
    raise last


def bring(
    lake: Lake, url: str, place: Place, at: At = lambda _: None, *, wish: Wish | None = None, **terms: Any
) -> str:
    """Bring the month through every step, as a flow does; returns the outcome of the last one."""
    lake, wish = HeldUpLake(lake, at), wish or Wish.of()
    name = wish.asked_for.removeprefix("edition=") if wish.asked_for and wish.asked_for != "force" else None
    options = {"base_url": url, "cache_ttl": timedelta(0), "pause": 0, "timeout": 60, "edition": name}
    edition = tried(lambda: download.fetch(FILE, lake, **options)).edition
    at(DOWNLOADED)
    landed = _landed(lake, at, edition=edition.sha256, wish=wish, **terms)
    at(LANDED)
    try:
        loaded = tried(lambda: place.load(lake, at, found=landed.claim, run=Run("flow", wish.asked_at, wish)))
    except Superseded:
        return "superseded"
    return loaded.outcome


def _landed(lake: Lake, at: At, **terms: Any) -> landing.Landed:
    try:
        staged = tried(lambda: landing.stage(FILE, lake, **terms))
        at(STAGED)
        try:
            return landing.publish(FILE, lake, staged.recipe)
        except LakeChanged:
            return tried(lambda: landing.land(FILE, lake, **terms))
    except Superseded:
        return tried(lambda: landing.whole(FILE, lake))


def held(place: Place) -> Held:
    """What a target holds of the month."""
    with place.reader() as read:
        return read()


def in_data(lake: Lake) -> Held | None:
    """What data/ holds for a reader; None while another run replaces it."""
    try:
        with lake.local(data_key(FILE)) as path:
            # `read_table` opens the file twice, and another run may replace it between.
            totals = parquet.ParquetFile(path).read(["total_amount"])["total_amount"].to_pylist()
    except (FileNotFoundError, LakeUnavailable):
        return None
    return Held(len(totals), min(totals), max(totals))


def in_rejects(lake: Lake) -> Held:
    with lake.local(rejects_key(FILE)) as path:
        totals = parquet.read_table(path)["total_amount"].to_pylist()
    return Held(len(totals), min(totals), max(totals))


def assert_consistent(lake: Lake, place: Place, edition: int, sha256: str) -> None:
    """Check that the lake, the target and its ledger hold just the rows of one edition."""
    whole = Held(ACCEPTED, float(edition), float(edition))
    there = landing.whole(FILE, lake)
    assert (there.source_sha256, in_data(lake)) == (sha256, whole)
    assert in_rejects(lake) == whole._replace(rows=REJECTED)
    assert held(place) == whole
    load = place.last_load()
    assert (load.source_sha256, load.rows_loaded) == (sha256, ACCEPTED)
    assert load.rows_read == load.rows_loaded + load.rows_rejected == ACCEPTED + REJECTED


def assert_never_older(seen: Sequence[Held]) -> None:
    """Check that a reader saw whole editions only, each at least as new as the one that it saw before."""
    assert seen, "the reader should have read"
    assert {one.rows for one in seen} == {ACCEPTED}
    assert all(one.lowest == one.highest for one in seen)
    editions = [one.lowest for one in seen]
    assert editions == sorted(editions)
