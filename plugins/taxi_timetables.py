"""A timetable for rules that cron cannot express, such as "the last working day of the month".

Airflow's EventsTimetable takes a list of dates, and loses one whenever the Dag is parsed between the date and its run.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pendulum
from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.base import DagRunInfo, DataInterval, Timetable

if TYPE_CHECKING:
    from airflow.timetables.base import TimeRestriction
    from pendulum import DateTime


class RuleTimetable(Timetable):
    """Starts a run at each date of a recurrence rule of RFC 5545.

    Args:
        rule: the rule, such as `FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1`.
        timezone: the zone whose clock the rule means.
        start: the month that the rule counts from, YYYY-MM.
    """

    def __init__(self, rule: str, *, timezone: str, start: str) -> None:
        from dateutil.rrule import rrulestr

        self._rule, self._timezone, self._start = rule, timezone, start
        self._dates = rrulestr(rule, dtstart=datetime.fromisoformat(f"{start}-01"))

    @property
    def summary(self) -> str:
        """The rule, for the list of Dags."""
        return f"{self._rule} {self._timezone}"

    def serialize(self) -> dict[str, Any]:
        """Return what `deserialize` takes."""
        return {"rule": self._rule, "timezone": self._timezone, "start": self._start}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Timetable:
        """Return the timetable that was serialized."""
        return cls(data["rule"], timezone=data["timezone"], start=data["start"])

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        """Return no more than the moment itself, as cron has it."""
        return DataInterval.exact(run_after)

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the next date after the last run; without catchup, none before the last date that has passed."""
        last, earliest = last_automated_data_interval, restriction.earliest
        candidates = [self._after(last.end) if last else None, self._after(earliest, inclusive=True)]
        if not restriction.catchup:
            candidates.append(self._before(pendulum.now("UTC")))
        if last and candidates[0] is None:
            return None
        found = max(filter(None, candidates), default=None)
        if found is None or (restriction.latest is not None and found > restriction.latest):
            return None
        return DagRunInfo.exact(found)

    def _after(self, moment: DateTime | None, *, inclusive: bool = False) -> DateTime | None:
        local = datetime.min if moment is None else self._local(moment)  # noqa: DTZ901 - a rule is in local time
        return self._moment(self._dates.after(local, inc=inclusive))

    def _before(self, moment: DateTime) -> DateTime | None:
        return self._moment(self._dates.before(self._local(moment), inc=True))

    def _local(self, moment: DateTime) -> datetime:
        return datetime.fromtimestamp(moment.timestamp(), ZoneInfo(self._timezone)).replace(tzinfo=None)

    def _moment(self, local: datetime | None) -> DateTime | None:
        if local is None:
            return None
        return pendulum.instance(local.replace(tzinfo=ZoneInfo(self._timezone)).astimezone(UTC))


class TaxiTimetables(AirflowPlugin):
    """Makes the timetable known to every process of Airflow."""

    name = "taxi_timetables"
    timetables = [RuleTimetable]
