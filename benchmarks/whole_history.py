"""Bring every published month of every service into lake, Postgres and the emulated BigQuery by the daily runs.

    python -m benchmarks.whole_history --share 0.001

The files are generated, each with this share of the published file's rows. Airflow runs on loopback with the
LocalExecutor and the settings of `.env`. At the end every month's rows are counted in every target.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import psycopg

from benchmarks import history
from benchmarks.backfill import RESULTS, settings_for_short_tasks, temporary_folder
from benchmarks.measuring import cpu_of_trees
from devtools.emulators import LocalCloud
from devtools.generator import write_month
from devtools.servers.postgres import EmbeddedPostgres
from devtools.servers.publisher import Publisher
from devtools.servers.whole_airflow import Airflow
from include.nyc_taxi import TripFile, catalog, targets
from include.nyc_taxi.lake import Lake
from include.nyc_taxi.landing import whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from include.nyc_taxi.targets.loads import Load

SYNC = "sync_published_months"
TARGETS = ("postgres", "bigquery")
# The scheduler looks at all tasks of a run again and again, so that a run of all files takes it seconds a look.
FILES_PER_RUN = 24
FEWEST_ROWS = 20
PATIENCE_SECONDS = 7200
AT_MOST_SECONDS = 15 * 60
PAGE = ("api/coverage", "api/coverage?target=bigquery", "api/quality", "api/months/green/2024-01")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-history", description="Every published month, by daily runs.")
    parser.add_argument("--share", type=float, default=0.001, help="of the rows of each published file")
    parser.add_argument("--last", type=int, help="how many of the last months of each service; without it, all")
    parser.add_argument("--write", action="store_true", help="write the figures to benchmarks/results")
    options = parser.parse_args()
    with temporary_folder() as folder, ExitStack() as stack:
        rows = _publish(folder / "published", options.share, options.last)
        print(f"{len(rows)} files with {sum(rows.values()):,} rows", flush=True)
        airflow, server = _start(stack, folder)
        figures = _run(airflow, server, rows)
    for name, figure in figures.items():
        print(f"{name:<44} {figure:>12,.1f}" if isinstance(figure, float) else f"{name:<44} {figure:>12,}")
    verdict = "reached" if figures["seconds of time"] <= AT_MOST_SECONDS else "MISSED"
    print(f"{verdict}: at most {AT_MOST_SECONDS} s")
    if options.write:
        path = RESULTS / f"history-{datetime.now(UTC):%Y-%m-%d}.json"
        path.write_text(json.dumps({"cores": os.cpu_count(), **figures}, indent=1) + "\n", encoding="utf-8")


def _publish(folder: Path, share: float, last: int | None) -> dict[TripFile, int]:
    """Generate the files, and return their rows."""
    by_service: dict[str, list[TripFile]] = {}
    for file in history.files():
        by_service.setdefault(file.service, []).append(file)
    rows = {}
    for file in [file for files in by_service.values() for file in files[-last if last else None :]]:
        path = folder / catalog.source("official").path_of(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        expected = catalog.expected(file, "official")
        count = max(FEWEST_ROWS, int((expected.rows if expected else 1_000_000) * share))
        rows[file] = write_month(file, path, rows=count).rows
    return rows


def _start(stack: ExitStack, folder: Path) -> tuple[Airflow, EmbeddedPostgres]:
    server = EmbeddedPostgres(folder / "postgres")
    stack.callback(server.remove)
    stack.enter_context(server)
    publisher = stack.enter_context(Publisher(folder / "published"))
    cloud = stack.enter_context(LocalCloud(folder / "cloud"))
    os.environ.update(cloud.environment)  # for the count at the end
    airflow = Airflow(
        folder / "history",
        server,
        publisher=publisher.base_url,
        deployments=[],
        **settings_for_short_tasks() | dict(cloud.environment) | {"AIRFLOW__CORE__EXECUTOR": "LocalExecutor"},
    )
    stack.callback(airflow.stop)
    airflow.start()
    airflow.knows(SYNC)
    return airflow, server


def _run(airflow: Airflow, server: EmbeddedPostgres, rows: Mapping[TripFile, int]) -> dict[str, Any]:
    servers = [process.pid for process in airflow.processes.values()]
    started, before = time.monotonic(), cpu_of_trees(servers)
    for target in TARGETS:
        for _ in range(math.ceil(len(rows) / FILES_PER_RUN)):
            _sync(airflow, target)
        print(f"{target}: after {time.monotonic() - started:.0f} s", flush=True)
    seconds, cpu = time.monotonic() - started, cpu_of_trees(servers) - before
    started, before = time.monotonic(), cpu_of_trees(servers)
    _sync(airflow, TARGETS[0])
    _check(airflow, rows)
    return {
        "files": len(rows),
        "rows": sum(rows.values()),
        "seconds of time": seconds,
        "seconds of CPU of Airflow": cpu,
        "months a minute, each into lake and two targets": 60 * len(rows) / seconds,
        "daily run with nothing to do, seconds": time.monotonic() - started,
        "daily run with nothing to do, seconds of CPU": cpu_of_trees(servers) - before,
        "Airflow's database, MB": _megabytes(server, "history_metadata"),
        "warehouse, MB": _megabytes(server, "history_warehouse"),
        **{f"page, {path}, ms": _milliseconds(airflow, path) for path in PAGE},
    }


def _sync(airflow: Airflow, target: str) -> None:
    conf = {"target": target, "max_files_per_run": FILES_PER_RUN}
    run = airflow.post(f"/dags/{SYNC}/dagRuns", logical_date=None, conf=conf)["dag_run_id"]
    state = airflow.wait(lambda: airflow.ended_runs(SYNC, "manual").get(run), run, PATIENCE_SECONDS)
    if state != "success":
        raise RuntimeError(f"the run into {target} ended as {state}; logs are in {airflow.home}")


def _check(airflow: Airflow, rows: Mapping[TripFile, int]) -> None:
    """See that every row of every file was accepted or rejected, and every accepted one is in each target, once."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    lake = Lake.at(airflow.lake)
    landed = {file: whole(file, lake) for file in rows}
    read = {file: each.rows_read for file, each in landed.items()}
    accepted = {str(file): each.rows_accepted for file, each in landed.items()}
    client = bigquery.Client("local", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
    with psycopg.connect(airflow.warehouse, autocommit=True) as connection:
        ledgers = [_loaded(targets.get("postgres").loads(connection)), _loaded(targets.get("bigquery").loads(client))]
        in_postgres = sum(
            next(iter(connection.execute(f"SELECT count(*) FROM {targets.get('postgres').default_table(name)}")))[0]  # noqa: S608
            for name in catalog.services()
        )
    in_bigquery = sum(
        next(iter(client.query_and_wait(f"SELECT COUNT(*) FROM `{targets.get('bigquery').default_table(name)}`")))[0]  # noqa: S608
        for name in catalog.services()
    )
    expected = sum(accepted.values())
    if read != dict(rows) or ledgers != [accepted, accepted] or (in_postgres, in_bigquery) != (expected, expected):
        raise RuntimeError(
            f"{expected:,} rows are accepted; Postgres has {in_postgres:,}, and BigQuery {in_bigquery:,}"
        )


def _loaded(loads: Mapping[TripFile, Load]) -> dict[str, int]:
    return {str(file): load.rows_loaded for file, load in loads.items()}


def _megabytes(server: EmbeddedPostgres, database: str) -> float:
    with psycopg.connect(server.conninfo(database)) as connection:
        found = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return float(found[0]) / 1e6 if found else 0.0


def _milliseconds(airflow: Airflow, path: str) -> float:
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        httpx.get(f"{airflow.url}/taxi/{path}", headers=airflow.api.headers, trust_env=False).raise_for_status()
        taken.append(1000 * (time.perf_counter() - started))
    return statistics.median(taken)


if __name__ == "__main__":
    main()
