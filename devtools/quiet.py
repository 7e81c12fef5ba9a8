"""Run Airflow's command line with this bundle's lines, Airflow's warnings, and each error in one line.

    python -P devtools/quiet.py dags test ingest_data 2021-01-01

It is run by its path, as nothing but Airflow may be on the import path, and so imports nothing of this project.
"""

from __future__ import annotations

import logging
import runpy
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import MutableMapping

# Levels of Airflow's own lines. While a task waits for its retry, `airflow.sdk` warns every second.
AIRFLOWS_LEVELS = {"airflow": "WARNING", "airflow.sdk.definitions.dag": "ERROR", "task": "WARNING"}
_A_TASK_FAILED = "Task failed with exception"
_OURS = "include."
_FOR_MORE = "(-v shows more)"


def main() -> None:
    """Become Airflow's command line."""
    quieten()
    try:
        runpy.run_module("airflow", run_name="__main__", alter_sys=True)
    except Exception as error:  # noqa: BLE001 - any of Airflow's
        sys.exit(f"{_said(error)} {_FOR_MORE}")


def quieten() -> None:
    """Change the logs of this process."""
    import airflow  # noqa: F401 - it sets them up
    import structlog

    shown = _Errors()
    # Airflow's setting of levels reaches only the loggers of structlog.
    for name, level in AIRFLOWS_LEVELS.items():
        logging.getLogger(name).setLevel(level)
    for handler in logging.getLogger().handlers:
        handler.addFilter(shown.of_logging)
    *others, renderer = structlog.get_config()["processors"]
    structlog.configure(processors=[*others, shown.of_structlog, renderer])


class _Errors:
    """Shows each error of a log in one line, and once: Airflow's line of a task is followed by this bundle's alert."""

    def __init__(self) -> None:
        self._of_a_task: str | None = None

    def of_structlog(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Take the traceback out of an event, as one of structlog's processors."""
        error = _error(event.pop("exc_info", None))
        if error is None:
            return event
        if event["event"] == _A_TASK_FAILED:
            self._of_a_task = _said(error)
            where = {name: event[name] for name in ("timestamp", "level") if name in event}
            return {**where, "event": f"{self._of_a_task} {_FOR_MORE}"}
        return {**event, "event": f"{event['event']}: {_said(error)} {_FOR_MORE}"}

    def of_logging(self, record: logging.LogRecord) -> bool:
        """Take the traceback out of a record, and leave out a record of this bundle that repeats a task's error."""
        if record.exc_info and (error := record.exc_info[1]):
            record.msg, record.args = f"{record.getMessage()}: {_said(error)} {_FOR_MORE}", None
            record.exc_info = record.exc_text = None
        is_repeated = self._of_a_task is not None and self._of_a_task in record.getMessage()
        return not (is_repeated and record.name.startswith(_OURS))


def _error(given: object) -> BaseException | None:
    """Return the error that is logged, from what structlog accepts as `exc_info`."""
    if isinstance(given, BaseException):
        return given
    return given[1] if isinstance(given, tuple) else sys.exc_info()[1] if given else None


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


if __name__ == "__main__":
    main()
