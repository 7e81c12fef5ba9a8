"""Read `.env` as docker compose does, except that ``$`` has no special meaning, and find lines that are wrong."""

from __future__ import annotations

import difflib
import io
import re
from typing import TYPE_CHECKING, NamedTuple

from dotenv.parser import parse_stream

from include.orchestration import blocks

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

# Names that only this project or Airflow reads; Airflow's own settings and your connections have other forms.
OURS = re.compile(r"TAXI_|AIRFLOW_(?:CONN|VAR)_TAXI_|AIRFLOW_(?!_|CONN_|VAR_)|(?:API|WAREHOUSE|FLOWER|PGADMIN|WORKER)_")
NUMBERS = re.compile(
    r"UP_WITHIN_SECONDS|(?:API|WAREHOUSE|FLOWER|PGADMIN)_PORT|WORKER_CONCURRENCY|(?:LOG|RUN)_DAYS|TAXI_KEEP_EDITIONS"
)


class Line(NamedTuple):
    """A line of the file: its number, the name that it sets, and the value; the name is None if it cannot be read."""

    number: int
    name: str | None
    value: str | None
    text: str


def lines(file: Path) -> list[Line]:
    """Return the lines that are neither empty nor comments; none if there is no such file.

    Raises:
        ValueError: the file is not text in UTF-8.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise ValueError(f"{file.name}: found byte {error.start} that is not UTF-8; expected text in UTF-8") from None
    found = []
    for binding in parse_stream(io.StringIO(text)):
        whole = binding.original.string
        if binding.key is None and not binding.error:
            continue
        blank = len(whole) - len(whole.lstrip())
        number = binding.original.line + whole[:blank].count("\n")
        found.append(Line(number, binding.key, binding.value, whole.strip()))
    return found


def values(found: list[Line]) -> dict[str, str]:
    """Return what the lines set; a later line wins."""
    return {line.name: line.value for line in found if line.name is not None and line.value is not None}


def problems(file: Path, found: list[Line]) -> list[str]:
    """Return the lines that cannot be read, or whose connection cannot, with what is expected."""
    wrong = []
    for line in found:
        where = f"{file.name} line {line.number}"
        if line.name is None:
            wrong.append(f"{where}: found {_shown(line.text)}; expected NAME=value, with JSON in single quotes")
        elif said := of_connection(line.name, line.value or ""):
            wrong.append(f"{where}: {said}")
    return wrong


def problems_of(environment: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the connections of an environment."""
    return [
        f"environment variable {said}" for name, value in environment.items() if (said := of_connection(name, value))
    ]


def of_connection(name: str, value: str) -> str | None:
    """Return what is wrong with a connection of ours or of Airflow's; None for any other setting."""
    if name in blocks.names() or name.startswith("AIRFLOW_CONN_"):
        return blocks.problem(name, value)
    return None


def unlikely(file: Path, found: list[Line], known: Collection[str]) -> list[str]:
    """Return the lines that set what no program reads, set it again, or set a number to something else.

    Args:
        file: for its name.
        found: its lines.
        known: the settings that are documented.
    """
    wrong, first = [], dict[str, int]()
    for line in found:
        where = f"{file.name} line {line.number}"
        if line.name is None:
            continue
        if meant := _meant(line.name, known):
            wrong.append(f"{where}: found {line.name}, which nothing reads; expected {meant}")
        if line.name in first:
            wrong.append(f"{where}: found {line.name} again; expected it once, but line {first[line.name]} sets it too")
        if NUMBERS.fullmatch(line.name) and line.value and not line.value.isdecimal():
            wrong.append(f"{where}: {line.name}: found {line.value!r}; expected a whole number")
        first.setdefault(line.name, line.number)
    return wrong


def _meant(name: str, known: Collection[str]) -> str | None:
    """Return what a name that no program reads was probably meant to be; None for a name that may have a reader."""
    if name in known or not OURS.match(name):
        return None
    near = difflib.get_close_matches(name, known, n=1)
    return near[0] if near else "a setting of docs/settings.md or docs/stack.md"


def _shown(text: str) -> str:
    """Show what a line sets, but not to what, as that may be a password."""
    name, equals, _ = text.partition("=")
    shown = name.strip() if equals else text.split(maxsplit=1)[0]
    return f"{shown[:40]}{'=...' if equals else ' ...'}"
