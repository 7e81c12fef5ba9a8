"""attempt_logs: the task that an attempt is at or failed in, and what its log says, from Airflow's REST API."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from include.nyc_taxi.progress import reached

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from include.nyc_taxi.coverage import Attempt
    from include.orchestration.airflow_api import AirflowApi, TaskTry

# The states of a task that say where a run is, the most telling first.
_UNDER_WAY = ("running", "up_for_retry", "deferred", "up_for_reschedule", "restarting", "queued", "scheduled")
_TRIED = ("running", "up_for_retry", "failed")
_FAILED = ("failed",)
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Step:
    """The task that an attempt is at, or failed in.

    `error` is the first line of the error that ended its last try. `amount` is how far it has come, such as
    `34,000 of 56,039 rows`, and `percent` the same as a number from 0 to 100. Each is None if the log does not say.
    """

    task_id: str
    state: str
    error: str | None = None
    amount: str | None = None
    percent: int | None = None


def step_of(api: AirflowApi, attempt: Attempt) -> Step | None:
    """Return the task that an attempt is at, or failed in; None if it has none, or if the user may not see it."""
    tries = api.tries(attempt.dag_id, attempt.run_id, attempt.map_index)
    last = _last(tries, _FAILED if attempt.state == "failed" else _UNDER_WAY)
    if last is None or last.state is None:
        return None
    messages = api.log(last) if last.state in _TRIED else []
    if last.state != "running":
        return Step(last.task_id, last.state, error=_error(messages))
    return _running(last.task_id, messages)


def _running(task_id: str, messages: Sequence[dict[str, Any]]) -> Step:
    found = (reached(message["event"]) for message in reversed(messages))
    last = next(filter(None, found), None)
    return Step(task_id, "running", None, *last) if last else Step(task_id, "running")


def _last(tries: Iterable[TaskTry], states: Sequence[str]) -> TaskTry | None:
    """The try in the first of these states that any has; of several, the last."""
    found = [each for each in tries if each.state in states]
    return max(found, key=lambda each: (-states.index(each.state or ""), each.at or _NEVER), default=None)


def _error(messages: Sequence[dict[str, Any]]) -> str | None:
    """The exception that ended a try, in one line; without one, what was logged as an error last."""
    for message in reversed(messages):
        if details := message.get("error_detail"):
            return _first_line(f"{details[0]['exc_type']}: {details[0]['exc_value']}")
    errors = [message["event"] for message in messages if message.get("level") in ("error", "critical")]
    return _first_line(errors[-1]) if errors else None


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
