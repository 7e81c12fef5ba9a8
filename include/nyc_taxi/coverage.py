"""coverage: which months of which service lie where, and whether they are right. It only looks.

Four things decide the state of a month in a target: what the publisher has (publications), what the target holds
(loads), what was tried last (attempts, which an orchestrator knows), and what was once counted in that file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from psycopg.rows import dict_row

from include.nyc_taxi import Month, TripFile, catalog, landing
from include.nyc_taxi.lake import data_key
from include.nyc_taxi.targets.postgres import errors_told
from include.nyc_taxi.targets.sql_files import sql_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import psycopg

    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.landing import Landed
    from include.nyc_taxi.publications import Publication

FIRST_MONTH = Month(2009, 1)
_FOOTERS_AT_A_TIME = 16


class State(StrEnum):
    """What is the case with a month in a target; where several hold, the first of them."""

    RUNNING = "running"
    FAILED = "failed"
    STALE = "stale"
    COUNT_DIFFERS = "count_differs"
    LOADED = "loaded"
    PUBLISHED = "published"
    NOT_PUBLISHED = "not_published"

    @property
    def says(self) -> str:
        """The state in words."""
        return _SAYS[self]


_SAYS = {
    State.RUNNING: "a run is loading it, or waits to",
    State.FAILED: "the last run failed",
    State.STALE: "loaded, and replaced by the publisher since",
    State.COUNT_DIFFERS: "loaded, with another count than was once seen in that file",
    State.LOADED: "loaded",
    State.PUBLISHED: "published, not loaded",
    State.NOT_PUBLISHED: "not published",
}


@dataclass(frozen=True)
class Load:
    """What a target holds of a trip file: a row of its ledger, or what the lake's own file says.

    `table` is the table, or the file's address in the lake. `seconds`, `dag_id` and `run_id` are null in the lake,
    whose files do not say who wrote them.
    """

    file: TripFile
    target: str
    target_table: str
    loaded_at: datetime
    source_url: str
    source_etag: str | None
    source_sha256: str
    source_bytes: int
    rows_read: int
    rows_loaded: int
    rows_rejected: int
    rejected_by_reason: Mapping[str, int]
    schema_era: str
    quality_profile: str
    rule_hits: Mapping[str, int] | None = None
    rows_expected: int | None = None
    seconds: float | None = None
    dag_id: str | None = None
    run_id: str | None = None

    @property
    def source(self) -> str:
        """The source of the file, which the name of an era begins with."""
        return self.schema_era.rsplit("-", 2)[0]


@dataclass(frozen=True)
class Attempt:
    """The last run that was to load a file into a target; `at` is when it ended, or was asked for."""

    file: TripFile
    state: Literal["queued", "running", "success", "failed"]
    dag_id: str
    run_id: str
    at: datetime


@dataclass(frozen=True)
class Cell:
    """One month of one service in one target."""

    file: TripFile
    state: State
    publication: Publication | None = None
    load: Load | None = None
    attempt: Attempt | None = None


def coverage(
    published: Mapping[TripFile, Publication],
    loads: Mapping[TripFile, Load],
    attempts: Mapping[TripFile, Attempt],
    until: Month,
) -> dict[TripFile, Cell]:
    """A cell for every month of every service from 2009 on, and for what lies outside of that."""
    expected = {TripFile(name, month) for name in catalog.services() for month in Month.range(FIRST_MONTH, until)}
    return {
        file: _cell(file, published.get(file), loads.get(file), attempts.get(file))
        for file in sorted(expected.union(published, loads, attempts))
    }


def counts(cells: Iterable[Cell]) -> dict[State, int]:
    """How many months are in each state, in the order of the states."""
    found = Counter(cell.state for cell in cells)
    return {state: found[state] for state in State}


def loads_in_warehouse(connection: psycopg.Connection[Any]) -> dict[TripFile, Load]:
    """The last load of each file whose partition is there, of the service's own table before others.

    Raises:
        WarehouseBusy: the connection broke, or the question took too long.
        WarehouseRefused: a right is missing.
    """
    with errors_told("load_ledger"), connection.cursor(row_factory=dict_row) as cursor:
        ledger = cursor.execute("SELECT to_regclass('load_ledger') AS name").fetchone()
        if ledger == {"name": None}:
            return {}
        return loads_of(cursor.execute(_text("last_loads")))


def loads_of(ledger: Iterable[Mapping[str, Any]]) -> dict[TripFile, Load]:
    """The rows of a ledger, whichever database keeps it; of several rows of one file, the last in order."""
    loads = {}
    for row in ledger:
        file = TripFile(row["service"], Month.parse(row["month"]))
        known = {name: row[name] for name in _LOAD_FIELDS if name in row}
        loads[file] = Load(file=file, **known)
    return loads


_LOAD_FIELDS = {field.name for field in fields(Load)} - {"file"}

Footers = MutableMapping[object, "Load | None"]


def loads_in_lake(lake: Lake, footers: Footers | None = None) -> dict[TripFile, Load]:
    """What the files of data/ say of themselves, where they are of one pass with their rejects.

    `footers` keeps what was read of files that have not changed since, so that a second look costs a listing only.
    """
    footers = {} if footers is None else footers
    accepted, rejected = _listed(lake, "data"), _listed(lake, "rejects")
    stamps = {file: (file, stamp, rejected.get(file)) for file, stamp in accepted.items()}
    unread = [file for file, stamp in stamps.items() if stamp not in footers]
    with ThreadPoolExecutor(_FOOTERS_AT_A_TIME) as pool:
        for file, landed in zip(unread, pool.map(lambda file: landing.landed(lake, file), unread), strict=True):
            footers[stamps[file]] = _load_in_lake(lake, file, landed, accepted[file]) if landed else None
    return {file: load for file, stamp in stamps.items() if (load := footers[stamp]) is not None}


def _load_in_lake(lake: Lake, file: TripFile, landed: Landed, stamp: _Stamp) -> Load:
    known = {name: value for name, value in asdict(landed).items() if name in _LOAD_FIELDS}
    return Load(
        file=file,
        target="lake",
        target_table=lake.url(data_key(file)),
        loaded_at=stamp.changed_at,
        rows_loaded=landed.rows_accepted,
        **known,
    )


@dataclass(frozen=True)
class _Stamp:
    """What a listing says of an object; equal stamps mean equal bytes."""

    bytes: int
    etag: str | None
    changed_at: datetime


def _listed(lake: Lake, zone: str) -> dict[TripFile, _Stamp]:
    """The trip files of a zone of the lake."""
    lake.fs.invalidate_cache()
    stamps = {}
    for path, info in lake.fs.find(lake.path(zone), detail=True).items():
        with suppress(ValueError):  # a file of another name is not ours
            stamps[TripFile.parse_key(path)] = _Stamp(info["size"], info.get("etag"), _changed_at(info))
    return stamps


def _changed_at(info: Mapping[str, Any]) -> datetime:
    """When an object was written, which file systems spell in their own ways."""
    changed = info.get("mtime", info.get("created"))
    return changed if isinstance(changed, datetime) else datetime.fromtimestamp(changed or 0, UTC)


def _cell(file: TripFile, publication: Publication | None, load: Load | None, attempt: Attempt | None) -> Cell:
    return Cell(file, _state(publication, load, attempt), publication, load, attempt)


def _state(publication: Publication | None, load: Load | None, attempt: Attempt | None) -> State:
    if attempt is not None and attempt.state in ("queued", "running"):
        return State.RUNNING
    if attempt is not None and attempt.state == "failed" and (load is None or load.loaded_at < attempt.at):
        return State.FAILED
    if load is None:
        return State.NOT_PUBLISHED if publication is None else State.PUBLISHED
    if publication is not None and _is_replaced(load, publication):
        return State.STALE
    if load.rows_expected not in (None, load.rows_read):
        return State.COUNT_DIFFERS
    return State.LOADED


def _is_replaced(load: Load, publication: Publication) -> bool:
    """Whether the publisher has other bytes than were loaded, as seen since they were."""
    if load.source != "official" or publication.checked_at is None or publication.checked_at <= load.loaded_at:
        return False
    if load.source_etag is not None and publication.etag is not None:
        return load.source_etag != publication.etag
    return publication.bytes not in (None, load.source_bytes)


@cache
def _text(name: str) -> str:
    return sql_file("include.nyc_taxi.targets.postgres", f"{name}.sql")
