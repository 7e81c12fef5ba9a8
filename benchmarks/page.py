"""What the coverage page asks of a warehouse that holds 17 years of every service, and what it answers, timed.

.venv/bin/python -m benchmarks.page
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path
from time import perf_counter

import psycopg
from taxi_page import city

from benchmarks import history
from devtools.servers.postgres import EmbeddedPostgres
from devtools.servers.whole_airflow import Airflow
from include.nyc_taxi import Month, TripFile, coverage

ROOT = Path(__file__).resolve().parents[1]
TIMES = 9
SECONDS_FOR_A_PERSON_TO_COME = 5  # after the start of the API server
ANSWERS = [
    "",
    "api/coverage",
    "api/coverage?target=lake",
    "api/months/yellow/2024-01",
    "api/quality",
    "api/city",
    "api/city/yellow/2024-01",
    "api/zones",
]


def main() -> None:
    (ROOT / ".local").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=ROOT / ".local"))
    folder.chmod(0o711)  # the server may be another user
    server = EmbeddedPostgres(folder / "postgres")
    try:
        with server:
            airflow = Airflow(folder / "page", server, publisher="http://127.0.0.1:9", deployments=[])
            with psycopg.connect(airflow.warehouse) as connection:
                history.write(connection)
                connection.commit()
                _time(connection)
            try:
                airflow.start(["api-server"])
                _time_answers(airflow)
            finally:
                airflow.stop()
    finally:
        server.remove()
        shutil.rmtree(folder)


def _time_answers(airflow: Airflow) -> None:
    time.sleep(SECONDS_FOR_A_PERSON_TO_COME)
    print(f"\nanswers of the page; milliseconds, the first, and median and most of {TIMES} more\n")
    for path in ANSWERS:
        taken = []
        for _ in range(1 + TIMES):
            start = perf_counter()
            airflow.api.get(f"{airflow.url}/taxi/{path}").raise_for_status()
            taken.append(1000 * (perf_counter() - start))
        first, *others = taken
        print(f"/taxi/{path:<30} {first:>7.1f} {statistics.median(others):>7.1f} {max(others):>7.1f}")


def _time(connection: psycopg.Connection) -> None:
    file = TripFile("yellow", Month(2024, 1))
    questions = {
        "the last load of every month": lambda: coverage.loads_in_warehouse(connection),
        "trips of every month": lambda: city.months(connection),
        "one month by zone": lambda: city.zones(connection, file),
        "one month by hour": lambda: city.hours(connection, file),
    }
    print(f"{len(list(history.files()))} months; milliseconds, median and most of {TIMES}\n")
    for name, ask in questions.items():
        taken = []
        for _ in range(TIMES):
            start = perf_counter()
            rows = ask()
            taken.append(1000 * (perf_counter() - start))
        print(f"{name:<30} {len(rows):>5,} rows {statistics.median(taken):>7.1f} {max(taken):>7.1f}")


if __name__ == "__main__":
    main()
