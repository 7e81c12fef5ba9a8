"""flow: run a Dag as `airflow dags test` does, in a process of its own, and show the lines that matter."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from textwrap import indent
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from devtools.environment import BUNDLE, ROOT
from devtools.run import AIRFLOW, log_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OUR_LOGGERS = "include."
A_TASK_STARTS = "[DAG TEST] starting task_id="
LAST_TASK = "load"  # of each month, in etl_parent_flow
IS_DONE = re.compile(r"\w+_tripdata_[\d-]+: (loaded |\S+ is up to date)")


class Line(NamedTuple):
    """A line of Airflow's log: what it tells, who tells it, and the errors with it."""

    event: str
    logger: str
    errors: tuple[str, ...] = ()

    @property
    def task(self) -> str | None:
        """The task that starts, if the line tells that."""
        return self.event.removeprefix(A_TASK_STARTS).split()[0] if self.event.startswith(A_TASK_STARTS) else None

    @property
    def is_ours(self) -> bool:
        """Whether a task of this bundle tells it."""
        return self.logger.startswith(OUR_LOGGERS)


def run(dag: str, conf: Mapping[str, Any], environment: Mapping[str, str], show: Callable[[Line], None]) -> float:
    """Run the Dag, show each line of its log, and return the seconds that its tasks took; exit with 1 if it fails."""
    log = log_file("demo")
    print(f"running: airflow dags test {dag} -c '{json.dumps(conf)}'", flush=True)
    # Without its bundle's name, Airflow would write every Dag to the database twice.
    command = [*AIRFLOW, "dags", "test", "--bundle-name", BUNDLE, dag, "-c", json.dumps(conf)]
    started: float | None = None
    with (
        log.open("w") as whole,
        subprocess.Popen(
            command,
            env={**environment, "AIRFLOW__LOGGING__JSON_LOGS": "True"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as flow,
    ):
        assert flow.stdout is not None  # noqa: S101 - it is a PIPE
        for text in flow.stdout:
            whole.write(text)
            if line := _line(text):
                started = started or (monotonic() if line.is_ours else None)
                show(line)
    if flow.returncode:
        sys.exit(f"\nthe flow failed; its whole log is in {log.relative_to(ROOT)}")
    return monotonic() - (started or monotonic())


def show_all(line: Line) -> None:
    """Show the tasks of one month, and what each tells."""
    if line.task:
        _say(line.task)
    elif line.is_ours:
        _say_under_task(line.event)
    _show_errors(line)


class Months:
    """Shows several months that go through one Dag: each task once, and a line for each month that is done."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.done = 0
        self.task: str | None = None

    def show(self, line: Line) -> None:
        """Show a line of the log."""
        if line.task and line.task != self.task:
            self.task = line.task
            _say(line.task)
        elif line.is_ours and self.task == LAST_TASK and IS_DONE.match(line.event):
            self.done += 1
            _say_under_task(f"{self.done} of {self.count}  {line.event}")
        _show_errors(line)


def _show_errors(line: Line) -> None:
    for error in line.errors:
        _say_under_task(error)


def _line(text: str) -> Line | None:
    """Return a line of the log that a task starts, that is ours, or that has an error; None for others."""
    try:
        entry = json.loads(text)
        errors = tuple(f"{error['exc_type']}: {error['exc_value']}" for error in entry.get("exception") or ())
        line = Line(str(entry["event"]), str(entry.get("logger", "")), errors)
    except (ValueError, TypeError, KeyError):
        return None
    return line if line.task or line.is_ours or line.errors else None


def _say_under_task(text: str) -> None:
    """Print what a task tells, each line under the task's name."""
    _say(indent(text, "    "))


def _say(text: str) -> None:
    print(text, flush=True)
