"""overview: the core's coverage over this deployment: its warehouse, its lake and its runs.

The coverage page and `make status` show it. It reads Airflow's own database, so it is for the API server and for the
command line, and never for a task.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XCOM_RETURN_KEY, XComModel
from airflow.sdk.exceptions import AirflowException
from airflow.utils.session import create_session
from google.auth.exceptions import GoogleAuthError
from sqlalchemy import select

from include.nyc_taxi import Month, TripFile, coverage, publications
from include.nyc_taxi.coverage import Attempt, Cell
from include.nyc_taxi.errors import TaxiError
from include.orchestration import connections
from include.orchestration.deployments import deployments
from include.orchestration.params import trip_file_params
from include.orchestration.requests import month_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from airflow.sdk import Context
    from sqlalchemy.orm import Session

    from include.nyc_taxi.coverage import Footers, Load
    from include.nyc_taxi.publications import Publication

log = logging.getLogger(__name__)

# The DAG that brings one month into each target.
LOADED_BY = {"postgres": "ingest_data", "lake": "etl_web_to_gcs", "bigquery": "etl_gcs_to_bq"}


@dataclass(frozen=True)
class _ManyMonths:
    """A flow that brings several months in a run: which task names them, and the target where a run says none."""

    named_by: str
    target: str


_MANY_MONTHS = {
    "etl_parent_flow": _ManyMonths("which_months", "none"),
    "sync_published_months": _ManyMonths("choose_files", "postgres"),
}
# The last task of such a month, by where it is to be, and what its end means for the month.
_LAST_TASK = {"postgres": "load", "lake": "write_gcs", "bigquery": "load"}
_ENDS: dict[str | None, Literal["success", "failed"]] = {
    "success": "success",
    "failed": "failed",
    "upstream_failed": "failed",
}
_RUNS_LOOKED_AT = 5000
_RUNS_OF_MANY_MONTHS_LOOKED_AT = 100
_footers: Footers = {}
_Known = TypeVar("_Known")


@dataclass(frozen=True)
class Overview:
    """The cells of a target, and in words what could not be asked. Without the target's answer no cell is loaded."""

    target: str
    cells: Mapping[TripFile, Cell]
    problems: tuple[str, ...]
    target_answers: bool


def overview(target: str, session: Session, may_see: Callable[[str], bool] = lambda _dag_id: True) -> Overview:
    """What is known of every month in the target. What cannot be asked is said, and the rest is there all the same.

    `may_see` says of a DAG, by its id, whether its runs may be told of.
    """
    problems: list[str] = []
    published = _asked(_published, problems)
    loads = _asked(_LOADS[target], problems)
    runs = attempts(session, target, may_see)
    cells = coverage.coverage(published or {}, loads or {}, runs, Month.of(datetime.now(UTC)))
    return Overview(target, cells, tuple(problems), target_answers=loads is not None)


def look_once() -> None:
    """Have everything imported and every footer of the lake read that the first look would wait for."""
    with create_session() as session:
        for target in LOADED_BY:
            if target != "bigquery" or connections.has_cloud():
                overview(target, session)


def as_json(seen: Overview) -> dict[str, Any]:
    """Counts, and the state of every month by service, for a program."""
    months: dict[str, dict[str, str]] = {}
    published: Counter[str] = Counter()
    held: Counter[str] = Counter()
    for file, cell in seen.cells.items():
        months.setdefault(file.service, {})[str(file.month)] = cell.state
        published[file.service] += bool(cell.publication or cell.load)
        held[file.service] += cell.load is not None
    counts = coverage.counts(seen.cells.values())
    return {
        "target": seen.target,
        "problems": seen.problems,
        "target_answers": seen.target_answers,
        "counts": counts,
        "published": published,
        "held": held,
        "months": months,
    }


