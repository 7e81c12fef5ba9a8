"""exporter: the state of this deployment as metrics, over HTTP, for Prometheus and whatever else reads OpenMetrics.

make metrics
make metrics ARGS="--port 9465 --every 300 --disk warehouse=/var/lib/postgresql"

It looks at what `make status` and the page show, of every target that is set up, and serves the last look: however
often it is asked, the targets are not asked more often. It logs in to Airflow's API server as `make status` does. There
is no login to the metrics themselves, which hold counts and names of services and targets.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
from contextlib import closing, nullcontext, suppress
from datetime import UTC, datetime, time
from itertools import groupby
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from include.nyc_taxi import coverage, targets
from include.nyc_taxi.coverage import State
from include.orchestration import connections
from include.orchestration.airflow_api import AirflowUnavailable
from include.orchestration.overview import answer, overview
from include.orchestration.status import logged_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from include.nyc_taxi.targets import Target
    from include.orchestration.airflow_api import AirflowApi
    from include.orchestration.overview import Overview

log = logging.getLogger(__name__)


class Gauge(NamedTuple):
    """A metric that is served, and its labels in order."""

    name: str
    description: str
    labels: tuple[str, ...] = ()


MONTHS = Gauge("taxi_months", "Months by state, counted as make status does.", ("service", "target", "state"))
BACKLOG = Gauge(
    "taxi_backlog_months",
    "Months from the first loaded one on that are published and not loaded, or republished since.",
    ("service", "target"),
)
NEWEST = Gauge("taxi_newest_month_timestamp_seconds", "When the newest loaded month began.", ("service", "target"))
ANSWERS = Gauge("taxi_target_answers", "Whether the target answers.", ("target",))
BYTES = Gauge("taxi_target_bytes", "What the target holds, in bytes.", ("target",))
FREE = Gauge("taxi_disk_free_bytes", "Free bytes of a disk, by what lies there.", ("disk",))
SIZE = Gauge("taxi_disk_size_bytes", "Size of a disk, by what lies there.", ("disk",))
AIRFLOW = Gauge("taxi_airflow_answers", "Whether Airflow's API server answers and accepts the login.")
LOOKED = Gauge("taxi_looked_timestamp_seconds", "When the metrics beside this one were looked up.")
GAUGES = (MONTHS, BACKLOG, NEWEST, ANSWERS, BYTES, FREE, SIZE, AIRFLOW, LOOKED)

Sample = tuple[Gauge, tuple[str, ...], float]


def main() -> None:
    """Serve the metrics, and look again every few minutes."""
    options = _options()
    # Airflow's own commands set this, too: it makes Airflow look for connections and Variables in its database.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    served = Served()
    try:
        port = serve(served, options.host, options.port)
    except (OSError, OverflowError) as error:
        sys.exit(f"cannot serve metrics at {options.host}:{options.port}: {error}; choose another port with --port")
    print(f"metrics are at http://{options.host}:{port}/metrics, until Ctrl-C", flush=True)
    with suppress(KeyboardInterrupt):
        while True:
            look_again(served, dict(options.disk))
            sleep(options.every)


def look_again(served: Served, disks: Mapping[str, Path]) -> None:
    """Look, and serve what is found. If that fails, what was found before stays, with the moment of that look."""
    try:
        served.samples = tuple(look(disks))
    except Exception:
        log.exception("exporter: the look failed, and the metrics stay as they are")


def serve(served: Served, host: str, port: int = 0) -> int:
    """Serve the metrics from a thread, and return the port; 0 is any that is free."""
    registry = CollectorRegistry()
    registry.register(served)
    server, _ = start_http_server(port, host, registry)
    return server.server_port


class Served(Collector):
    """Serves the samples of the last look."""

    def __init__(self) -> None:
        self.samples: Sequence[Sample] = ()

    def collect(self) -> Iterator[Metric]:
        """Return every metric with its samples; none before the first look."""
        for gauge in GAUGES:
            family = GaugeMetricFamily(gauge.name, gauge.description, labels=gauge.labels)
            for _, labels, value in (sample for sample in self.samples if sample[0] is gauge):
                family.add_metric(labels, value)
            yield family


def look(disks: Mapping[str, Path]) -> Iterator[Sample]:
    """Look at every target that is set up, and at the disks.

    Args:
        disks: folders whose disks are watched, by name, beside those of targets that are files of this machine.
    """
    now = datetime.now(UTC)
    api = _api()
    with closing(api) if api else nullcontext():
        found = [target for target in targets.every() if connections.is_configured(target)]
        for target in found:
            yield from of_target(overview(target, api))
    held = {target.name: _held(target) for target in found}
    for name, (size, _) in held.items():
        if size is not None:
            yield BYTES, (name,), size
    folders = {name: folder for name, (_, folder) in held.items() if folder}
    for name, folder in {**folders, **disks}.items():
        yield from _of_disk(name, folder)
    yield AIRFLOW, (), api is not None
    yield LOOKED, (), now.timestamp()


def of_target(seen: Overview) -> Iterator[Sample]:
    """Return the samples of one target. What is not known is left out, because a 0 would end an alert."""
    target = seen.target.name
    yield ANSWERS, (target,), seen.target_answers
    if not seen.target_answers:
        return
    cells = sorted(seen.cells.values(), key=lambda cell: cell.file)
    for service, months in groupby(cells, key=lambda cell: cell.file.service):
        for state, count in coverage.counts(months).items():
            if _is_known(state, seen):
                yield MONTHS, (service, target, state), count
    if seen.published_are_known:
        for service, due in coverage.backlog(cells).items():
            yield BACKLOG, (service, target), due
    for service, month in coverage.newest(cells).items():
        yield NEWEST, (service, target), datetime.combine(month.first_day, time.min, UTC).timestamp()


def _is_known(state: State, seen: Overview) -> bool:
    if state in (State.RUNNING, State.FAILED):
        return seen.runs_are_known
    return seen.published_are_known or state not in (State.STALE, State.PUBLISHED)


def _held(target: Target[Any, Any]) -> tuple[int | None, Path | None]:
    """The bytes of a target and its folder, as far as they are known."""

    def ask() -> tuple[int | None, Path | None]:
        with connections.opened(target, read_only=True) as client:
            return target.bytes_held(client), target.folder(client)

    return answer(ask, [], f"The size of {target.title} is unknown.") or (None, None)


def _of_disk(name: str, folder: Path) -> Iterator[Sample]:
    """Return the samples of the disk of a folder, which a first load may have to create."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    usage = shutil.disk_usage(there)
    yield FREE, (name,), usage.free
    yield SIZE, (name,), usage.total


def _api() -> AirflowApi | None:
    try:
        return logged_in(os.environ)
    except AirflowUnavailable as error:
        log.warning("exporter: running and failed loads are unknown: %s", error)
        return None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make metrics", description="Serve the state of the months as metrics.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on; only this machine by default")
    parser.add_argument("--port", type=int, default=9465)
    parser.add_argument("--every", type=_seconds, default=300, metavar="SECONDS", help="how often to look")
    parser.add_argument(
        "--disk",
        action="append",
        default=[],
        type=_disk,
        metavar="NAME=FOLDER",
        help="watch the disk of this folder too; can be given several times",
    )
    return parser.parse_args()


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")


def _disk(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if not name or not Path(folder).is_absolute():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER with an absolute path")
    return name, Path(folder)


if __name__ == "__main__":
    main()
