"""lake_sql: ask the lake questions in SQL: at a prompt, or one statement after another from the command line or stdin.

make sql
make sql ARGS="'select count(*) from green_taxi_trips'"
make sql ARGS="--csv --lake gs://bucket/prefix" < question.sql

Nothing but the lake is needed: DuckDB reads its files where they are (`include/nyc_taxi/lake_views`).
"""

from __future__ import annotations

import argparse
import csv
import os
import sys

import duckdb

from include.nyc_taxi import addresses
from include.nyc_taxi.errors import TaxiError
from include.nyc_taxi.lake import Lake
from include.nyc_taxi.lake_views import LakeViews
from include.orchestration import lake_prompt
from include.orchestration.lake_prompt import answer, told

_ROWS_AT_A_TIME = 10_000


def main() -> None:
    """Answer each statement that is given, else prompt for them. Exit with 1 at the first that cannot be answered."""
    options = _parser().parse_args()
    try:
        views = LakeViews(_lake(options.lake))
    except (TaxiError, ValueError) as error:
        sys.exit(str(error))
    text = options.statement or (None if sys.stdin.isatty() else sys.stdin.read())
    try:
        if text is None:
            lake_prompt.talk(views)
        else:
            _answer_all(views, text, as_csv=options.csv)
    except TaxiError as error:
        sys.exit(str(error))
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        views.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make sql", description="Ask the lake questions in SQL. Without a statement: a prompt, or what stdin has."
    )
    parser.add_argument("statement", nargs="?", help="one or more statements, divided by ;")
    parser.add_argument("--csv", action="store_true", help="print all rows as CSV, for a program")
    parser.add_argument(
        "--lake",
        metavar="URL",
        help="file:///folder, or gs://bucket/prefix or s3://bucket/prefix with the credentials of this machine; "
        "default: the Variable taxi_lake",
    )
    return parser


def _lake(url: str | None) -> Lake:
    """The lake at a URL, else the one of this deployment.

    Raises:
        ValueError: the URL, or the Variable, names none.
    """
    if url is not None:
        if addresses.parse_lake(url, "--lake").connection is not None:
            raise ValueError(f"--lake is {addresses.shown_lake(url)!r}: only the Variable taxi_lake names a connection")
        return Lake.at(url)
    # Airflow's own commands set this, too: it makes Airflow look for connections and Variables in its database.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"  # it writes its log to stdout, where the rows go
    from include.orchestration import connections

    return connections.lake()


def _answer_all(views: LakeViews, text: str, *, as_csv: bool) -> None:
    try:
        for statement in duckdb.extract_statements(text):
            (_print_csv if as_csv else answer)(views, statement.query)
    except (duckdb.Error, TaxiError, ValueError) as error:
        sys.exit(told(error))


def _print_csv(views: LakeViews, statement: str) -> None:
    rows = views.execute(statement)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(name for name, *_ in rows.description or ())
    while some := rows.fetchmany(_ROWS_AT_A_TIME):
        writer.writerows(some)


if __name__ == "__main__":
    main()
