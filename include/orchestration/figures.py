"""figures: what a task did with a month, as metrics of Airflow: rows, bytes and seconds, by service and target.

Airflow sends them to StatsD or OpenTelemetry, or nowhere, as its section `[metrics]` says; docs/watching.md lists them.
Import this inside a task.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf
from airflow.sdk.observability import stats

from include.nyc_taxi import TripFile, targets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

log = logging.getLogger(__name__)

COUNTS = {
    "bytes": "taxi.bytes",
    "rows_read": "taxi.rows_read",
    "rows_rejected": "taxi.rows_rejected",
    "rows_accepted": "taxi.rows_loaded",  # into the lake
    "rows_loaded": "taxi.rows_loaded",
}
"""The metric of each count that a task may return."""
DURATION = "taxi.duration"
RAW = "raw"
"""The target of a download."""


def emit(result: Mapping[str, Any], seconds: float) -> None:
    """Add the result of a task to Airflow's metrics. If that fails, it is logged, and the task goes on.

    Args:
        result: what the task returns: a `Raw`, a `Landed` or a `Loaded` of xcoms.
        seconds: how long the task has taken.
    """
    try:
        tags = _tags(result)
        for name, spelled in _spellings(DURATION, tags):
            stats.timing(name, seconds * 1000, tags=spelled)
        for field in COUNTS.keys() & result.keys():
            for name, spelled in _spellings(COUNTS[field], tags):
                stats.incr(name, int(result[field]), tags=spelled)
    except Exception as error:  # noqa: BLE001 - the month is loaded, whatever becomes of its metrics
        log.warning("%s: no metrics of this task: %s: %s", result.get("file"), type(error).__name__, error)


def _tags(result: Mapping[str, Any]) -> dict[str, str]:
    target = result.get("target") or (targets.the_lake().name if "rows_accepted" in result else RAW)
    return {"service": TripFile.parse(result["file"]).service, "target": target, "outcome": result["outcome"]}


def _spellings(name: str, tags: dict[str, str]) -> Iterator[tuple[str, dict[str, str] | None]]:
    """A metric with its tags, and as Airflow does with its own, by a longer name for a StatsD that knows no tags."""
    yield name, tags
    if conf.getboolean("metrics", "legacy_names_on"):
        yield ".".join([name, *tags.values()]), None
