"""tasks: what a process of the campaign does: one task of a flow, by the steps that the Dags call.

The process is forked from one that has imported everything, so that it costs a tenth of a second. It tells the
campaign where it is, and goes on when it is told so.
"""

from __future__ import annotations

import os
import resource
import sys
import traceback
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from devtools.faults import clock
from devtools.faults.points import instrument

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.connection import Connection

    from include.orchestration.requests import Destination, Reading

PRELOADED = [
    "devtools.faults.tasks",
    "include.orchestration.steps",
    "include.orchestration.zone_steps",
    "include.nyc_taxi.targets.postgres.load",
    "include.nyc_taxi.targets.bigquery.load",
    "include.nyc_taxi.targets.duckdb.load",
    "include.nyc_taxi.targets.lake.loads",
    "airflow.providers.postgres.hooks.postgres",
    "airflow.providers.google.cloud.hooks.bigquery",
    "airflow.providers.google.cloud.fs.gcs",
    "gcsfs",
    "pandas",
]
GO_ON, POINT, RETURNED, RAISED = "go on", "point", "returned", "raised"


@dataclass(frozen=True)
class Wanted:
    """What a run is asked for, as the params of a flow say it."""

    file: str
    target: str
    namespace: str | None = None
    source: str = "official"
    edition: str | None = None
    force: bool = False
    quality: str = "notes"
    unknown_columns: str = "error"
    cache_ttl_seconds: float = 0.0
    asked_at: str | None = None


