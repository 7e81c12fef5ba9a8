"""attempts: the runs that load months into a target, as Airflow's REST API reports them.

A run is for one month, or for several. Then each month has its own mapped task instances, whose label names the month,
such as `green-2024-01`. A run of which nobody said the month is for the one that the labels of its tasks name.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, cast

from include.nyc_taxi import Month, TripFile, targets
from include.nyc_taxi.coverage import Attempt
from include.orchestration.deployments import ENTRIES, deployments
from include.orchestration.params import trip_file_params
from include.orchestration.requests import chosen_date, requested_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from include.nyc_taxi.targets import Target
    from include.nyc_taxi.targets.loads import Load
    from include.orchestration.airflow_api import AirflowApi, DagRun, MappedTask
    from include.orchestration.entries import Deployment


@dataclass(frozen=True)
class FlowOfSeveralMonths:
    """A flow whose runs load several months each."""

    named_by: str
    """The task that returns the names of the months' files."""
    target: str
    """The default of its param `target`."""
    landing_task: str
    """The task that puts a month into the lake."""


FLOWS_OF_SEVERAL_MONTHS = {
    "etl_parent_flow": FlowOfSeveralMonths("which_months", "none", "write_gcs"),
    "sync_published_months": FlowOfSeveralMonths("choose_files", "postgres", "land"),
}
LOADING_TASK = "load"
"""The task of these flows that ends a month's load into any target but the lake."""

_UNDER_WAY = ("queued", "running")
_ENDS: dict[str, Literal["success", "failed"]] = {
    "success": "success",
    "failed": "failed",
    "upstream_failed": "failed",
}
# Where a person marks a run as failed, Airflow skips the tasks that had not begun.
_IN_ENDED_RUNS: dict[Literal["success", "failed"], list[str]] = {
    "success": ["success"],
    "failed": ["failed", "skipped"],
}
_MOST_RUNS = 5000
_MOST_MONTHS_OF_A_FLOW = 500
_MOST_RUNS_WITHOUT_A_MONTH = 100


def loading_dags() -> list[str]:
    """Return the Dags that load months into any target: the flows, and then their deployments."""
    flows = dict.fromkeys([*(target.loaded_by for target in targets.every()), *FLOWS_OF_SEVERAL_MONTHS])
    return [*flows, *(each.dag_id for each in _deployments(ENTRIES.stat().st_mtime_ns) if each.flow in flows)]


def flows_of(target: Target[Any, Any]) -> list[str]:
    """Return the flows that load into the target unless a run names another one."""
    several = (name for name, flow in FLOWS_OF_SEVERAL_MONTHS.items() if targets.get(flow.target) is target)
    return [target.loaded_by, *several]


def attempts(
    api: AirflowApi, target: Target[Any, Any], loads: Mapping[TripFile, Load] | None = None
) -> dict[TripFile, Attempt]:
    """Return for each month the attempt to load it into the target: the one under way, or else the last to end.

    Successes matter only if they came after a failure that would show without them, so most of them are left out.
    """
    flows = _Flows(api, target)
    found = list(flows.unsettled())
    failed = [each.at for each in _last(found).values() if _shows(each, loads or {})]
    if failed:
        found += flows.succeeded(since=min(failed))
    return _last(found)


def _last(found: Iterable[Attempt]) -> dict[TripFile, Attempt]:
    return {each.file: each for each in sorted(found, key=lambda each: (each.state in _UNDER_WAY, each.at))}


def _shows(attempt: Attempt, loads: Mapping[TripFile, Load]) -> bool:
    """Whether a month would be shown as failed."""
    load = loads.get(attempt.file)
    return attempt.state == "failed" and (load is None or load.loaded_at < attempt.at)


@lru_cache(maxsize=1)
def _deployments(_changed_at: int) -> list[Deployment]:
    return deployments()  # reading the file takes longer than asking for the runs


