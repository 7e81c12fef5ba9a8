"""sync_steps: the steps of `sync_published_months`. Import this inside a task."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from include.nyc_taxi import Month, TripFile, coverage, publications, targets
from include.orchestration import alerts, connections, steps
from include.orchestration.editions import republished
from include.orchestration.retries import reported

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

    from include.nyc_taxi.coverage import Cell
    from include.orchestration.requests import Scope
    from include.orchestration.xcoms import Surveyed

log = logging.getLogger(__name__)


@reported
def survey(scope: Scope, *, max_files: int, retry_delay: timedelta) -> Surveyed:
    """Ask the publisher what is new, and check up to `max_files` older files for changes."""
    steps.check_set_up(scope.services[0], source=scope.source, destination=scope.destination)
    found = publications.survey(
        connections.lake(),
        source=scope.source,
        base_url=connections.base_url(scope.source),
        redirect_hosts=connections.redirect_hosts(scope.source),
        services=scope.services,
        since=scope.since,
        recheck=max_files,
        pause=retry_delay.total_seconds(),
    )
    return {"published": len(found.published), "asked": found.asked, "stopped": found.stopped}


@reported
def choose(scope: Scope, *, max_files: int) -> list[str]:
    """Choose the files to load in this run, the newest first: those that a survey has seen and that are not loaded."""
    due = [cell for cell in _due(_compare(scope)) if cell.publication and cell.publication.checked_at]
    chosen = [cell.file.name for cell in due[:max_files]]
    log.info("loading %d files: %s", len(chosen), ", ".join(chosen) or "nothing is new")
    return chosen


@reported
def report(scope: Scope, *, survey: Surveyed | None, chosen: Sequence[str], alert_after_months: int) -> str:
    """Say in one line what the run loaded and what remains, and alert if a service's newest month is old.

    Args:
        scope: what the run keeps up to date.
        survey: what the run's survey found; None if it failed.
        chosen: the files that the run was to load.
        alert_after_months: the age of a newest month, in months, that is too old.
    """
    cells = _compare(scope)
    due = {cell.file.name for cell in _due(cells)}
    loaded = [name for name in chosen if name not in due]
    loaded_months = coverage.newest(cells)
    newest = {service: loaded_months.get(service) for service in scope.services}
    line = (
        f"loaded {len(loaded)} of {len(chosen)} files ({', '.join(loaded) or 'none'}); {len(due)} remaining; "
        f"newest: {', '.join(f'{service} {month}' for service, month in newest.items())}"
    )
    if survey is None or survey["stopped"]:
        line += f"; the survey ended early: {survey['stopped'] if survey else 'it failed'}"
    changes = republished(connections.lake(), [TripFile.parse(name) for name in loaded], scope.source)
    line = "; ".join([line, *changes])
    log.info("%s", line)
    _alert_if_old(newest, Month.of(datetime.now(UTC)) - alert_after_months)
    return line


def _compare(scope: Scope) -> list[Cell]:
    """Compare what is published with what the target holds in its default tables, month by month."""
    place = targets.get(scope.destination.target)
    with connections.opened(place) as client:
        loads = place.own_loads(client, scope.destination.namespace)
    known = publications.known(connections.lake(), scope.source)
    cells = coverage.coverage(known, loads, attempts={}, until=Month.of(datetime.now(UTC))).values()
    return [
        cell
        for cell in cells
        if cell.file.service in scope.services and (scope.since is None or cell.file.month >= scope.since)
    ]


def _due(cells: Iterable[Cell]) -> list[Cell]:
    """The months that are published, and not loaded or republished since; the newest first."""
    due = [cell for cell in cells if cell.is_due]
    return sorted(due, key=lambda cell: cell.file.month, reverse=True)


def _alert_if_old(newest: Mapping[str, Month | None], oldest_good: Month) -> None:
    old = [f"{service} {month or 'none'}" for service, month in newest.items() if month is None or month < oldest_good]
    if old:
        alerts.send("the newest month is old", f"{', '.join(old)}; expected {oldest_good} or later")
