"""Load one month with the real DAGs, show their progress, and report what was loaded.

    python -m devtools.demo --source ../tlc --colour green --month 2024-01 --flow bigquery

Without a source it generates a month and serves it over HTTP on loopback, so that the flow downloads it as it would
from the publisher. It always uses the warehouse, lake and cloud in `.local`, whatever the environment names.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from devtools import environment as project
from devtools.environment import LOCAL, ROOT, WAREHOUSE
from devtools.generator import write_month
from devtools.run import (
    AIRFLOW,
    BUCKET,
    keep_cloud,
    keep_warehouse,
    log_file,
    prepare_airflow,
    warehouse_connection,
)
from devtools.servers.publisher import Publisher
from include.nyc_taxi import Month, TripFile, catalog, editions, landing, targets
from include.nyc_taxi.changes import Changes
from include.nyc_taxi.errors import PermanentError
from include.nyc_taxi.lake import Lake, data_key, raw_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PUBLISHED = LOCAL / "published"
RETRY_DELAY = "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY"
OUR_LOGGERS = "include."
A_TASK_STARTS = "[DAG TEST] starting task_id="
# Where the files of a source may be, relative to the folder that --source names.
PLACES = {"official": ("", ".."), "csv_mirror": ("csv-mirror", "", ".."), "csv_archive": ("", "..")}

POSTGRES_QUESTION = """\
SELECT extract(hour FROM pickup_datetime)::int AS hour,
       count(*) AS trips,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY dropoff_datetime - pickup_datetime) AS median_duration
FROM {table}
WHERE file_month = {month}
GROUP BY hour
ORDER BY trips DESC
LIMIT 3"""
BIGQUERY_QUESTION = """\
SELECT EXTRACT(HOUR FROM pickup_datetime) AS hour,
       COUNT(*) AS trips,
       ROUND(AVG(DATETIME_DIFF(dropoff_datetime, pickup_datetime, SECOND)) / 60, 1) AS mean_minutes
FROM `{table}`
WHERE file_month = '{month}'
GROUP BY hour
ORDER BY trips DESC
LIMIT 3"""
COUNT = "SELECT COUNT(*) FROM `{table}` WHERE file_month = '{month}'"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the demo; exit with 1 if the flow fails."""
    chosen = _parser().parse_args(arguments)
    file = TripFile(chosen.colour, chosen.month)
    with ExitStack() as stack:
        source, base_url = _origin(file, chosen.source, stack)
        environment = project.project_environment({RETRY_DELAY: "1"} | os.environ) | {  # someone is watching
            f"AIRFLOW_CONN_{catalog.source(source).connection.upper()}": json.dumps(
                {"conn_type": "http", "host": base_url}
            ),
        }
        prepare_airflow(environment)
        show = _through_bigquery if chosen.flow == "bigquery" else _through_postgres
        show(file, source, environment)


def _through_postgres(file: TripFile, source: str, environment: dict[str, str]) -> None:
    _say("starting the embedded Postgres")
    server = keep_warehouse()
    environment |= {WAREHOUSE: warehouse_connection(server), "AIRFLOW_VAR_TAXI_LAKE": f"file://{LOCAL / 'lake'}"}
    conf = {"colour": file.service, "year": file.month.year, "month": file.month.month, "source": source}
    seconds = _run_flow("ingest_data", conf, environment)
    with psycopg.connect(server.conninfo()) as connection:
        _report(connection, file, seconds)