@dataclass(frozen=True)
class Conditions:
    """What a process finds: variables, limits of the operating system, and a clock that is wrong by some seconds.

    `more_memory_bytes` is what the process may take beyond what it has when it begins. `stalled_seconds` is after how
    many seconds without a byte the publisher counts as stalled. `log` takes what the process prints.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    more_memory_bytes: int | None = None
    largest_file_bytes: int | None = None
    user: int | None = None
    clock_is_off_by: float = 0.0
    stalled_seconds: float = 10.0
    log: Path = Path(os.devnull)


def perform(link: Connection, names: list[str], wanted: Wanted, given: Any, conditions: Conditions) -> None:
    """Run some tasks one after the other, each with what the one before returned, and tell how the last one ended."""
    _meet(conditions)
    instrument(lambda point: _stop(link, point))
    try:
        for name in names:
            given = TASKS[name](wanted, given)
    except BaseException as error:  # noqa: BLE001 - it is told to the campaign, as Airflow tells it to its policy
        from include.orchestration.retries import RETRY_POLICY

        action = RETRY_POLICY.evaluate(error, 1, 1).action.value
        link.send((RAISED, type(error).__name__, str(error), action, traceback.format_exc()))
    else:
        link.send((RETURNED, given))


def _stop(link: Connection, point: str) -> None:
    link.send((POINT, point))
    link.recv()


def _meet(conditions: Conditions) -> None:
    from include.nyc_taxi import download
    from include.nyc_taxi.lake.folder import Folder
    from include.nyc_taxi.targets.postgres import load

    # A limit on files is one on the log too.
    _print_to(conditions.log if conditions.largest_file_bytes is None else Path(os.devnull))
    os.environ.update(conditions.environment)
    # Nobody waits for a campaign as long as for a load.
    download.fetch = partial(download.fetch, timeout=conditions.stalled_seconds, pause=0.0)
    assert load.replace_month.__kwdefaults__ is not None  # noqa: S101 - it has them
    load.replace_month.__kwdefaults__["patience"] = load.Patience(attempts=8, lock_seconds=0.3, pause_seconds=0.1)
    Folder.__init__.__defaults__ = (3.0,)
    if conditions.user is not None:
        os.setuid(conditions.user)
    clock.set_off(conditions.clock_is_off_by)
    if conditions.more_memory_bytes is not None:
        most = psutil.Process().memory_info().vms + conditions.more_memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    if conditions.largest_file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (conditions.largest_file_bytes,) * 2)


def _print_to(log: Path) -> None:
    with log.open("a") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())


def _reading(wanted: Wanted) -> Reading:
    from include.nyc_taxi.precedence import Wish
    from include.orchestration.requests import Reading

    wish = Wish.of(wanted.asked_at, edition=wanted.edition, force=wanted.force)
    options: Any = {"quality": wanted.quality, "unknown_columns": wanted.unknown_columns, "force": wanted.force}
    return Reading(wish, **options)


def _destination(wanted: Wanted) -> Destination:
    from include.orchestration.requests import Destination

    return Destination(wanted.target, namespace=wanted.namespace)


def _check_set_up(wanted: Wanted, _: Any) -> None:
    from include.orchestration import steps
    from include.orchestration.requests import service_of

    steps.check_set_up(service_of(wanted.file), source=wanted.source, destination=_destination(wanted))


def _download(wanted: Wanted, _: Any) -> Any:
    from datetime import timedelta

    from include.orchestration import steps

    ttl = timedelta(seconds=wanted.cache_ttl_seconds)
    return steps.download(wanted.file, source=wanted.source, edition=wanted.edition, cache_ttl=ttl, force=wanted.force)


def _land(wanted: Wanted, raw: Any) -> Any:
    from include.orchestration import steps

    return steps.land(raw["file"], source=raw["source"], edition=raw["edition"], reading=_reading(wanted))


def _stage(wanted: Wanted, raw: Any) -> Any:
    from include.orchestration import steps

    return steps.stage(raw["file"], source=raw["source"], edition=raw["edition"], reading=_reading(wanted))


def _check(wanted: Wanted, staged: Any) -> Any:
    from include.orchestration import steps

    return steps.check(staged, reading=_reading(wanted))


def _commit(wanted: Wanted, staged: Any) -> Any:
    from include.orchestration import steps

    return steps.commit(staged, reading=_reading(wanted))


def _load(wanted: Wanted, landed: Any) -> Any:
    from include.nyc_taxi.precedence import Run
    from include.orchestration import steps

    run = Run("campaign", "run", _reading(wanted).wish)
    return steps.load(landed, _destination(wanted), run=run, force=wanted.force)


def _fetch_zones(_: Wanted, __: Any) -> Any:
    from include.orchestration import zone_steps

    return zone_steps.download()


def _land_zones(_: Wanted, __: Any) -> Any:
    from include.orchestration import zone_steps

    return zone_steps.land()


def _load_zones(_: Wanted, __: Any) -> Any:
    from include.orchestration import zone_steps

    return zone_steps.load("postgres")


def _ingest_data(wanted: Wanted, _: Any) -> Any:
    from devtools.faults.airflow_runs import run_dag
    from include.nyc_taxi import TripFile

    file = TripFile.parse(wanted.file)
    conf = {"colour": file.service, "year": file.month.year, "month": file.month.month, "cache_ttl_hours": 0}
    return run_dag(INGEST_DATA, conf, "load_data")


CHECK_SET_UP, DOWNLOAD, LAND, STAGE, CHECK, COMMIT, LOAD = (
    "check_set_up",
    "download",
    "land",
    "stage",
    "check",
    "commit",
    "load",
)
FETCH_ZONES, LAND_ZONES, LOAD_ZONES = "fetch_zones", "land_zones", "load_zones"
INGEST_DATA = "ingest_data"
TASKS: dict[str, Callable[[Wanted, Any], Any]] = {
    CHECK_SET_UP: _check_set_up,
    DOWNLOAD: _download,
    LAND: _land,
    STAGE: _stage,
    CHECK: _check,
    COMMIT: _commit,
    LOAD: _load,
    FETCH_ZONES: _fetch_zones,
    LAND_ZONES: _land_zones,
    LOAD_ZONES: _load_zones,
    INGEST_DATA: _ingest_data,
}
RETRIES = {name: 1 if name in (LAND, STAGE, CHECK) else 3 for name in TASKS} | {INGEST_DATA: 0}
"""As the Dags have them; Airflow itself retries the tasks of a whole Dag."""
