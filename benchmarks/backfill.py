"""Measure how many months a backfill loads per minute, and what share of that time is Airflow's.

    python -m benchmarks.backfill --months 24 --rows 60000

The same generated months of green are loaded twice from a local server into a lake and Postgres: by a backfill of the
deployment `ingest_data.green` with the LocalExecutor, four runs at a time, and by the core alone, one after another in
one process.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from pathlib import Path

import psycopg

from devtools.generator import write_month
from devtools.servers.postgres import EmbeddedPostgres
from devtools.servers.publisher import Publisher
from devtools.servers.whole_airflow import Airflow
from include.nyc_taxi import Month, TripFile, catalog, download, landing, targets
from include.nyc_taxi.lake import Lake
from include.orchestration.deployments import deployments

ROOT = Path(__file__).resolve().parents[1]
TEMPORARY = ROOT / ".local" / "bench"
DAG = "ingest_data.green"
FIRST = Month(2014, 1)
PATIENCE_SECONDS = 3600


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-backfill")
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--rows", type=int, default=60_000, help="rows per month; green has about as many today")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    os.environ |= dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1")
    TEMPORARY.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TEMPORARY) as temporary:
        folder = Path(temporary)
        folder.chmod(0o711)  # root runs Postgres as another user
        files = [TripFile("green", FIRST + number) for number in range(options.months)]
        _publish(files, folder / "published", options.rows)
        server = EmbeddedPostgres(folder / "postgres")
        try:
            with server, Publisher(folder / "published") as publisher:
                bare = _bare(files, folder / "lake", server, publisher.base_url)
                backfill = _backfill(files, folder, server, publisher.base_url)
        finally:
            server.remove()
    for name, seconds in (("the core alone, one by one", bare), ("backfill, four at a time", backfill)):
        print(f"{name}: {options.months} months in {seconds:.1f} s, {60 * options.months / seconds:.0f} per minute")
    print(f"Airflow's share of the backfill: {100 * (1 - bare / backfill):.0f} %, {os.cpu_count()} cores")


def _publish(files: list[TripFile], folder: Path, rows: int) -> None:
    for file in files:
        path = folder / catalog.source("official").path_of(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_month(file, path, rows=rows)


def _bare(files: list[TripFile], folder: Path, server: EmbeddedPostgres, base_url: str) -> float:
    lake = Lake.at(folder)
    server.create_database("bare")
    started = time.monotonic()
    with psycopg.connect(server.conninfo("bare"), autocommit=True) as connection:
        for file in files:
            download.fetch(file, lake, base_url=base_url)
            landing.land(file, lake)
            targets.get("postgres").replace_month(connection, file, lake)
    return time.monotonic() - started


def _backfill(files: list[TripFile], folder: Path, server: EmbeddedPostgres, base_url: str) -> float:
    entries = [entry.model_dump(mode="json", exclude_none=True) for entry in deployments() if entry.dag_id == DAG]
    airflow = Airflow(
        folder / "airflow",
        server,
        publisher=base_url,
        deployments=[entries[0] | {"start": str(FIRST)}],
        AIRFLOW__CORE__EXECUTOR="LocalExecutor",
    )
    try:
        airflow.start()
        airflow.knows(DAG)
        airflow.unpause(DAG)
        span = {"from_date": f"{files[0].month}-01T00:00:00Z", "to_date": f"{files[-1].month}-01T00:00:00Z"}
        started = time.monotonic()
        made = airflow.post("/backfills", dag_id=DAG, **span)
        airflow.wait(lambda: airflow.get(f"/backfills/{made['id']}")["completed_at"], "the backfill", PATIENCE_SECONDS)
        seconds = time.monotonic() - started
        failed = [run["partition_key"] for run in airflow.runs(DAG) if run["state"] == "failed"]
        if set(failed) & {str(file.month) for file in files}:
            raise RuntimeError(f"months {failed} failed; logs are in {airflow.home}")
    finally:
        airflow.stop()
    return seconds


if __name__ == "__main__":
    main()