class _Flows:
    """The flows that load into a target, with their deployments, and their runs."""

    def __init__(self, api: AirflowApi, target: Target[Any, Any]) -> None:
        self._api = api
        self._target = target
        flows = (target.loaded_by, *FLOWS_OF_SEVERAL_MONTHS)
        self._params: dict[str, dict[str, Any]] = {flow: {} for flow in flows}
        entries = _deployments(ENTRIES.stat().st_mtime_ns)
        self._params |= {each.dag_id: each.params for each in entries if each.flow in flows}
        self._of_several: dict[tuple[str, str], DagRun] = {}
        self._names: dict[str, list[str]] = {}

    def unsettled(self) -> Iterator[Attempt]:
        """The months that are under way or failed."""
        yield from self._of_one_month((*_UNDER_WAY, "failed"))
        yield from self._mapped("failed")
        for run in self._of_several.values():
            if run.state in _UNDER_WAY:
                yield from self._months_of(run)

    def succeeded(self, since: datetime) -> Iterator[Attempt]:
        """The months that ended well since then."""
        yield from self._of_one_month(("success",), since)
        yield from self._mapped("success", since)

    def _of_one_month(self, states: tuple[str, ...], since: datetime | None = None) -> Iterator[Attempt]:
        """The runs in these states that are for one month. Those for several are kept for a look at their tasks."""
        without_month = []
        for run in self._api.runs(self._params, states, most=_MOST_RUNS, ended_since=since):
            asked = {**self._params[run.dag_id], **run.conf}
            if (several := FLOWS_OF_SEVERAL_MONTHS.get(_flow(run.dag_id))) is None:
                with suppress(ValueError, TypeError):  # a run whose params are wrong
                    if file := _file_of(asked, run):
                        yield _attempt(file, run)
                    else:
                        without_month.append(run)
            elif self._target.is_the_lake or asked.get("target", several.target) == self._target.name:
                self._of_several[run.dag_id, run.run_id] = run
        yield from self._of_the_newest_month(without_month[:_MOST_RUNS_WITHOUT_A_MONTH])

    def _of_the_newest_month(self, runs: Sequence[DagRun]) -> Iterator[Attempt]:
        """The runs of which nobody said the month, once their first task has found the newest."""
        labels = self._api.labels(runs)
        for run in runs:
            if file := _labelled(labels.get((run.dag_id, run.run_id), "")):
                yield _attempt(file, run)

    def _mapped(self, state: Literal["success", "failed"], since: datetime | None = None) -> Iterator[Attempt]:
        """The months that ended in the state in those runs of several that ended."""
        ended = {key: run for key, run in self._of_several.items() if run.state not in _UNDER_WAY}
        for dag_id in sorted({dag_id for dag_id, _ in ended}):
            task_id = self._last_task(dag_id) if state == "success" else None
            tasks = self._api.mapped_tasks(
                dag_id, states=_IN_ENDED_RUNS[state], task_id=task_id, ended_since=since, most=_MOST_MONTHS_OF_A_FLOW
            )
            for task in tasks:
                run = ended.get((dag_id, task.run_id))
                is_another_target = self._target.is_the_lake and task.task_id == LOADING_TASK
                if run is not None and not is_another_target and (file := self._file_at(run, task)):
                    yield Attempt(file, state, dag_id, task.run_id, task.ended_at, task.map_index)

    def _months_of(self, run: DagRun) -> Iterator[Attempt]:
        """Each month of a run under way, as its last task has it; none before the run has named them."""
        files = [TripFile.parse(name) for name in self._names_of(run)]
        tasks = self._api.mapped_tasks(
            run.dag_id, run.run_id, states=list(_ENDS), task_id=self._last_task(run.dag_id), most=len(files)
        )
        ends = {task.map_index: task for task in tasks}
        for index, file in enumerate(files):
            end = ends.get(index)
            state, at = (_ENDS[end.state], end.ended_at) if end else (run.state, run.at)
            yield Attempt(file, cast("Any", state), run.dag_id, run.run_id, at, index)

    def _last_task(self, dag_id: str) -> str:
        """The task of a Dag of several months that ends a month for the target."""
        return FLOWS_OF_SEVERAL_MONTHS[_flow(dag_id)].landing_task if self._target.is_the_lake else LOADING_TASK

    def _file_at(self, run: DagRun, task: MappedTask) -> TripFile | None:
        """The file of a mapped task; one that was killed or never began has no label."""
        if file := _labelled(task.label):
            return file
        names = self._names_of(run)
        return TripFile.parse(names[task.map_index]) if task.map_index < len(names) else None

    def _names_of(self, run: DagRun) -> list[str]:
        if run.run_id not in self._names:
            task = FLOWS_OF_SEVERAL_MONTHS[_flow(run.dag_id)].named_by
            self._names[run.run_id] = self._api.returned(run, task) or []
        return self._names[run.run_id]


def _attempt(file: TripFile, run: DagRun) -> Attempt:
    return Attempt(file, cast("Any", run.state), run.dag_id, run.run_id, run.at)


def _flow(dag_id: str) -> str:
    """The flow of a Dag, which may be a deployment of it."""
    return dag_id.partition(".")[0]


def _labelled(label: str) -> TripFile | None:
    """The file that a task's label names, such as `green-2024-01`."""
    service, _, month = label.partition("-")
    with suppress(ValueError):
        return TripFile(service, Month.parse(month))
    return None


def _file_of(asked: Mapping[str, Any], run: DagRun) -> TripFile | None:
    """The file that a run is for, as its tasks will find it; None if nobody said the month, and it takes the newest.

    Raises:
        ValueError, TypeError: the params are wrong.
    """
    params = {name: param.value for name, param in trip_file_params().items()} | dict(asked)
    return requested_file(params, run.partition_key, chosen_date(run.logical_date, run.at))
