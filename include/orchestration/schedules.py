"""schedules: when a deployment runs. Each kind of schedule of deployments.yaml becomes a timetable of Airflow."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar
from zoneinfo import ZoneInfo

from airflow.sdk import CronPartitionTimetable, CronTriggerTimetable, PartitionedAssetTimetable
from airflow.sdk.definitions.timetables.trigger import DeltaTriggerTimetable
from croniter import croniter
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from include.orchestration.assets import ANY, SERVICES, lake_months

if TYPE_CHECKING:
    from airflow.sdk.bases.timetable import BaseTimetable
    from airflow.timetables.base import Timetable

    from include.nyc_taxi import Month

STRICT = ConfigDict(extra="forbid", frozen=True)

_INTERVAL = re.compile(r"([1-9]\d{0,4})([mhdw])", re.ASCII)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_RULE = re.compile(r"FREQ=(YEARLY|MONTHLY|WEEKLY|DAILY)(;[A-Z]+=[A-Z0-9,+-]+)*", re.ASCII)
_RULE_TIMETABLE = "taxi_timetables.RuleTimetable"
_LAST_WORKING_DAY = "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1"


def _cron(text: str) -> str:
    if not croniter.is_valid(text):
        raise ValueError(f"{text!r} is not a cron expression of five fields")
    return text


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone; expected a name such as America/New_York") from None
    return name


def _interval(text: str) -> str:
    if not _INTERVAL.fullmatch(text):
        raise ValueError(f"{text!r} is not an interval; expected a number and a unit, such as 30m, 6h, 1d or 2w")
    return text


def _rule(text: str) -> str:
    from dateutil.rrule import rrulestr

    expected = f"expected one of RFC 5545 by days, weeks, months or years, such as {_LAST_WORKING_DAY}"
    if not _RULE.fullmatch(text):
        raise ValueError(f"{text!r} is not a rule; {expected}")
    try:
        rrulestr(text, dtstart=datetime(2009, 1, 1))  # noqa: DTZ001 - a rule is in local time
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"{text!r} is not a rule, {error}; {expected}") from None
    return text


def _service(name: str) -> str:
    if name not in {*SERVICES, ANY}:
        raise ValueError(f"{name!r} is not one of the services {sorted(SERVICES)}, nor {ANY!r}")
    return name


class _Kind(BaseModel, ABC):
    """A kind of schedule, and the timetable that it becomes."""

    model_config = STRICT
    is_by_time: ClassVar[bool] = True
    """Whether the clock starts its runs, so that it needs a first month."""

    @property
    @abstractmethod
    def words(self) -> str:
        """When it starts a run, in words."""

    @abstractmethod
    def timetable(self, start: Month | None) -> BaseTimetable | Timetable:
        """Return the timetable, for a Dag whose first month is `start`."""

    def start_date(self, start: Month) -> datetime:
        """Return the start date of that Dag, in UTC."""
        return datetime.combine(start.first_day, time.min, UTC)


class _ByLocalTime(_Kind):
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"

    def start_date(self, start: Month) -> datetime:
        return datetime.combine(start.first_day, time.min, ZoneInfo(self.timezone)).astimezone(UTC)


class ByCron(_ByLocalTime):
    """At the times of a cron expression."""

    cron: Annotated[str, AfterValidator(_cron)]

    @property
    def words(self) -> str:
        return f"by the cron expression `{self.cron}` in {self.timezone}"

    def timetable(self, start: Month | None) -> CronTriggerTimetable:  # noqa: ARG002 - the Dag has it
        return CronTriggerTimetable(self.cron, timezone=self.timezone)


class ByRule(_ByLocalTime):
    """On the days of a recurrence rule of RFC 5545, which counts from the first day of the first month."""

    rule: Annotated[str, AfterValidator(_rule)]

    @property
    def words(self) -> str:
        return f"by the rule `{self.rule}` in {self.timezone}"

    def timetable(self, start: Month | None) -> Timetable:
        from airflow.plugins_manager import get_timetables_plugins

        kind = get_timetables_plugins().get(_RULE_TIMETABLE)
        if kind is None:
            raise ValueError(
                f"rule {self.rule!r}: this Airflow has no timetable {_RULE_TIMETABLE}; expected [core] plugins_folder "
                "to be the folder plugins of this project"
            )
        return kind.deserialize({"rule": self.rule, "timezone": self.timezone, "start": str(start)})


class Every(_Kind):
    """Again when an interval has passed since the last scheduled run, whatever the clock shows."""

    every: Annotated[str, AfterValidator(_interval)]

    @property
    def words(self) -> str:
        return f"every `{self.every}`"

    def timetable(self, start: Month | None) -> DeltaTriggerTimetable:  # noqa: ARG002 - the Dag has it
        number, unit = self.every[:-1], self.every[-1]
        return DeltaTriggerTimetable(timedelta(**{_UNITS[unit]: int(number)}))


class Monthly(_Kind):
    """On the first of each month at 00:00 UTC, for the month that began `lag_months` earlier.

    It is midnight in UTC so that a backfill up to `2022-03-01` includes March.
    """

    lag_months: Annotated[int, Field(ge=1)]

    @property
    def words(self) -> str:
        return f"on the first of each month, for the month that began {self.lag_months} months earlier"

    def timetable(self, start: Month | None) -> CronPartitionTimetable:  # noqa: ARG002 - the Dag has it
        return CronPartitionTimetable("0 0 1 * *", timezone="UTC", run_offset=-self.lag_months, key_format="%Y-%m")

    def start_date(self, start: Month) -> datetime:
        return super().start_date(start + self.lag_months)  # Airflow counts from the day of the run


class OnAsset(_Kind):
    """Whenever a Dag puts a month of this service into the lake, for that month."""

    is_by_time: ClassVar[bool] = False
    asset: Annotated[str, AfterValidator(_service)]

    @property
    def words(self) -> str:
        return f"when a month of {self.asset} {'service ' if self.asset == ANY else ''}is put into the lake"

    def timetable(self, start: Month | None) -> PartitionedAssetTimetable:  # noqa: ARG002 - it has none
        return PartitionedAssetTimetable(assets=lake_months(self.asset))


_KEYS = ("cron", "every", "rule", "lag_months", "asset")


def _spelled_out(value: object) -> object:
    """Read a cron expression alone as one in UTC."""
    return {"cron": value} if isinstance(value, str) else value


def _key(value: Any) -> str | None:  # noqa: ANN401 - YAML may hold anything
    has = (lambda key: key in value) if isinstance(value, dict) else (lambda key: hasattr(value, key))
    return next(filter(has, _KEYS), None)


Schedule = Annotated[
    Annotated[ByCron, Tag("cron")]
    | Annotated[Every, Tag("every")]
    | Annotated[ByRule, Tag("rule")]
    | Annotated[Monthly, Tag("lag_months")]
    | Annotated[OnAsset, Tag("asset")],
    Discriminator(
        _key,
        custom_error_type="schedule",
        custom_error_message=f"expected a cron expression, or one of {', '.join(f'{{{key}: ...}}' for key in _KEYS)}",
    ),
    BeforeValidator(_spelled_out),
]
"""What deployments.yaml has as `schedule`."""
