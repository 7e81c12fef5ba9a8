"""overview: the core's coverage over this deployment: its warehouse, its lake and its runs.

The coverage page and `make status` show it. It reads Airflow's own database, so it is for the API server and for the
command line, and never for a task.
"""

from __future__ import annotations

import logging
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from airflow.models.dagrun import DagRun
from airflow.sdk.exceptions import AirflowException
from google.auth.exceptions import GoogleAuthError
from sqlalchemy import select

from include.nyc_taxi import Month, TripFile, coverage, published
from include.nyc_taxi.coverage import Attempt, Cell
from include.nyc_taxi.errors import TaxiError
from include.orchestration import connections
from include.orchestration.deployments import deployments
from include.orchestration.params import trip_file_params
from include.orchestration.requests import month_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow.sdk import Context
    from sqlalchemy.orm import Session

    from include.nyc_taxi.coverage import Footers, Load
    from include.nyc_taxi.published import Publication

log = logging.getLogger(__name__)

# The DAG that brings one month into each target.
LOADED_BY = {"postgres": "ingest_data", "lake": "etl_web_to_gcs", "bigquery": "etl_gcs_to_bq"}
_RUNS_LOOKED_AT = 5000
_footers: Footers = {}
_Known = TypeVar("_Known")


@dataclass(frozen=True)
class Overview:
    """The cells of a target, and in words what could not be asked."""

    target: str
    cells: Mapping[TripFile, Cell]
    problems: tuple[str, ...]


def overview(target: str, session: Session, *, with_runs: bool = True) -> Overview:
    """What is known of every month in the target. What cannot be asked is said, and the rest is there all the same."""
    problems: list[str] = []
    published = _asked(_published, problems)
    loads = _asked(_LOADS[target], problems)
    runs = attempts(session, LOADED_BY[target]) if with_runs else {}
    cells = coverage.coverage(published, loads, runs, Month.of(datetime.now(UTC)))
    return Overview(target, cells, tuple(problems))


def as_json(seen: Overview) -> dict[str, Any]:
    """Counts, and the state of every month by service, for a program."""
    months: dict[str, dict[str, str]] = {}
    for file, cell in seen.cells.items():
        months.setdefault(file.service, {})[str(file.month)] = cell.state
    counts = coverage.counts(seen.cells.values())
    return {"target": seen.target, "problems": seen.problems, "counts": counts, "months": months}


def attempts(session: Session, dag_id: str) -> dict[TripFile, Attempt]:
    """The last run of the flow for each file, by hand or of one of its deployments."""
    params = {deployment.dag_id: deployment.params for deployment in deployments() if deployment.flow == dag_id}
    columns = (DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.conf, DagRun.partition_key, DagRun.logical_date)
    times = (DagRun.end_date, DagRun.start_date, DagRun.queued_at)
    query = (
        select(*columns, *times)
        .where(DagRun.dag_id.in_([dag_id, *params]))
        .order_by(DagRun.id.desc())
        .limit(_RUNS_LOOKED_AT)
    )
    found: dict[TripFile, Attempt] = {}
    for run in session.execute(query):
        with suppress(ValueError, TypeError):  # a run that asks for no month of ours
            asked = {**params.get(run.dag_id, {}), **(run.conf or {})}
            file = _file_of(asked, run.partition_key, run.logical_date)
            at = run.end_date or run.start_date or run.queued_at or datetime.now(UTC)
            found.setdefault(file, Attempt(file, run.state, run.dag_id, run.run_id, at))
    return found


def _file_of(conf: Mapping[str, Any], partition_key: str | None, logical_date: datetime | None) -> TripFile:
    """The file that a run is for, as its tasks will find it."""
    params = {name: param.value for name, param in trip_file_params().items()} | dict(conf)
    context = {"params": params, "partition_key": partition_key, "logical_date": logical_date}
    return TripFile(params["colour"], month_of(cast("Context", context)))


def _asked(ask: Callable[[], dict[TripFile, _Known]], problems: list[str]) -> dict[TripFile, _Known]:
    """The answer; where there is none, an empty one, and a word on why."""
    try:
        return ask()
    except (TaxiError, AirflowException, GoogleAuthError, ValueError, OSError) as error:
        log.warning("coverage: %s: %s", type(error).__name__, error)
        problems.append(f"{_CANNOT_BE_ASKED[ask]} The API server's log says why ({type(error).__name__}).")
        return {}


def _published() -> dict[TripFile, Publication]:
    return published.known(connections.lake())


def _loads_in_postgres() -> dict[TripFile, Load]:
    with closing(connections.warehouse_reader()) as connection:
        return coverage.loads_in_warehouse(connection)


def _loads_in_lake() -> dict[TripFile, Load]:
    return coverage.loads_in_lake(connections.lake(), _footers)


def _loads_in_bigquery() -> dict[TripFile, Load]:
    from include.nyc_taxi import bigquery

    return coverage.loads_of(bigquery.last_loads(connections.bigquery_client(), bigquery.DEFAULT_DATASET))


_LOADS: dict[str, Callable[[], dict[TripFile, Load]]] = {
    "postgres": _loads_in_postgres,
    "lake": _loads_in_lake,
    "bigquery": _loads_in_bigquery,
}
_CANNOT_BE_ASKED: dict[Callable[[], Any], str] = {
    _published: "What is published cannot be told: the lake does not answer.",
    _loads_in_postgres: "What is loaded cannot be told: the warehouse does not answer (connection taxi_warehouse).",
    _loads_in_lake: "What is loaded cannot be told: the lake does not answer (Variable taxi_lake).",
    _loads_in_bigquery: "What is loaded cannot be told: BigQuery does not answer (connection taxi_gcp).",
}
