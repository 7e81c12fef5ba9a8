"""report: what the demo has loaded, and one question to the trips."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg import sql

from devtools.demo.choice import OFFICIAL
from include.nyc_taxi import editions, targets
from include.nyc_taxi.changes import Changes
from include.nyc_taxi.lake import data_key, raw_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import psycopg

    from devtools.demo.choice import Choice
    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.targets.loads import Load
    from include.nyc_taxi.trip_file import TripFile

POSTGRES_QUESTION = """\
SELECT extract(hour FROM pickup_datetime)::int AS hour,
       count(*) AS trips,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY dropoff_datetime - pickup_datetime) AS median_duration
FROM {table}
WHERE file_month BETWEEN {first} AND {last}
GROUP BY hour
ORDER BY trips DESC
LIMIT 3"""
BIGQUERY_QUESTION = """\
SELECT EXTRACT(HOUR FROM pickup_datetime) AS hour,
       COUNT(*) AS trips,
       ROUND(AVG(DATETIME_DIFF(dropoff_datetime, pickup_datetime, SECOND)) / 60, 1) AS mean_minutes
FROM `{table}`
WHERE file_month BETWEEN '{first}' AND '{last}'
GROUP BY hour
ORDER BY trips DESC
LIMIT 3"""
DUCKDB_QUESTION = """\
SELECT hour(pickup_datetime) AS hour,
       count(*) AS trips,
       median(dropoff_datetime - pickup_datetime) AS median_duration
FROM {table}
WHERE file_month BETWEEN '{first}' AND '{last}'
GROUP BY hour
ORDER BY trips DESC
LIMIT 3"""
COUNT = "SELECT COUNT(*) FROM `{table}` WHERE file_month BETWEEN '{first}' AND '{last}'"


NEXT = """
Next:
  make psql    opens a SQL prompt in the warehouse, or answers: make psql ARGS="-c 'TABLE load_ledger'"
  make ui      starts Airflow with its web page
"""


def of_postgres(connection: psycopg.Connection[Any], choice: Choice, lake: Lake, seconds: float) -> None:
    """Print what the warehouse holds of the files, and when most of their trips begin."""
    postgres = targets.get("postgres")
    table = postgres.table(choice.service)
    _show_loads(str(table), postgres.own_loads(connection), choice, lake, seconds)
    first, end = (sql.Literal(file.month.first_day) for file in (choice.files[0], choice.files[-1]))
    question = sql.SQL(POSTGRES_QUESTION).format(table=table.identifier, first=first, last=end)
    _show_query(question.as_string(connection))
    for hour, trips, median_duration in connection.execute(question):
        print(f"    {hour:02d} h {trips:>10,} {_trips(choice)}, median duration {median_duration}")
    print(NEXT)


def of_duckdb(path: Path, choice: Choice, lake: Lake, seconds: float) -> None:
    """Print what the DuckDB file holds of the files, and when most of their trips begin."""
    from include.nyc_taxi.targets.duckdb.database import DatabaseFile

    place, database = targets.get("duckdb"), DatabaseFile(path, read_only=True)
    table = place.table(choice.service)
    _show_loads(str(table), place.own_loads(database), choice, lake, seconds)
    question = DUCKDB_QUESTION.format(table=table, first=choice.months[0].first_day, last=choice.months[-1].first_day)
    _show_query(question)
    with database.reading() as connection:
        rows = connection.execute(question).fetchall() if connection else []
    for hour, trips, median_duration in rows:
        print(f"    {hour:02d} h {trips:>10,} {_trips(choice)}, median duration {median_duration}")
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    print(
        f'\nNext:\n  duckdb.connect("{shown}", read_only=True) in Python, or duckdb -readonly {shown}\n'
        "  make ui      starts Airflow with its web page\n"
    )


def _show_loads(table: str, own: Mapping[TripFile, Load], choice: Choice, lake: Lake, seconds: float) -> None:
    """Print what became of the rows of the files, by the ledger."""
    if missing := [file.name for file in choice.files if file not in own]:
        sys.exit(f"the flow succeeded, but load_ledger has no row for {', '.join(missing)}: please report this")
    loads = [own[file] for file in choice.files]
    last = max(loads, key=lambda load: load.loaded_at)
    print(
        f"\n{_what(choice)} in {table}\n"
        f"  rows read      {_total(load.rows_read for load in loads)}   {_urls(load.source_url for load in loads)}\n"
        f"  rows loaded    {_total(load.rows_loaded for load in loads)}   "
        f"by {last.dag_id}, {last.loaded_at:%Y-%m-%d %H:%M:%S %Z}\n"
        f"  rows rejected  {_total(load.rows_rejected for load in loads)}   "
        f"{_reasons(load.rejected_by_reason for load in loads)}\n"
        f"{_seconds(loads, seconds)}{_editions(lake, choice, [(load.source, load.source_sha256) for load in loads])}"
    )


def of_bigquery(choice: Choice, lake: Lake, seconds: float) -> None:
    """Print what lake and table of the local cloud hold of the files, and when most of their trips begin."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.bigquery import Client

    from include.nyc_taxi import landing

    credentials = AnonymousCredentials()  # type: ignore[no-untyped-call] # published half typed
    client = Client(project="local", credentials=credentials)
    table = targets.get("bigquery").table(choice.service)
    landed = [landing.whole(file, lake) for file in choice.files]
    span = {"table": table, "first": choice.files[0].month.first_day, "last": choice.files[-1].month.first_day}
    (counted,) = client.query_and_wait(COUNT.format(**span))
    print(
        f"\n{_what(choice)} in the lake and in {table}\n"
        f"  rows published {_total(each.rows_read for each in landed)}   {_urls(each.source_url for each in landed)}\n"
        f"  rows in lake   {_total(each.rows_accepted for each in landed)}   {lake.url(data_key(choice.files[0]))}\n"
        f"  rows in table  {counted[0]:>12,}   {client.project}.{table}\n"
        f"  rows rejected  {_total(each.rows_rejected for each in landed)}   "
        f"{_reasons(each.rejected_by_reason for each in landed)}\n"
        f"{_all_steps(seconds)}{_editions(lake, choice, [(each.source, each.source_sha256) for each in landed])}"
    )
    question = BIGQUERY_QUESTION.format(**span)
    _show_query(question)
    for row in client.query_and_wait(question):
        print(f"    {row.hour:02d} h {row.trips:>10,} {_trips(choice)}, mean duration {row.mean_minutes} minutes")
    print("\nGCS and BigQuery were emulated locally; docs/local-cloud.md lists what the emulators lack.\n")


