"""Time what the coverage page asks and answers with 17 years of every service loaded, each month by a run of its own.

.venv/bin/python -m benchmarks.page
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import psycopg
from pyarrow import parquet

from benchmarks import history
from devtools.generator import write_month
from devtools.servers.postgres import EmbeddedPostgres
from devtools.servers.publisher import Publisher
from devtools.servers.whole_airflow import Airflow
from include.nyc_taxi import Month, TripFile, catalog, download, landing, targets
from include.nyc_taxi.lake import Lake, data_key
from include.nyc_taxi.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
TIMES = 9
SECONDS_TO_WARM_UP = 5  # after the start of the API server
ANSWERS = [
    "",
    "api/about",
    "api/coverage",
    "api/coverage?target=lake",
    "api/months/yellow/2024-01",
    "api/quality",
    "api/city",
    "api/city/yellow/2024-01",
    "api/zones",
]
COUNTED, COUNTED_ROWS, BATCH_ROWS = TripFile("yellow", Month(2021, 1)), 1_369_769, 1 << 17
START_OF_THE_PLUGIN = """
from time import perf_counter
import airflow.plugins_manager
start = perf_counter()
import taxi_plugin
print(1000 * (perf_counter() - start))
"""
FAILED = TripFile("fhv", Month(2016, 3))
RUNS_OF_SEVERAL_MONTHS = 30


def main() -> None:
    (ROOT / ".local").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=ROOT / ".local"))
    folder.chmod(0o711)  # root runs Postgres as another user
    server = EmbeddedPostgres(folder / "postgres")
    try:
        _time_the_plugin()
        _time_a_count(folder)
        with server:
            airflow = Airflow(folder / "page", server, publisher="http://127.0.0.1:9", deployments=[])
            with psycopg.connect(airflow.warehouse) as connection:
                history.write(connection)
                connection.commit()
                _time_questions(connection)
            try:
                airflow.start(["api-server", "dag-processor"])
                time.sleep(SECONDS_TO_WARM_UP)
                _time_answers(airflow, "without a run")
                _write_runs(airflow)
                _time_answers(airflow, "with a run per month")
                _fail(airflow)
                _time_answers(airflow, "with a failed month and four that wait")
            finally:
                airflow.stop()
    finally:
        server.remove()
        shutil.rmtree(folder)


def _time_the_plugin() -> None:
    """How much longer a process of Airflow takes to start, as each imports the plugin."""
    command = [sys.executable, "-c", START_OF_THE_PLUGIN]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "plugins"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    taken = [float(subprocess.check_output(command, env=environment, text=True).split()[-1]) for _ in range(3)]
    print(f"the plugin adds {min(taken):.1f} ms to the start of a process")


def _time_a_count(folder: Path) -> None:
    """How long a load counts the trips of a month by hour and zone."""
    lake, published = Lake.at(folder / "lake"), folder / "published"
    path = published / catalog.source("official").path_of(COUNTED)
    path.parent.mkdir(parents=True)
    write_month(COUNTED, path, rows=COUNTED_ROWS)
    with Publisher(published) as publisher:
        download.fetch(COUNTED, lake, base_url=publisher.base_url)
    landing.land(COUNTED, lake)
    with lake.local(data_key(COUNTED)) as data:
        batches = list(parquet.ParquetFile(data).iter_batches(BATCH_ROWS))
    summary = Summary(COUNTED)
    start = perf_counter()
    for batch in batches:
        summary.add(batch)
    taken = 1000 * (perf_counter() - start)
    print(f"counting the {summary.trips:,} trips of {COUNTED} takes {taken:.0f} ms of its load\n")


def _write_runs(airflow: Airflow) -> None:
    """A successful run for each month, and some for several months each."""
    for dag_id in ("ingest_data", "etl_parent_flow"):
        airflow.knows(dag_id)
    for file in history.files():
        _run(airflow, "ingest_data", _conf(file), state="success")
    for _ in range(RUNS_OF_SEVERAL_MONTHS):
        _run_of_several_months(airflow, state="success")


def _fail(airflow: Airflow) -> None:
    _run(airflow, "ingest_data", _conf(FAILED), state="failed")
    _run(airflow, "ingest_data", _conf(TripFile("yellow", Month(2025, 12))))
    _run_of_several_months(airflow)


def _run_of_several_months(airflow: Airflow, state: str | None = None) -> None:
    conf: dict[str, Any] = {"colour": ["green"], "year": 2024, "months": [1, 2, 3], "target": "postgres"}
    run = _run(airflow, "etl_parent_flow", conf, state)
    path = f"/dags/etl_parent_flow/dagRuns/{run['dag_run_id']}/taskInstances/which_months/xcomEntries"
    airflow.post(path, key="return_value", value=[f"green_tripdata_2024-{month:02d}" for month in conf["months"]])


def _run(airflow: Airflow, dag_id: str, conf: dict[str, Any], state: str | None = None) -> dict[str, Any]:
    run = airflow.post(f"/dags/{dag_id}/dagRuns", logical_date=None, conf=conf)
    if state:
        path = f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}"
        airflow.api.patch(path, json={"state": state}).raise_for_status()
    return run


def _conf(file: TripFile) -> dict[str, Any]:
    return {"colour": file.service, "year": file.month.year, "month": file.month.month}


def _time_answers(airflow: Airflow, what: str) -> None:
    print(
        f"\nanswers of the page {what}, in milliseconds: the first, then minimum, median and maximum of {TIMES} more\n"
    )
    for path in ANSWERS:
        first, *others = _timed(partial(_get, airflow, path), 1 + TIMES)
        print(
            f"/taxi/{path:<30} {first:>7.1f} {min(others):>7.1f} {statistics.median(others):>7.1f} {max(others):>7.1f}",
            flush=True,
        )


def _get(airflow: Airflow, path: str) -> None:
    airflow.api.get(f"{airflow.url}/taxi/{path}").raise_for_status()


def _time_questions(connection: psycopg.Connection[Any]) -> None:
    file = TripFile("yellow", Month(2024, 1))
    target = targets.summarising()
    summaries = target.summaries
    assert summaries is not None  # noqa: S101 - a summarising target has them
    questions: dict[str, Callable[[], Any]] = {
        "the last load of every month": lambda: target.loads(connection),
        "trips of every month": lambda: summaries.months(connection),
        "one month by zone": lambda: summaries.zones(connection, file),
        "one month by hour": lambda: summaries.hours(connection, file),
    }
    print(f"{len(list(history.files()))} months; milliseconds, median and maximum of {TIMES}\n")
    for name, ask in questions.items():
        taken = _timed(ask, TIMES)
        print(f"{name:<30} {len(ask()):>5,} rows {statistics.median(taken):>7.1f} {max(taken):>7.1f}")


def _timed(call: Callable[[], Any], times: int) -> list[float]:
    """Time a number of calls, and return the milliseconds of each."""
    taken = []
    for _ in range(times):
        start = perf_counter()
        call()
        taken.append(1000 * (perf_counter() - start))
    return taken


if __name__ == "__main__":
    main()
