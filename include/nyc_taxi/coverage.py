"""coverage: which months of which service are in a target, and whether they are right. It only looks.

Four things decide the state of a month: what the publisher has (publications), what the target holds (loads), the last
run for it (attempts, which the orchestrator knows), and the row count once seen in that file.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from include.nyc_taxi import Month, TripFile, catalog
from include.nyc_taxi.order import Order
from include.nyc_taxi.precedence import pin_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping
    from datetime import datetime

    from include.nyc_taxi.publications import Publication
    from include.nyc_taxi.targets.loads import Load

FIRST_MONTH = Month(2009, 1)
_SOURCE = "official"


class State(StrEnum):
    """The state of a month in a target: the first of these that holds."""

    RUNNING = "running"
    FAILED = "failed"
    STALE = "stale"
    COUNT_DIFFERS = "count_differs"
    LOADED = "loaded"
    PUBLISHED = "published"
    NOT_PUBLISHED = "not_published"
    UNKNOWN = "unknown"

    @property
    def description(self) -> str:
        """The state in words."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS = {
    State.RUNNING: "running or queued",
    State.FAILED: "failed since its last load",
    State.STALE: "loaded, and republished since",
    State.COUNT_DIFFERS: "loaded, but the row count differs from the published one",
    State.LOADED: "loaded",
    State.PUBLISHED: "published, not loaded",
    State.NOT_PUBLISHED: "not published",
    State.UNKNOWN: "unknown: nobody has asked the publisher for it",
}


@dataclass(frozen=True)
class Attempt:
    """The last run that was to load a file into a target; `at` is when it ended, or else when it was queued.

    `map_index` is that of the file's tasks in a run for several months, and -1 in a run for one.
    """

    file: TripFile
    state: Literal["queued", "running", "success", "failed"]
    dag_id: str
    run_id: str
    at: datetime
    map_index: int = -1


@dataclass(frozen=True)
class Cell:
    """One month of one service in one target.

    `standing` is what it is whatever runs or failed since: loaded, published, not published or unknown.
    """

    file: TripFile
    state: State
    standing: State
    publication: Publication | None = None
    load: Load | None = None
    attempt: Attempt | None = None

    @property
    def is_due(self) -> bool:
        """Whether the target lacks what is published: the month is not loaded, or was republished since."""
        if self.publication is None:
            return False
        return self.load is None or _is_replaced(self.load, self.publication)


@dataclass(frozen=True)
class Rows:
    """How many rows the loaded files have as they were published, and how many of those are in the target."""

    published: int = 0
    loaded: int = 0

    def __add__(self, other: Rows) -> Rows:
        """Add the rows of other files."""
        return Rows(self.published + other.published, self.loaded + other.loaded)


def coverage(
    published: Mapping[TripFile, Publication],
    loads: Mapping[TripFile, Load],
    attempts: Mapping[TripFile, Attempt],
    until: Month,
    absent: Container[TripFile] = (),
) -> dict[TripFile, Cell]:
    """A cell for every month of every service since 2009, and for any other month that something is known of.

    Args:
        published: the published files.
        loads: the last load of each month that the target holds.
        attempts: the last run for each month.
        until: the current month, which is not over and therefore not published.
        absent: files that the publisher was asked for and did not have.
    """
    expected = {TripFile(name, month) for name in catalog.services() for month in Month.range(FIRST_MONTH, until)}
    cells = {}
    for file in sorted(expected.union(published, loads, attempts)):
        is_absent = file in absent or file.month >= until or _is_before_or_after_all(file)
        cells[file] = _cell(file, published.get(file), loads.get(file), attempts.get(file), is_absent=is_absent)
    return cells


def counts(cells: Iterable[Cell]) -> dict[State, int]:
    """How many months count as each state, in the order of the states.

    A month counts twice where a run or a difference hides what it is: one that was loaded, and failed since, counts as
    loaded and as failed.
    """
    found = Counter(state for cell in cells for state in {cell.state, cell.standing})
    return {state: found[state] for state in State}


def rows_by_year(cells: Iterable[Cell]) -> dict[tuple[str, int], Rows]:
    """The rows of the loaded months of each service and year, in their order."""
    found: dict[tuple[str, int], Rows] = {}
    for cell in sorted(cells, key=lambda cell: cell.file):
        if cell.load is not None:
            year = cell.file.service, cell.file.month.year
            found[year] = found.get(year, Rows()) + Rows(cell.load.rows_read, cell.load.rows_loaded)
    return found


def newest(cells: Iterable[Cell]) -> dict[str, Month]:
    """The newest loaded month of each service that has any."""
    return {cell.file.service: cell.file.month for cell in sorted(cells, key=lambda cell: cell.file) if cell.load}


def backlog(cells: Iterable[Cell]) -> Counter[str]:
    """How many months of each service are due, from the first month on that is loaded; none without a loaded month."""
    found: Counter[str] = Counter()
    begun = set()
    for cell in sorted(cells, key=lambda cell: cell.file):
        if cell.load:
            begun.add(cell.file.service)
        found[cell.file.service] += cell.is_due and cell.file.service in begun
    return found


def _cell(
    file: TripFile, publication: Publication | None, load: Load | None, attempt: Attempt | None, *, is_absent: bool
) -> Cell:
    standing = _standing(publication, load, is_absent=is_absent)
    return Cell(file, _state(standing, publication, load, attempt), standing, publication, load, attempt)


def _is_before_or_after_all(file: TripFile) -> bool:
    """Whether the publisher's files of the service begin after the month or have ended before it."""
    service = catalog.service(file.service)
    last = service.last.get(_SOURCE)
    return file.month < service.eras[_SOURCE][0].since or (last is not None and file.month > last)


def _standing(publication: Publication | None, load: Load | None, *, is_absent: bool) -> State:
    if load is not None:
        return State.LOADED
    if publication is not None:
        return State.PUBLISHED
    return State.NOT_PUBLISHED if is_absent else State.UNKNOWN


def _state(standing: State, publication: Publication | None, load: Load | None, attempt: Attempt | None) -> State:
    if attempt is not None and attempt.state in ("queued", "running"):
        return State.RUNNING
    if attempt is not None and attempt.state == "failed" and (load is None or load.loaded_at < attempt.at):
        return State.FAILED
    if load is None:
        return standing
    if publication is not None and _is_replaced(load, publication):
        return State.STALE
    if load.rows_expected not in (None, load.rows_read):
        return State.COUNT_DIFFERS
    return State.LOADED


def _is_replaced(load: Load, publication: Publication) -> bool:
    """Whether the publisher was seen to have other bytes since the load."""
    if load.source != "official" or pin_of(load.asked_for) or publication.checked_at is None:
        return False
    if publication.checked_at <= load.loaded_at:
        return False
    loaded, offered = (Order("", modified, 0) for modified in (load.source_last_modified, publication.last_modified))
    if loaded.is_after(offered):
        return False  # what the publisher offers has gone back to an older edition
    if load.source_etag is not None and publication.etag is not None:
        return load.source_etag != publication.etag
    return publication.bytes not in (None, load.source_bytes)
