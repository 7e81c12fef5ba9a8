"""entries: what an entry of deployments.yaml may say.

A task does not import this: it takes its entry as the Dag processor has checked it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, model_validator

from include.nyc_taxi import Month
from include.orchestration import tags
from include.orchestration.schedules import STRICT, Schedule

if TYPE_CHECKING:
    from datetime import datetime

    from pydantic_core import ErrorDetails

_BUNDLE = Path(__file__).resolve().parents[2]
# Where the root of the bundle is the folder of Dag files, `include` lies among them.
FLOWS = _BUNDLE / "dags" if (_BUNDLE / "dags").is_dir() else _BUNDLE


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
    def start_date(self) -> datetime | None:
        """The start date of its Dag; None for one that no clock starts."""
        return None if self.start is None or self.schedule is None else self.schedule.start_date(self.start)

    @property
    def summary(self) -> str:
        """What it is, in Markdown."""
        params = ", ".join(f"`{name}={value}`" for name, value in self.params.items())
        return (
            f"{self.description}. It runs {self.runs}.\n\n"
            f"A deployment of `{self.flow}` in `include/deployments.yaml`, with {params or 'the params of the flow'}."
        )

    @model_validator(mode="after")
    def _has_a_start_if_it_needs_one(self) -> Deployment:
        if self.schedule is not None and self.schedule.is_by_time and self.start is None:
            raise ValueError(f"schedule {self.schedule.words} has no start; expected the first month, YYYY-MM")
        if self.schedule is not None and not self.schedule.is_by_time and self.start is not None:
            raise ValueError(f"start={self.start}: a schedule on an asset has none; expected no start")
        if self.catchup and not (self.schedule and self.schedule.is_by_time):
            raise ValueError("catchup=True without a schedule by time; expected cron, every, rule or lag_months")
        return self


def checked(found: Any, path: Path) -> list[Deployment]:  # noqa: ANN401 - YAML may hold anything
    """Return the deployments of what was found in a file.

    Raises:
        ValueError: an entry is not a deployment; the message names it and gives the reason.
    """
    if not isinstance(found, list):
        raise ValueError(f"{path}: {found!r} is not a list of deployments")  # noqa: TRY004 - it is a value of the file
    entries = [_deployment(entry, f"{path}: entry {number}") for number, entry in enumerate(found, start=1)]
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