def _through_bigquery(file: TripFile, source: str, environment: dict[str, str]) -> None:
    _say("starting the local cloud: GCS and BigQuery emulators")
    cloud = keep_cloud()
    environment |= {**cloud, "AIRFLOW_VAR_TAXI_LAKE": f"gs://taxi_gcp@{BUCKET}"}
    os.environ |= cloud
    conf = {
        "colour": file.service,
        "year": file.month.year,
        "months": [file.month.month],
        "source": source,
        "target": "bigquery",
    }
    seconds = _run_flow("etl_parent_flow", conf, environment)
    _report_bigquery(file, seconds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make demo", description="Load one month with the real DAG.")
    parser.add_argument("--source", help="folder or URL of the publisher's files; default: a generated month")
    parser.add_argument("--flow", default="postgres", choices=["postgres", "bigquery"], help="the target of the rows")
    parser.add_argument("--colour", default="yellow", choices=sorted(catalog.services()))
    parser.add_argument("--month", type=_month, default=Month(2021, 1), help="YYYY-MM")
    return parser


def _month(text: str) -> Month:
    try:
        return Month.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _origin(file: TripFile, named: str | None, stack: ExitStack) -> tuple[str, str]:
    """Return the source to download from, and its base URL."""
    if named is not None and "://" in named:
        return "official", named
    if named is None:
        folder, source = PUBLISHED, "official"
        generate(file, folder / catalog.source(source).path_of(file))
    else:
        folder, source = _found(file, Path(named))
    publisher = stack.enter_context(Publisher(folder))
    return source, publisher.base_url


def _found(file: TripFile, named: Path) -> tuple[Path, str]:
    """Return the folder to serve as a source's base URL, and the source."""
    tried = []
    for source, places in PLACES.items():
        for place in places:
            folder = (named / place).resolve()
            path = folder / catalog.source(source).path_of(file)
            if path.is_file():
                return folder, source
            tried.append(str(path))
    sys.exit("\n  ".join([f"{file} is not in {named}; tried", *tried]))


def generate(file: TripFile, path: Path) -> None:
    """Generate a trip file, unless the path has one; another process may do the same at the same time."""
    if path.exists():
        return
    _say(f"generating a month of trips: {path.relative_to(ROOT)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    try:
        write_month(file, unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _run_flow(dag: str, conf: dict[str, Any], environment: dict[str, str]) -> float:
    """Run the DAG in a process of its own, show its tasks' messages, and return the seconds that they took."""
    log = log_file("demo")
    _say(f"running: airflow dags test {dag} -c '{json.dumps(conf)}'")
    command = [*AIRFLOW, "dags", "test", dag, "-c", json.dumps(conf)]
    started: float | None = None
    with (
        log.open("w") as whole,
        subprocess.Popen(
            command,
            env=environment | {"AIRFLOW__LOGGING__JSON_LOGS": "True"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as flow,
    ):
        assert flow.stdout is not None  # noqa: S101 - it is a PIPE
        for line in flow.stdout:
            whole.write(line)
            if _show(line) and started is None:
                started = monotonic()
    if flow.returncode:
        sys.exit(f"\nthe flow failed; its whole log is in {log.relative_to(ROOT)}")
    return monotonic() - (started or monotonic())


def _show(line: str) -> bool:
    """Print the interesting part of a line of the log; return whether it comes from a running task."""
    try:
        entry = json.loads(line)
        event, logger = str(entry["event"]), str(entry.get("logger", ""))
    except (ValueError, TypeError, KeyError):
        return False
    if event.startswith(A_TASK_STARTS):
        _say(event.removeprefix(A_TASK_STARTS).split()[0])
        return False
    if logger.startswith(OUR_LOGGERS):
        _say(f"    {event}")
        return True
    for error in entry.get("exception") or ():
        _say(f"    {error['exc_type']}: {error['exc_value']}")
    return False


def _report(connection: psycopg.Connection[Any], file: TripFile, seconds: float) -> None:
    postgres = targets.get("postgres")
    table, load = postgres.table(file.service), postgres.own_loads(connection).get(file)
    if load is None:
        sys.exit(f"the flow succeeded, but load_ledger has no row for {file}: please report this")
    rate = load.rows_loaded / load.seconds if load.seconds else 0
    print(
        f"\n{file} is in {table}\n"
        f"  rows read      {load.rows_read:>12,}   {load.source_url}\n"
        f"  rows loaded    {load.rows_loaded:>12,}   by {load.dag_id}, {load.loaded_at:%Y-%m-%d %H:%M:%S %Z}\n"
        f"  rows rejected  {load.rows_rejected:>12,}   {_reasons(load.rejected_by_reason)}\n"
        f"  load step      {load.seconds:>12.2f} s {rate:,.0f} rows/s\n"
        f"  all steps      {seconds:>12.2f} s without Airflow's start\n"
        f"{_edition(Lake.at(LOCAL / 'lake'), file, load.source or 'official', load.source_sha256)}"
    )
    question = sql.SQL(POSTGRES_QUESTION).format(table=table.identifier, month=sql.Literal(file.month.first_day))
    _show_query(question.as_string(connection))
    for hour, trips, median_duration in connection.execute(question):
        print(f"    {hour:02d} h {trips:>10,} trips, median duration {median_duration}")
    print(
        "\nNext:\n"
        """  make psql    opens a SQL prompt in the warehouse, or answers: make psql ARGS="-c 'TABLE load_ledger'"\n"""
        "  make ui      starts Airflow with its web page\n"
    )


def _edition(lake: Lake, file: TripFile, source: str, sha256: str) -> str:
    """Say which edition of the file is loaded, and what it changed."""
    history = editions.history(lake, raw_key(file, source))
    edition = history.by_sha256(sha256)
    if edition is None:
        return ""
    told = f"{edition.number} of {len(history.editions)}, first seen {edition.first_seen[:10]}"
    changes = f"\n{file} was republished: {Changes(**edition.changes)}\n" if edition.changes else ""
    return f"  edition        {edition.id:>12}   {told}\n{changes}"


def _reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in counts.items()) or "none"


def _show_query(question: str) -> None:
    print("\n".join(f"  {line}" for line in question.splitlines()))


def _report_bigquery(file: TripFile, seconds: float) -> None:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.bigquery import Client

    credentials = AnonymousCredentials()  # type: ignore[no-untyped-call] # published half typed
    client = Client(project="local", credentials=credentials)
    lake = Lake.at(f"gs://{BUCKET}")
    table = targets.get("bigquery").table(file.service)
    landed = landing.whole(file, lake)
    (counted,) = client.query_and_wait(COUNT.format(table=table, month=file.month.first_day))
    print(
        f"\n{file} is in the lake and in {table}\n"
        f"  rows published {landed.rows_read:>12,}   {landed.source_url}\n"
        f"  rows in lake   {landed.rows_accepted:>12,}   {lake.url(data_key(file))}\n"
        f"  rows in table  {counted[0]:>12,}   {client.project}.{table}\n"
        f"  rows rejected  {landed.rows_rejected:>12,}   {_reasons(landed.rejected_by_reason)}\n"
        f"  all steps      {seconds:>12.2f} s without Airflow's start\n"
        f"{_edition(lake, file, landed.source, landed.source_sha256)}"
    )
    question = BIGQUERY_QUESTION.format(table=table, month=file.month.first_day)
    _show_query(question)
    for row in client.query_and_wait(question):
        print(f"    {row.hour:02d} h {row.trips:>10,} trips, mean duration {row.mean_minutes} minutes")
    print("\nGCS and BigQuery were emulated locally; docs/local-cloud.md lists what the emulators lack.\n")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    try:
        main()
    except PermanentError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
