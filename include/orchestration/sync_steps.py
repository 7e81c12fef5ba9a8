"""sync_steps: the adapters between a run of `sync_published_months` and the core. Import this inside a task."""

from __future__ import annotations

import logging
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from include.nyc_taxi import Month, coverage, publications
from include.nyc_taxi.coverage import State
from include.nyc_taxi.targets import postgres
from include.orchestration import alerts, connections
from include.orchestration.assets import PUBLISHED_MONTHS
from include.orchestration.requests import refuse_unknown_params

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow.sdk import Context

    from include.nyc_taxi import TripFile
    from include.nyc_taxi.coverage import Cell

log = logging.getLogger(__name__)


def survey(context: Context) -> dict[str, Any]:
    """Ask the publisher what is new; returns how many files are published, and why the survey ended early if it did."""
    refuse_unknown_params(context)
    params = context["params"]
    found = publications.survey(
        connections.lake(),
        source=params["source"],
        base_url=connections.base_url(params["source"]),
        services=params["colours"],
        since=_since(params),
        recheck=params["max_files_per_run"],
        pause=context["task"].retry_delay.total_seconds(),
    )
    return {"published": len(found.published), "asked": found.asked, "stopped": found.stopped}


def choose(context: Context) -> list[str]:
    """The files to bring in this run, the newest first: published, as a survey has seen, and not so in the target."""
    params = context["params"]
    due = [cell for cell in _due(_cells(params)) if cell.publication and cell.publication.checked_at]
    chosen = [cell.file.name for cell in due[: params["max_files_per_run"]]]
    log.info("bringing %d files: %s", len(chosen), ", ".join(chosen) or "nothing is new")
    return chosen


def report(context: Context, survey: Mapping[str, Any] | None, chosen: list[str] | None) -> str:
    """What was done and what is still to do, in one line, by asking the target again; and alert where it is old."""
    params = context["params"]
    cells = _cells(params)
    still_due = {cell.file.name for cell in _due(cells)}
    brought = [name for name in chosen or [] if name not in still_due]
    newest = {
        service: max((cell.file.month for cell in cells if cell.load and cell.file.service == service), default=None)
        for service in params["colours"]
    }
    line = (
        f"brought {len(brought)} of {len(chosen or [])} files ({', '.join(brought) or 'none'}); "
        f"still to do: {len(still_due)}; "
        f"newest: {', '.join(f'{service} {month}' for service, month in newest.items())}"
    )
    if survey is None or survey["stopped"]:
        line += f"; the survey ended early: {survey['stopped'] if survey else 'it failed'}"
    log.info("%s", line)
    context["outlet_events"][PUBLISHED_MONTHS].extra = {"note": line}
    _alert_where_old(newest, Month.of(datetime.now(UTC)) - params["alert_after_months"])
    return line


def _alert_where_old(newest: Mapping[str, Month | None], oldest_good: Month) -> None:
    old = [f"{service} {month or 'none'}" for service, month in newest.items() if month is None or month < oldest_good]
    if old:
        alerts.tell("the newest month is old", f"{', '.join(old)}; expected {oldest_good} or later")


def _cells(params: Mapping[str, Any]) -> list[Cell]:
    """What is to be kept in step, month by month."""
    known = publications.known(connections.lake(), params["source"])
    cells = coverage.coverage(known, _loads(params), attempts={}, until=Month.of(datetime.now(UTC))).values()
    since = _since(params)
    return [
        cell for cell in cells if cell.file.service in params["colours"] and (since is None or cell.file.month >= since)
    ]


def _loads(params: Mapping[str, Any]) -> dict[TripFile, coverage.Load]:
    """What the target holds, in the tables into which this flow loads."""
    own: Callable[[str], object]
    match params["target"]:
        case "postgres":
            own = postgres.Table.of_service
            with closing(connections.warehouse()) as connection:
                loads = coverage.loads_in_warehouse(connection)
        case "bigquery":
            from include.nyc_taxi.targets import bigquery

            own = partial(bigquery.Table.of_service, dataset=params["dataset"])
            loads = coverage.loads_of(bigquery.last_loads(connections.bigquery_client(), params["dataset"]))
        case _:
            return coverage.loads_in_lake(connections.lake())
    return {file: load for file, load in loads.items() if load.target_table == str(own(file.service))}


def _due(cells: Iterable[Cell]) -> list[Cell]:
    due = [cell for cell in cells if cell.state in (State.PUBLISHED, State.STALE)]
    return sorted(due, key=lambda cell: cell.file.month, reverse=True)


def _since(params: Mapping[str, Any]) -> Month | None:
    return None if params["since"] is None else Month.parse(params["since"])
