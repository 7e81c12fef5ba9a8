"""rows: everything that is typed in the first hour, in order."""

from __future__ import annotations

import re

from devtools.environment import ROOT
from devtools.first_hour.row import BARE, Row

NOTES = ROOT / "docs" / "notes-to-airflow.md"
# Lines of the map that are not typed as they are written there, and why.
NOT_TYPED = {
    "bin/airflow celery worker --queues demo": "needs the stack, where `make test-stack` runs it",
    "airflowctl": "a client of its own, which is not among the locked packages",
    "make install": "above, as a part of `make demo`",
    "make demo": "above",
    "make ui": "above",
    "make psql": "opens a prompt; above, with a query",
}
NEEDS_SCHEDULER = ("bin/airflow dags trigger", "bin/airflow backfill create", "bin/airflow dags unpause")
# A part of what a line of the map prints, by its start.
SAID = {
    "bin/airflow dags test ingest_data": "rows",
    "bin/airflow dags test etl": "rows",
    "bin/airflow dags test flow_code": "I am a flow",
    "bin/airflow dags trigger": "queued",
    "bin/airflow dags list": "ingest_data",
    "bin/airflow dags next-execution": "T0",
    "bin/airflow connections": "taxi_",
}
NO_SUCH_MONTH = '{"colour": "green", "year": 2019, "month": 5}'
NOT_YET = '{"colour": "green", "year": 2099, "month": 1}'
ELSEWHERE = '{"url": "https://files.example.org/yellow_tripdata_2021-01.parquet"}'
OTHER_WAREHOUSE = (
    '{"conn_type": "postgres", "host": "127.0.0.1", "port": {warehouse_port}, "login": "taxi", "password": "wrong", '
    '"schema": "ny_taxi"}'
)

START = [
    Row("What there is", "make", says="make demo"),
    Row("Whether this machine has what is needed", "make doctor", None, "Python"),
    Row("The first command", "make demo", says="make ui"),
    Row("The same again", "make demo", says="rows loaded"),
    Row("Through a bucket and BigQuery", "make demo FLOW=bigquery", says="rows in table"),
    Row("Which months are where", "make status", says="yellow"),
    Row("A query", "make psql ARGS=\"-c 'SELECT count(*) FROM yellow_taxi_trips'\"", says="count"),
]

