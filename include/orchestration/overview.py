"""overview: what this deployment holds of each month in a target: the core's coverage with its stores and its runs.

The page and `make status` show it. Airflow is asked through its REST API, so a person sees the runs of those Dags
that they may see.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk.exceptions import AirflowException
from google.auth.exceptions import GoogleAuthError

from include.nyc_taxi import Month, TripFile, coverage, publications, targets
from include.nyc_taxi.errors import TaxiError
from include.orchestration import connections
from include.orchestration.airflow_api import AirflowUnavailable
from include.orchestration.attempts import attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from include.nyc_taxi.coverage import Cell
    from include.nyc_taxi.targets import Target
    from include.nyc_taxi.targets.loads import Load
    from include.orchestration.airflow_api import AirflowApi

log = logging.getLogger(__name__)

_Known = TypeVar("_Known")


@dataclass(frozen=True)
class Overview:
    """The cells of a target, and a sentence about each part that did not answer.

    If the target does not answer, no cell is loaded. Without `runs_are_known`, none is running or failed, and without
    `published_are_known` none is published or republished.
    """

    target: Target[Any, Any]
    cells: Mapping[TripFile, Cell]
    problems: tuple[str, ...]
    target_answers: bool
    runs_are_known: bool
    published_are_known: bool


def overview(target: Target[Any, Any], api: AirflowApi | None) -> Overview:
    """Return the state of every month in the target. Parts that do not answer become problems; the rest is there.

    Args:
        target: the target to look at.
        api: Airflow as the person sees it; None if there is no API server to ask.
    """
    problems: list[str] = []
    listed = answer(
        lambda: publications.listed(connections.lake()),
        problems,
        "The published months are unknown: the lake does not answer.",
    )
    loads = answer(
        lambda: held(target),
        problems,
        f"The loaded months are unknown: {target.title} does not answer ({target.connected_by}).",
    )
    runs = None
    if api is not None:
        runs = answer(
            lambda: attempts(api, target, loads or {}),
            problems,
            "Running and failed loads are unknown: Airflow's API does not answer.",
        )
    published, absent = listed or ({}, {})
    cells = coverage.coverage(published, loads or {}, runs or {}, Month.of(datetime.now(UTC)), absent)
    return Overview(
        target,
        cells,
        tuple(problems),
        target_answers=loads is not None,
        runs_are_known=runs is not None,
        published_are_known=listed is not None,
    )


def held(target: Target[Any, Any]) -> dict[TripFile, Load]:
    """Return the last load of each month that the target holds."""
    with connections.opened(target, read_only=True) as client:
        return target.loads(client)


def warm_up() -> None:
    """Ask every configured target once, so that imports are done and caches filled before the first view."""
    for target in targets.every():
        if connections.is_configured(target):
            overview(target, None)


def as_json(seen: Overview) -> dict[str, Any]:
    """Return counts, and by service the state of every month and what it is whatever runs, for a program."""
    months: dict[str, dict[str, str]] = {}
    standings: dict[str, dict[str, str]] = {}
    published: Counter[str] = Counter()
    loaded: Counter[str] = Counter()
    for file, cell in seen.cells.items():
        months.setdefault(file.service, {})[str(file.month)] = cell.state
        standings.setdefault(file.service, {})[str(file.month)] = cell.standing
        published[file.service] += bool(cell.publication or cell.load)
        loaded[file.service] += cell.load is not None
    return {
        "target": seen.target.name,
        "problems": seen.problems,
        "target_answers": seen.target_answers,
        "runs_are_known": seen.runs_are_known,
        "counts": coverage.counts(seen.cells.values()),
        "published": published,
        "held": loaded,
        "rows": _rows_by_service(seen),
        "months": months,
        "standings": standings,
    }


def _rows_by_service(seen: Overview) -> dict[str, dict[str, dict[str, int]]]:
    by_service: dict[str, dict[str, dict[str, int]]] = {}
    for (service, year), rows in coverage.rows_by_year(seen.cells.values()).items():
        by_service.setdefault(service, {})[str(year)] = asdict(rows)
    return by_service


def answer(ask: Callable[[], _Known], problems: list[str], problem: str) -> _Known | None:
    """Return the answer of a part of the deployment; if there is none, add the problem to the others."""
    try:
        return ask()
    except (TaxiError, AirflowException, AirflowUnavailable, GoogleAuthError, ValueError, OSError) as error:
        log.warning("overview: %s %s: %s", problem, type(error).__name__, error)
        problems.append(f"{problem} See the API server's log ({type(error).__name__}).")
        return None
