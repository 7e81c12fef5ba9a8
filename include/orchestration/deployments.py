"""deployments: make a flow's own Dag, and a Dag `{flow}.{name}` for each of its entries in `deployments.yaml`.

    @dag_with_deployments(description=..., tags=[...])
    def ingest_data(lineage: Lineage) -> None: ...

    ingest_data()

The decorator takes what `airflow.sdk.dag` takes; an entry may replace the params' defaults, schedule, queue, pool and
more. A bad entry fails the parse with its name and what was expected.
"""

from __future__ import annotations

from collections import Counter
from copy import copy
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from airflow.sdk import Param, dag, get_parsing_context
from airflow.sdk.exceptions import ParamValidationError
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, model_validator

from include.nyc_taxi import Month
from include.orchestration import tags
from include.orchestration.alerts import deadline_after
from include.orchestration.assets import ANY, Lineage
from include.orchestration.docs import for_the_ui
from include.orchestration.schedules import STRICT, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from airflow.sdk import DAG
    from airflow.sdk.bases.timetable import BaseTimetable
    from airflow.timetables.base import Timetable
    from pydantic_core import ErrorDetails

ENTRIES = Path(__file__).resolve().parents[1] / "deployments.yaml"
FLOWS = ENTRIES.parents[1] / "dags"

_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # every task reads the file, and C is ten times as fast
_OF_TASKS = {"queue", "pool", "owner"}
# The assets of a Dag follow from these params, so an entry that sets one fixes it.
_SERVICE_PARAMS = ("colour", "colours")
_TARGET_PARAM = "target"


def _flow(name: str) -> str:
    flows = sorted(path.stem for path in FLOWS.glob("*.py"))
    if name not in flows:
        raise ValueError(f"{name!r} is not one of the flows {flows}")
    return name


def _tag(name: str) -> str:
    if name not in tags.KNOWN:
        raise ValueError(f"{name!r} is not one of the tags {sorted(tags.KNOWN)}")
    return name


class Deployment(BaseModel):
    """An entry of the file: a flow under another name, with other defaults."""

    model_config = STRICT

    flow: Annotated[str, AfterValidator(_flow)]
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    description: str
    params: dict[str, Any] = {}
    schedule: Schedule | None = None
    start: Annotated[Month, BeforeValidator(Month.parse)] | None = None
    catchup: bool = False
    paused: bool | None = None
    queue: str | None = None
    pool: str | None = None
    owner: str | None = None
    tags: list[Annotated[str, AfterValidator(_tag)]] = []
    max_active_runs: Annotated[int, Field(ge=1)] | None = None
    deadline_hours: Annotated[float, Field(gt=0)] | None = None

    @property
    def dag_id(self) -> str:
        """The id of its Dag."""
        return f"{self.flow}.{self.name}"

    @property
    def runs(self) -> str:
        """When it is scheduled, in words."""
        return "when triggered" if self.schedule is None else self.schedule.words

    @property
    def lineage(self) -> Lineage:
        """The assets that its Dag reads and writes."""
        services: list[str] | str = next((self.params[name] for name in _SERVICE_PARAMS if name in self.params), [])
        named = [services] if isinstance(services, str) else services
        return Lineage(named[0] if len(named) == 1 else ANY, self.params.get(_TARGET_PARAM))

    @model_validator(mode="after")
    def _has_a_start_if_it_needs_one(self) -> Deployment:
        if self.schedule is not None and self.schedule.is_by_time and self.start is None:
            raise ValueError(f"schedule {self.schedule.words} has no start; expected the first month, YYYY-MM")
        if self.schedule is not None and not self.schedule.is_by_time and self.start is not None:
            raise ValueError(f"start={self.start}: a schedule on an asset has none; expected no start")
        if self.catchup and not (self.schedule and self.schedule.is_by_time):
            raise ValueError("catchup=True without a schedule by time; expected cron, every, rule or lag_months")
        return self

    def settings(self, of_flow: Mapping[str, Any]) -> dict[str, Any]:
        """The flow's settings, overridden by those of this entry."""
        return {
            **of_flow,
            "dag_id": self.dag_id,
            "description": self.description,
            "doc_md": f"{for_the_ui(self._summary())}\n\n---\n\n{of_flow['doc_md']}",
            "params": self._params(of_flow.get("params", {})),
            "schedule": self._timetable() or of_flow["schedule"],
            "start_date": self._start_date(),
            "catchup": self.catchup,
            "is_paused_upon_creation": self.schedule is not None if self.paused is None else self.paused,
            "deadline": None if self.deadline_hours is None else deadline_after(self.deadline_hours),
            "max_active_runs": self.max_active_runs or of_flow["max_active_runs"],
            "default_args": of_flow["default_args"] | self.model_dump(include=_OF_TASKS, exclude_none=True),
            "tags": [*(set(of_flow["tags"]) - {tags.Tag.FLOW}), tags.Tag.DEPLOYMENT, *self.tags],
        }

    def _summary(self) -> str:
        params = ", ".join(f"`{name}={value}`" for name, value in self.params.items())
        return (
            f"{self.description}. It runs {self.runs}.\n\n"
            f"A deployment of `{self.flow}` in `include/deployments.yaml`, with {params or 'the params of the flow'}."
        )

    def _params(self, of_flow: Mapping[str, Param]) -> dict[str, Param]:
        unknown = sorted(set(self.params) - set(of_flow))
        if unknown:
            raise ValueError(
                f"{ENTRIES}: {self.dag_id}: params {unknown} are not known to {self.flow}; it has {sorted(of_flow)}"
            )
        params = {name: copy(param) for name, param in of_flow.items()}
        for name, value in self.params.items():
            try:
                params[name].resolve(value)
            except ParamValidationError as error:
                raise ValueError(f"{ENTRIES}: {self.dag_id}: param {name}={value!r}: {error}") from error
            if name in (*_SERVICE_PARAMS, _TARGET_PARAM):
                params[name] = _fixed(params[name], value)
        return params

    def _timetable(self) -> BaseTimetable | Timetable | None:
        if self.schedule is None:
            return None
        try:
            return self.schedule.timetable(self.start)
        except ValueError as error:
            raise ValueError(f"{ENTRIES}: {self.dag_id}: {error}") from error

    def _start_date(self) -> datetime | None:
        if self.start is None or self.schedule is None:
            return None
        return self.schedule.start_date(self.start)


