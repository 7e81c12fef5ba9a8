"""Time the questions that the coverage page asks a warehouse with 17 years of every service, and the page's answers.

.venv/bin/python -m benchmarks.page
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import psycopg

from benchmarks import history
from devtools.servers.postgres import EmbeddedPostgres
from devtools.servers.whole_airflow import Airflow
from include.nyc_taxi import Month, TripFile, targets

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

ROOT = Path(__file__).resolve().parents[1]
TIMES = 9
SECONDS_UNTIL_SOMEONE_LOOKS = 5  # after the start of the API server
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
    folder.chmod(0o711)  # root runs Postgres as another user
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
    time.sleep(SECONDS_UNTIL_SOMEONE_LOOKS)
    print(f"\nanswers of the page, in milliseconds: the first, then median and maximum of {TIMES} more\n")
    for path in ANSWERS:
        first, *others = _milliseconds(lambda path=path: _get(airflow, path), 1 + TIMES)  # type: ignore[misc]
        print(f"/taxi/{path:<30} {first:>7.1f} {statistics.median(others):>7.1f} {max(others):>7.1f}")


def _get(airflow: Airflow, path: str) -> None:
    airflow.api.get(f"{airflow.url}/taxi/{path}").raise_for_status()


def _time(connection: psycopg.Connection[Any]) -> None:
    file, warehouse = TripFile("yellow", Month(2024, 1)), targets.get("postgres")
    summaries = warehouse.summaries
    assert summaries is not None  # noqa: S101 - Postgres has them
    questions: dict[str, Callable[[], Sized]] = {
        "the last load of every month": lambda: warehouse.loads(connection),
        "trips of every month": lambda: summaries.months(connection),
        "one month by zone": lambda: summaries.zones(connection, file),
        "one month by hour": lambda: summaries.hours(connection, file),
    }
    print(f"{len(list(history.files()))} months; milliseconds, median and maximum of {TIMES}\n")
    for name, ask in questions.items():
        taken = _milliseconds(ask, TIMES)
        print(f"{name:<30} {len(ask()):>5,} rows {statistics.median(taken):>7.1f} {max(taken):>7.1f}")


def _milliseconds(ask: Callable[[], object], times: int) -> list[float]:
    taken = []
    for _ in range(times):
        start = perf_counter()
        ask()
        taken.append(1000 * (perf_counter() - start))
    return taken


if __name__ == "__main__":
    main()