SLIPS = [
    Row("a service that does not exist", "make demo COLOUR=purple", 2, "purple"),
    Row("the American spelling", "make demo COLOR=green", 2, "COLOR"),
    Row("a month that does not exist", "make demo MONTH=2024-13", 2, "2024-13"),
    Row("a month from before the service", "make demo COLOUR=fhvhv MONTH=2010-01", 2, "2010-01"),
    Row("a folder that does not exist", "make demo SOURCE=../nowhere", 2, "nowhere"),
    Row("a flow that does not exist", "make demo FLOW=redshift", 2, "redshift"),
    Row("a target that does not exist", "make status ARGS=--target=mars", 2, "mars"),
    Row(
        "a month that the publisher lacks",
        f"bin/airflow dags test ingest_data -c '{NO_SUCH_MONTH}'",
        1,
        "NotPublished:",
    ),
    Row("a month of the future", f"bin/airflow dags test ingest_data -c '{NOT_YET}'", 1, "2099-01"),
    Row("a year without a month", "bin/airflow dags test ingest_data -c '{\"year\": 2021}'", 1, "ValueError:"),
    Row("no months", "bin/airflow dags test etl_parent_flow -c '{\"months\": []}'", 1, "months"),
    Row("a service that is misspelt", 'bin/airflow dags test ingest_data -c \'{"colour": "gren"}\'', 1, "gren"),
    Row("a param that does not exist", 'bin/airflow dags test ingest_data -c \'{"color": "green"}\'', 1, "color"),
    Row("conf that is not JSON", "bin/airflow dags test ingest_data -c '{colour: green}'", 1, "JSON"),
    Row("a date that does not exist", "bin/airflow dags test ingest_data 2021-13-01", 2, "2021-13-01"),
    Row("a Dag that is misspelt", "bin/airflow dags test ingest_dat", 1, "ingest_dat"),
    Row(
        "a table name that is none",
        'bin/airflow dags test ingest_data 2021-01-01 -c \'{"table_name": "a.b.trips"}\'',
        1,
        "a.b.trips",
    ),
    Row(
        "a table of another service",
        'bin/airflow dags test ingest_data 2021-01-01 -c \'{"colour": "green", "table_name": "yellow_taxi_trips"}\'',
        1,
        "WarehouseRefused:",
    ),
    Row(
        "a URL of another host",
        f"bin/airflow dags test ingest_data 2021-01-01 -c '{ELSEWHERE}'",
        1,
        "files.example.org",
    ),
    Row(
        "no network",
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY=1 HTTPS_PROXY=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9"
        " bin/airflow dags test ingest_data 2021-02-01 -c '{\"cache_ttl_hours\": 0}'",
        1,
        "SourceUnavailable:",
    ),
    Row(
        "a connection that is not JSON",
        'AIRFLOW_CONN_TAXI_SOURCE=\'{"conn_type": "http"\' bin/airflow dags test ingest_data 2021-01-01',
        1,
        "AIRFLOW_CONN_TAXI_SOURCE",
    ),
    Row("a line of .env that cannot be read", "echo 'TAXI LAKE /data' >> .env; make status", 2, ".env line"),
    Row("a setting that is misspelt", "echo 'TAXI_LAEK=file:///data' >> .env; make doctor", 2, "TAXI_LAKE"),
    Row(
        "a lake that is a file",
        'AIRFLOW_VAR_TAXI_LAKE="file://$PWD/README.md" bin/airflow dags test etl_web_to_gcs 2021-01-01',
        1,
        "README.md",
    ),
    Row(
        "a lake in a folder that is read-only",
        "AIRFLOW_VAR_TAXI_LAKE=file:///sys/lake bin/airflow dags test etl_web_to_gcs 2021-01-01",
        1,
        "SetUpError:",
    ),
    Row(
        "a lake without a scheme",
        "AIRFLOW_VAR_TAXI_LAKE=lake bin/airflow dags test etl_web_to_gcs 2021-01-01",
        1,
        "ValueError:",
    ),
    Row(
        "a wrong password of the warehouse",
        f"AIRFLOW_CONN_TAXI_WAREHOUSE='{OTHER_WAREHOUSE}' bin/airflow dags test ingest_data 2021-01-01",
        1,
        "WarehouseRefused:",
        beside_ui=True,
    ),
    Row("`make ui` a second time", "make ui", 2, "already running", beside_ui=True),
    Row("a port that is taken", "make ui PORT={taken}", 2, "PORT="),
    Row("a port that does not exist", "make ui PORT=80800", 2, "80800"),
    Row("a target of make that does not exist", "make dmeo", 2, "dmeo"),
    Row("no name for the image", "make push", 2, "TAXI_IMAGE"),
    Row("Python too old", 'make demo PYTHON="{tools}/old/python3"', 2, "3.11", BARE),
    Row("Python without pip", 'make demo PYTHON="{tools}/no-pip/python3"', 2, "python3-pip", BARE),
    Row("no Python", "make demo PYTHON=python3.99", 2, "3.11", BARE),
    Row("a wrong value before anything is installed", "make demo MONTH=2024-13", 2, "2024-13", BARE),
]


def of_the_notes() -> list[Row]:
    """Return the lines of the map's column "try" that can be typed, each once."""
    return [
        Row(what, command, 0, _says(command), beside_ui=command.startswith(NEEDS_SCHEDULER))
        for command, what in _map().items()
        if _why_not(command) is None
    ]


def _says(command: str) -> str:
    return next((says for start, says in SAID.items() if command.startswith(start)), "")


def not_typed() -> dict[str, str]:
    """Return the other lines, and why each is not typed."""
    return {command: why for command in _map() if (why := _why_not(command))}


def _map() -> dict[str, str]:
    """Return the commands of the map, and what each is the counterpart of."""
    found: dict[str, str] = {}
    for line in NOTES.read_text(encoding="utf-8").splitlines():
        if line.startswith("| "):
            what, *_, last = line.strip("| ").split(" | ")
            for command in re.findall(r"`((?:bin/airflow|airflowctl|make) [^`]+)`", last):
                found.setdefault(command, what)
    return found


def _why_not(command: str) -> str | None:
    return NOT_TYPED.get(command) or NOT_TYPED.get(command.partition(" ")[0])


PARTS = {
    "start": START,
    "notes": of_the_notes(),
    "slips": SLIPS,
}