def _fixed(param: Param, value: Any) -> Param:  # noqa: ANN401 - JSON
    """Return the param without any other choice than the value, or than the members of a list."""
    if isinstance(value, list):
        items = {**param.schema["items"], "enum": value}
        schema = param.schema | {"type": "array", "items": items, "examples": value}
    else:
        schema = param.schema | {"enum": [value]}
    return Param(value, param.description, schema=schema)


# Airflow's safe mode skips files that do not contain "dag" and "airflow"; a Dag file has the first in this name.
def dag_with_deployments(**settings: Any) -> Callable[[Callable[[Lineage], None]], Callable[[], list[DAG]]]:  # noqa: ANN401
    """Turn a function that wires tasks into one that makes its Dag, and a Dag for each of its deployments."""

    def decorate(wire: Callable[[Lineage], None]) -> Callable[[], list[DAG]]:
        @wraps(wire)
        def make() -> list[DAG]:
            of_flow = {"dag_id": wire.__name__} | settings | {"doc_md": for_the_ui(settings["doc_md"])}
            wanted = get_parsing_context().dag_id  # in a task; the DAG processor wants them all
            entries = [entry for entry in deployments(wanted=wanted) if entry.flow == wire.__name__]
            own = [(of_flow, Lineage())] if wanted in (None, wire.__name__) else []
            every = own + [(entry.settings(of_flow), entry.lineage) for entry in entries]
            return [_made(wire, *each) for each in every]

        return make

    return decorate


def _made(wire: Callable[[Lineage], None], settings: Mapping[str, Any], lineage: Lineage) -> DAG:
    def wired() -> None:
        wire(lineage)

    decorate: Any = dag(**settings)  # noqa: AIR002 - the schedule is in the settings
    made: DAG = decorate(wired)()
    return made


def deployments(path: Path = ENTRIES, *, wanted: str | None = None) -> list[Deployment]:
    """Read every entry of the file, or only that of the wanted Dag.

    Raises:
        ValueError: an entry is not a deployment; the message names it and gives the reason.
    """
    found = yaml.load(path.read_text(encoding="utf-8"), _SafeLoader)  # noqa: S506 - a safe one
    if not isinstance(found, list):
        raise ValueError(f"{path}: {found!r} is not a list of deployments")  # noqa: TRY004 - it is a value of the file
    entries = [
        _deployment(entry, f"{path}: entry {number}")
        for number, entry in enumerate(found, start=1)
        if wanted in (None, _name(entry))
    ]
    twice = [dag_id for dag_id, count in Counter(entry.dag_id for entry in entries).items() if count > 1]
    if twice:
        raise ValueError(f"{path}: {twice} are in it more than once")
    return entries


def _deployment(entry: Any, where: str) -> Deployment:  # noqa: ANN401 - YAML may hold anything
    try:
        return Deployment.model_validate(entry)
    except ValidationError as error:
        raise ValueError(f"{where}, {_name(entry)}: {'; '.join(map(_reason, error.errors()))}") from None


def _reason(error: ErrorDetails) -> str:
    """Say which key has which value, and what was expected."""
    first, *rest = map(str, error["loc"]) if error["loc"] else ("",)
    place = ".".join((first, *(rest[1:] if first == "schedule" else rest)))  # the key that decided its kind comes twice
    said = error["msg"].removeprefix("Value error, ")
    if not place:
        return said
    if error["type"] == "missing" or (error["type"] == "value_error" and repr(error["input"]) in said):
        return f"{place}: {said}"
    return f"{place}={error['input']!r}: {said}"


def _name(entry: Any) -> str:  # noqa: ANN401 - as above
    return f"{entry.get('flow')}.{entry.get('name')}" if isinstance(entry, dict) else repr(entry)
