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
from include.nyc_taxi.editions import Order
from include.nyc_taxi.precedence import pin_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from include.nyc_taxi.publications import Publication
    from include.nyc_taxi.targets.ledger import Load

FIRST_MONTH = Month(2009, 1)


class State(StrEnum):
    """The state of a month in a target: the first of these that holds."""

    RUNNING = "running"
    FAILED = "failed"
    STALE = "stale"
    COUNT_DIFFERS = "count_differs"
    LOADED = "loaded"
    PUBLISHED = "published"
    NOT_PUBLISHED = "not_published"

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
}


@dataclass(frozen=True)
class Attempt:
    """The last run that was to load a file into a target; `at` is when it ended, or else when it was queued."""

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
    """A cell for every month of every service since 2009, and for any other month that something is known of."""
    expected = {TripFile(name, month) for name in catalog.services() for month in Month.range(FIRST_MONTH, until)}
    return {
        file: _cell(file, published.get(file), loads.get(file), attempts.get(file))
        for file in sorted(expected.union(published, loads, attempts))
    }


def counts(cells: Iterable[Cell]) -> dict[State, int]:
    """How many months are in each state, in the order of the states."""
    found = Counter(cell.state for cell in cells)
    return {state: found[state] for state in State}


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
