"""deployments: make a flow's own Dag, and a Dag `{flow}.{name}` for each of its entries in `deployments.yaml`.

    @dag_with_deployments(description=..., tags=[...])
    def ingest_data(lineage: Lineage) -> None: ...

    ingest_data()

The decorator takes what `airflow.sdk.dag` takes; an entry may replace the params' defaults, schedule, queue, pool and
more. A bad entry fails the parse with its name and what was expected.

Every task parses its Dag file again. So a task makes its own Dag alone, of an entry that the Dag processor has checked,
and leaves out what only the scheduler and the web UI use: the schedule, tags, texts and the deadline.
"""

from __future__ import annotations

from copy import copy
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from airflow.sdk import Param, dag, get_parsing_context
from airflow.sdk.exceptions import ParamValidationError

from include.orchestration.assets import ANY, Lineage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow.sdk import DAG
    from airflow.sdk.bases.timetable import BaseTimetable
    from airflow.timetables.base import Timetable

    from include.orchestration.entries import Deployment

ENTRIES = Path(__file__).resolve().parents[1] / "deployments.yaml"

_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # every task reads the file, and C is ten times as fast
_OF_TASKS = ("queue", "pool", "owner")
# The assets of a Dag follow from these params, so an entry that sets one fixes it.
_SERVICE_PARAMS = ("colour", "colours")
_TARGET_PARAM = "target"


# Airflow's safe mode skips files that do not contain "dag" and "airflow"; a Dag file has the first in this name.
def dag_with_deployments(**settings: Any) -> Callable[[Callable[[Lineage], None]], Callable[[], list[DAG]]]:  # noqa: ANN401
    """Turn a function that wires tasks into one that makes its Dag, and a Dag for each of its deployments."""

    def decorate(wire: Callable[[Lineage], None]) -> Callable[[], list[DAG]]:
        @wraps(wire)
        def make() -> list[DAG]:
            of_flow = {"dag_id": wire.__name__} | settings
            wanted = get_parsing_context().dag_id  # in a task; the Dag processor wants them all
            every = _every(of_flow) if wanted is None else _for_a_task(of_flow, wanted)
            return [_made(wire, *each) for each in every]

        return make

    return decorate


def _made(wire: Callable[[Lineage], None], settings: Mapping[str, Any], lineage: Lineage) -> DAG:
    def wired() -> None:
        wire(lineage)

    decorate: Any = dag(**settings)  # noqa: AIR002 - the schedule is in the settings
    made: DAG = decorate(wired)()
    return made


def deployments(path: Path = ENTRIES) -> list[Deployment]:
    """Read every entry of the file.

    Raises:
        ValueError: an entry is not a deployment; the message names it and gives the reason.
    """
    from include.orchestration.entries import checked

    return checked(_read(path), path)


def _read(path: Path) -> Any:  # noqa: ANN401 - YAML may hold anything
    return yaml.load(path.read_text(encoding="utf-8"), _SafeLoader)  # noqa: S506 - a safe one


def _for_a_task(of_flow: Mapping[str, Any], dag_id: str) -> Iterator[tuple[dict[str, Any], Lineage]]:
    """Yield what makes the Dag with this id, if the flow has it."""
    of_flow = {**of_flow, "doc_md": None}
    if dag_id == of_flow["dag_id"]:
        yield of_flow, Lineage()
    elif dag_id.startswith(f"{of_flow['dag_id']}."):
        for entry in _read(ENTRIES):
            if isinstance(entry, dict) and f"{entry.get('flow')}.{entry.get('name')}" == dag_id:
                params = entry.get("params", {})
                yield {**of_flow, **_for_tasks(of_flow, dag_id, params, entry)}, _lineage(params)


def _every(of_flow: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], Lineage]]:
    """Yield what makes the Dag of the flow, and that of each of its entries."""
    from include.orchestration.docs import for_the_ui

    documented = {**of_flow, "doc_md": for_the_ui(of_flow["doc_md"])}
    yield documented, Lineage()
    for entry in deployments():
        if entry.flow == of_flow["dag_id"]:
            yield _whole(documented, entry), _lineage(entry.params)


def _whole(of_flow: Mapping[str, Any], entry: Deployment) -> dict[str, Any]:
    """Return the flow's settings, overridden by all of an entry."""
    from include.orchestration.alerts import deadline_after
    from include.orchestration.docs import for_the_ui
    from include.orchestration.tags import Tag

    return {
        **of_flow,
        **_for_tasks(of_flow, entry.dag_id, entry.params, entry.model_dump(include=set(_OF_TASKS))),
        "description": entry.description,
        "doc_md": f"{for_the_ui(entry.summary)}\n\n---\n\n{of_flow['doc_md']}",
        "schedule": _timetable(entry) or of_flow["schedule"],
        "start_date": entry.start_date,
        "catchup": entry.catchup,
        "is_paused_upon_creation": entry.schedule is not None if entry.paused is None else entry.paused,
        "deadline": None if entry.deadline_hours is None else deadline_after(entry.deadline_hours),
        "max_active_runs": entry.max_active_runs or of_flow["max_active_runs"],
        "tags": [*(set(of_flow["tags"]) - {Tag.FLOW}), Tag.DEPLOYMENT, *entry.tags],
    }


def _for_tasks(
    of_flow: Mapping[str, Any], dag_id: str, params: Mapping[str, Any], entry: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the settings of an entry's Dag that its tasks see."""
    return {
        "dag_id": dag_id,
        "params": _params(of_flow.get("params", {}), params, dag_id),
        "default_args": of_flow["default_args"]
        | {name: entry[name] for name in _OF_TASKS if entry.get(name) is not None},
    }


def _params(of_flow: Mapping[str, Param], values: Mapping[str, Any], dag_id: str) -> dict[str, Param]:
    unknown = sorted(set(values) - set(of_flow))
    if unknown:
        flow = dag_id.partition(".")[0]
        raise ValueError(f"{ENTRIES}: {dag_id}: params {unknown} are not known to {flow}; it has {sorted(of_flow)}")
    params = {name: copy(param) for name, param in of_flow.items()}
    for name, value in values.items():
        try:
            params[name].resolve(value)
        except ParamValidationError as error:
            raise ValueError(f"{ENTRIES}: {dag_id}: param {name}={value!r}: {error}") from error
        if name in (*_SERVICE_PARAMS, _TARGET_PARAM):
            params[name] = _fixed(params[name], value)
    return params


def _fixed(param: Param, value: Any) -> Param:  # noqa: ANN401 - JSON
    """Return the param without any other choice than the value, or than the members of a list."""
    if isinstance(value, list):
        items = {**param.schema["items"], "enum": value}
        schema = param.schema | {"type": "array", "items": items, "examples": value}
    else:
        schema = param.schema | {"enum": [value]}
    return Param(value, param.description, schema=schema)


def _lineage(params: Mapping[str, Any]) -> Lineage:
    """Return the assets that a Dag with these defaults reads and writes."""
    services: list[str] | str = next((params[name] for name in _SERVICE_PARAMS if name in params), [])
    named = [services] if isinstance(services, str) else services
    return Lineage(named[0] if len(named) == 1 else ANY, params.get(_TARGET_PARAM))


def _timetable(entry: Deployment) -> BaseTimetable | Timetable | None:
    if entry.schedule is None:
        return None
    try:
        return entry.schedule.timetable(entry.start)
    except ValueError as error:
        raise ValueError(f"{ENTRIES}: {entry.dag_id}: {error}") from error
