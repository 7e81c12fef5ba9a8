"""choice: what `make demo` is asked for, checked before anything is made.

    python -m devtools.demo.choice --colour green --months 2024-01..2024-06

It imports nothing that must be installed, so `make demo` checks its variables before it installs anything.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from include.nyc_taxi import Month, TripFile, catalog

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_MONTH = Month(2021, 1)
# The source whose files are generated, and that a URL is taken for.
OFFICIAL = "official"


@dataclass(frozen=True)
class Choice:
    """What the demo shall load. `source` is a folder or a URL; None is months that it generates."""

    flow: str
    service: str
    months: tuple[Month, ...]
    source: str | None

    @property
    def files(self) -> list[TripFile]:
        """The files of the months, in order."""
        return [TripFile(self.service, month) for month in self.months]

    @property
    def is_generated(self) -> bool:
        """Whether the trips are generated."""
        return self.source is None


class _Parser(argparse.ArgumentParser):
    """Tells errors in one line, with the names of make's variables."""

    def error(self, message: str) -> NoReturn:
        sys.exit(f"make demo: {message}")


def parse(arguments: Sequence[str] | None = None, today: date | None = None) -> Choice:
    """Return what the arguments ask for; exit with a line that says what was expected."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        service = catalog.service(given.colour).name
        months = _months(given, service, Month.of(today or date.today()) - 1)  # noqa: DTZ011 - the user's own day
        if given.source is not None and "://" not in given.source and not Path(given.source).is_dir():
            raise ValueError(f"SOURCE={given.source} is no folder and no URL; expected one with trip files")  # noqa: TRY301 - one handler
    except ValueError as error:
        parser.error(str(error))
    return Choice(given.flow, service, months, given.source)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="make demo", description="Load one or more months with the real Dags.")
    parser.add_argument("--source", help="folder or URL of the publisher's files; default: generated months")
    parser.add_argument(
        "--flow", default="postgres", choices=["postgres", "bigquery", "duckdb"], help="the target of the rows"
    )
    parser.add_argument("--colour", default="yellow", help=f"one of {', '.join(sorted(catalog.services()))}")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--month", help=f"YYYY-MM; default: {DEFAULT_MONTH}")
    which.add_argument("--months", help="YYYY-MM..YYYY-MM, both included")
    which.add_argument("--year", help="YYYY: every month of it that is published")
    return parser


def _months(given: argparse.Namespace, service: str, last: Month) -> tuple[Month, ...]:
    """Return the months that are asked for; `last` is the last one that has ended."""
    first = _first(service, given.source)
    if given.year is not None:
        return _of_year(given.year, service, first, last)
    asked = _asked(given)
    for month in (asked[0], asked[-1]):
        if not first <= month <= last:
            raise ValueError(f"{service} {month} is not a published month; expected one from {first} to {last}")
    return asked


def _asked(given: argparse.Namespace) -> tuple[Month, ...]:
    if given.months is None:
        return (_month("MONTH", given.month) if given.month else DEFAULT_MONTH,)
    start, _, end = given.months.partition("..")
    months = tuple(Month.range(_month("MONTHS", start), _month("MONTHS", end or start)))
    if not months:
        raise ValueError(f"MONTHS={given.months} ends before it starts; expected such as 2024-01..2024-12")
    return months


def _month(variable: str, text: str) -> Month:
    try:
        return Month.parse(text)
    except ValueError as error:
        raise ValueError(f"{variable}: {error}") from None


def _of_year(text: str, service: str, first: Month, last: Month) -> tuple[Month, ...]:
    if not (text.isascii() and text.isdecimal() and len(text) == len("YYYY") and int(text)):
        raise ValueError(f"YEAR={text} is not YYYY")
    year = int(text)
    months = tuple(Month.range(max(first, Month(year, 1)), min(last, Month(year, 12))))
    if not months:
        raise ValueError(f"{service} {year} is not a published year; expected one from {first.year} to {last.year}")
    return months


def _first(service: str, source: str | None) -> Month:
    """Return the first month of a service: of the official source, or of any that a folder may have."""
    eras = catalog.service(service).eras
    names = eras if source is not None and "://" not in source else [OFFICIAL]
    return min(eras[name][0].since for name in names)


if __name__ == "__main__":
    parse()