def _what(choice: Choice) -> str:
    """Name the files: `green_tripdata_2024-01 (generated trips) is`, `2 months of green, 2024-01 to 2024-02, are`."""
    made = " (generated trips)" if choice.is_generated else ""
    first, last = choice.files[0], choice.files[-1]
    if first == last:
        return f"{first}{made} is"
    return f"{len(choice.files)} months of {choice.service}, {first.month} to {last.month}{made}, are"


def _trips(choice: Choice) -> str:
    return "generated trips" if choice.is_generated else "trips"


def _urls(urls: Iterable[str]) -> str:
    first, *others = urls
    return f"{first} and {len(others)} more" if others else first


def _total(counts: Iterable[int]) -> str:
    return f"{sum(counts):>12,}"


def _reasons(of_files: Iterable[Mapping[str, int]]) -> str:
    counts: Counter[str] = Counter()
    for of_file in of_files:
        counts.update(of_file)
    return ", ".join(f"{reason} {count:,}" for reason, count in counts.items()) or "none"


def _seconds(loads: Sequence[Load], seconds: float) -> str:
    in_load = sum(load.seconds or 0 for load in loads)
    rate = sum(load.rows_loaded for load in loads) / in_load if in_load else 0
    return f"  load step      {in_load:>12.2f} s {rate:,.0f} rows/s\n{_all_steps(seconds)}"


def _all_steps(seconds: float) -> str:
    return f"  all steps      {seconds:>12.2f} s without Airflow's start\n"


def _editions(lake: Lake, choice: Choice, loaded: Sequence[tuple[str | None, str]]) -> str:
    """Tell which edition of each file is loaded, if it is one file, and what each changed."""
    told = []
    for file, (source, sha256) in zip(choice.files, loaded, strict=True):
        history = editions.history(lake, raw_key(file, source or OFFICIAL))
        edition = history.by_sha256(sha256)
        if edition is None:
            continue
        if len(choice.files) == 1:
            number = f"{edition.number} of {len(history.editions)}, first seen {edition.first_seen[:10]}"
            told.append(f"  edition        {edition.id:>12}   {number}\n")
        if edition.changes:
            told.append(f"\n{file} was republished: {Changes(**edition.changes)}\n")
    return "".join(told)


def _show_query(question: str) -> None:
    print("\n".join(f"  {line}" for line in question.splitlines()))
