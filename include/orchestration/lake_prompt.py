"""lake_prompt: a prompt for questions to the lake, with history and completion; a statement ends with a semicolon."""

from __future__ import annotations

import os
import readline
import shutil
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from include.nyc_taxi.errors import TaxiError
from include.nyc_taxi.lake_views.reading_only import is_complete

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.nyc_taxi.lake_views import LakeViews

_PROMPT, _CONTINUED = "lake> ", "  ... "
_LEAVING = {"exit", "quit", "\\q", ".quit", ".exit"}
_LISTING = {"\\d", ".tables"}
_HELPING = {"help", "?", "\\?", ".help"}
_HISTORY_LINES = 1_000
_ROWS_SHOWN = 60
_ANY_WIDTH = 10_000
_PLAN = ["explain_key", "explain_value"]
_WORDS = """
select from where group by order by limit having with as join left on using count sum avg min max round extract hour
case when then else end and or not null is in between like distinct describe summarize desc
"""
_HELP = """A statement ends with a semicolon, and may have several lines. Ctrl-C drops it; Ctrl-D or \\q leaves.
  show tables;
  describe green_taxi_trips;
  select extract(hour from pickup_datetime) as hour, count(*) from green_taxi_trips group by 1 order by 1;"""


def talk(views: LakeViews) -> None:
    """Say what views there are, and answer statements until the end of the input."""
    print("\n".join(head(views)), flush=True)
    _complete_names_of(views)
    with _history():
        for statement in _statements():
            try:
                answer(views, statement)
            except (duckdb.Error, TaxiError, ValueError) as error:
                print(told(error), flush=True)
            except KeyboardInterrupt:
                print("interrupted", flush=True)


def head(views: LakeViews) -> Iterator[str]:
    """Yield what people see first: the lake, its months and its views."""
    yield f"DuckDB {duckdb.__version__} over {views.lake.url('').rstrip('/')}, read-only"
    in_place = {service: months for service, months in views.in_place().items() if months}
    for service, months in in_place.items():
        first, last = months[0].file.month, months[-1].file.month
        rows = sum(month.description["rows_accepted"] for month in months)
        span = f"{first}" if first == last else f"{len(months)} months, {first} to {last}"
        views_of = ", ".join(name for name in views.names if name.startswith(f"{service}_"))
        yield f"  {views_of}: {span}, {rows:,} rows"
    if not in_place:
        yield "  no month is in place yet: make demo loads one"
    yield "  load_ledger: what is in place; editions: what was published; taxi_zones"
    yield "help shows examples, \\q leaves"


def answer(views: LakeViews, statement: str) -> None:
    """Print what one statement asks for: of many rows the first and the last, as wide as the terminal or as they need.

    Raises:
        ValueError: the statement would write.
        duckdb.Error, TaxiError: it is wrong, or cannot be answered.
    """
    relation = views.ask(statement)
    if relation is None:
        return
    if relation.columns == _PLAN:
        print(*(plan for _, plan in relation.fetchall()), sep="\n", flush=True)
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _ANY_WIDTH
        relation.show(max_rows=_ROWS_SHOWN, max_width=width)


def told(error: Exception) -> str:
    """Return an error of a statement for people: DuckDB's words, with the line and the place that it points to."""
    return str(error).strip().replace("\n\n", "\n")


def _statements() -> Iterator[str]:
    """Yield each statement that is typed, until the end of the input."""
    lines: list[str] = []
    while True:
        try:
            lines.append(input(_CONTINUED if lines else _PROMPT))
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()
            lines = []
            continue
        text = "\n".join(lines)
        command = text.strip().rstrip(";").lower()
        if command in _LEAVING:
            return
        if command in _HELPING:
            print(_HELP, flush=True)
        elif command in _LISTING:
            yield "show tables"
        elif is_complete(text):
            yield from _split(text)
        elif command:
            continue
        lines = []


def _split(text: str) -> Iterator[str]:
    try:
        yield from (statement.query for statement in duckdb.extract_statements(text))
    except duckdb.Error as error:
        print(told(error), flush=True)


@contextmanager
def _history() -> Iterator[None]:
    """Keep what is typed in a file of the deployment's own, for the arrow keys of the next time."""
    file = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "sql_history"
    readline.set_history_length(_HISTORY_LINES)
    with suppress(OSError):
        readline.read_history_file(file)
    try:
        yield
    finally:
        with suppress(OSError):
            readline.write_history_file(file)
            file.chmod(0o600)


def _complete_names_of(views: LakeViews) -> None:
    """Complete words of SQL, views and columns by the Tab key."""
    words = sorted({*_WORDS.split(), *views.names, *(name for columns in views.columns().values() for name in columns)})

    def completion(start: str, number: int) -> str | None:
        found = [word for word in words if word.startswith(start.lower())]
        return found[number] if number < len(found) else None

    readline.set_completer(completion)
    readline.set_completer_delims(" \t\n,;()=<>+-*/.")
    readline.parse_and_bind("tab: complete")