def attempts(
    session: Session, target: str, may_see: Callable[[str], bool] = lambda _dag_id: True
) -> dict[TripFile, Attempt]:
    """The last run that was to bring each file into the target, by hand or of a deployment, where it may be seen."""
    flows = (LOADED_BY[target], *_MANY_MONTHS)
    params: dict[str, dict[str, Any]] = {flow: {} for flow in flows}
    params |= {each.dag_id: each.params for each in deployments() if each.flow in flows}
    columns = (DagRun.id, DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.conf)
    keys = (DagRun.partition_key, DagRun.logical_date)
    times = (DagRun.end_date, DagRun.start_date, DagRun.queued_at)
    query = (
        select(*columns, *keys, *times)
        .where(DagRun.dag_id.in_(filter(may_see, params)))
        .order_by(DagRun.id.desc())
        .limit(_RUNS_LOOKED_AT)
    )
    runs = session.execute(query).all()
    asked = {run.id: {**params[run.dag_id], **(run.conf or {})} for run in runs}
    of_many = [run for run in runs if _brings_many(run.dag_id, asked[run.id], target)][:_RUNS_OF_MANY_MONTHS_LOOKED_AT]
    months = _months_of(session, of_many, _LAST_TASK[target])
    found: dict[TripFile, Attempt] = {}
    for run in runs:
        for attempt in months[run.id] if run.id in months else _attempt_of_one(run, asked[run.id]):
            found.setdefault(attempt.file, attempt)
    return found


def _brings_many(dag_id: str, asked: Mapping[str, Any], target: str) -> bool:
    """Whether a run brings several months, and into the target; the lake is on the way to every other one."""
    flow = _MANY_MONTHS.get(_flow(dag_id))
    return flow is not None and target in ("lake", asked.get("target", flow.target))


def _attempt_of_one(run: Any, asked: Mapping[str, Any]) -> Iterator[Attempt]:  # noqa: ANN401 - a row of runs
    if _flow(run.dag_id) not in _MANY_MONTHS:
        with suppress(ValueError, TypeError):  # a run that asks for no month of ours
            file = _file_of(asked, run.partition_key, run.logical_date)
            yield Attempt(file, run.state, run.dag_id, run.run_id, run.end_date or _begin(run))


def _months_of(session: Session, runs: Sequence[Any], last_task: str) -> dict[int, list[Attempt]]:
    """What became of each month of these runs, by the run's id; of none before the run has named its months."""
    ids = [run.id for run in runs]
    names = session.execute(
        select(XComModel.dag_run_id, XComModel.value).where(
            XComModel.dag_run_id.in_(ids),
            XComModel.task_id.in_(flow.named_by for flow in _MANY_MONTHS.values()),
            XComModel.key == XCOM_RETURN_KEY,
        )
    )
    tasks = session.execute(
        select(DagRun.id, TaskInstance.map_index, TaskInstance.state, TaskInstance.end_date)
        .join(TaskInstance.dag_run)
        .where(DagRun.id.in_(ids), TaskInstance.task_id == last_task, TaskInstance.state.in_(_ENDS))
    )
    named = {row.dag_run_id: XComModel.deserialize_value(row) for row in names}
    ended = {(task.id, task.map_index): (_ENDS[task.state], task.end_date) for task in tasks}
    return {
        run.id: [
            Attempt(TripFile.parse(name), state, run.dag_id, run.run_id, at or _begin(run))
            for index, name in enumerate(named.get(run.id) or [])
            for state, at in [ended.get((run.id, index), (run.state, run.end_date))]
        ]
        for run in runs
    }


def _flow(dag_id: str) -> str:
    return dag_id.partition(".")[0]


def _begin(run: Any) -> datetime:  # noqa: ANN401 - a row of runs
    return run.start_date or run.queued_at or datetime.now(UTC)


def _file_of(conf: Mapping[str, Any], partition_key: str | None, logical_date: datetime | None) -> TripFile:
    """The file that a run is for, as its tasks will find it."""
    params = {name: param.value for name, param in trip_file_params().items()} | dict(conf)
    context = {"params": params, "partition_key": partition_key, "logical_date": logical_date}
    return TripFile(params["colour"], month_of(cast("Context", context)))


def _asked(ask: Callable[[], dict[TripFile, _Known]], problems: list[str]) -> dict[TripFile, _Known] | None:
    """The answer; where there is none, a word on why is added to the problems."""
    try:
        return ask()
    except (TaxiError, AirflowException, GoogleAuthError, ValueError, OSError) as error:
        log.warning("coverage: %s: %s", type(error).__name__, error)
        problems.append(f"{_CANNOT_BE_ASKED[ask]} The API server's log says why ({type(error).__name__}).")
        return None


def _published() -> dict[TripFile, Publication]:
    return publications.known(connections.lake())


def _loads_in_postgres() -> dict[TripFile, Load]:
    with closing(connections.warehouse_reader()) as connection:
        return coverage.loads_in_warehouse(connection)


def _loads_in_lake() -> dict[TripFile, Load]:
    return coverage.loads_in_lake(connections.lake(), _footers)


def _loads_in_bigquery() -> dict[TripFile, Load]:
    from include.nyc_taxi.targets import bigquery

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
