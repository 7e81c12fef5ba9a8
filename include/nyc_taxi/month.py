"""Month: the grain of everything here, spelled ``YYYY-MM`` wherever it appears."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MONTHS_A_YEAR = 12
_SPELLING = re.compile(r"(\d{4})-(\d{2})", re.ASCII)


@dataclass(frozen=True, order=True)
class Month:
    """A calendar month.

    >>> Month.parse("2024-01") - 2
    Month(year=2023, month=11)
    >>> print(Month(2024, 1))
    2024-01
    """

    year: int
    month: int

    def __post_init__(self) -> None:
        if not 1 <= self.month <= _MONTHS_A_YEAR:
            raise ValueError(f"month {self.month!r} is not one of 1..12")
        if not MINYEAR <= self.year <= MAXYEAR:
            raise ValueError(f"year {self.year!r} is not one of {MINYEAR}..{MAXYEAR}")

    @classmethod
    def parse(cls, text: str) -> Month:
        """Read ``YYYY-MM``; anything else is a ValueError that shows the value."""
        match = _SPELLING.fullmatch(text)
        if match is None:
            raise ValueError(f"month {text!r} is not YYYY-MM")
        try:
            return cls(int(match[1]), int(match[2]))
        except ValueError as error:
            raise ValueError(f"month {text!r} is not YYYY-MM: {error}") from None

    @classmethod
    def of(cls, day: date) -> Month:
        """The month that a date (or a datetime) lies in."""
        return cls(day.year, day.month)

    @staticmethod
    def range(first: Month, last: Month) -> Iterator[Month]:
        """Every month from the first to the last, both included."""
        while first <= last:
            yield first
            first += 1

    @property
    def first_day(self) -> date:
        """The date that stands for the month in tables (``file_month``)."""
        return date(self.year, self.month, 1)

    def __add__(self, months: int) -> Month:
        year, month = divmod(self.year * _MONTHS_A_YEAR + self.month - 1 + months, _MONTHS_A_YEAR)
        return Month(year, month + 1)

    def __sub__(self, months: int) -> Month:
        return self + -months

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"
