"""month: Month, the grain of every file, run and partition, always written ``YYYY-MM``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MONTHS_A_YEAR = 12
_SPELLING = re.compile(r"(\d{4})-(\d{2})", re.ASCII)


@dataclass(frozen=True, order=True)
class Month:
    """Names a calendar month; months can be compared, and counted on and back by ``+`` and ``-``.

    >>> Month.parse("2024-01") - 2
    Month(year=2023, month=11)
    >>> print(Month(2024, 1))
    2024-01

    Raises:
        ValueError: the month is not one of 1..12, or the year not one of 1..9999.
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
        """Read ``YYYY-MM``.

        Raises:
            ValueError: the text is anything else.
        """
        match = _SPELLING.fullmatch(text)
        if match is None:
            raise ValueError(f"month {text!r} is not YYYY-MM")
        try:
            return cls(int(match[1]), int(match[2]))
        except ValueError as error:
            raise ValueError(f"month {text!r} is not YYYY-MM: {error}") from None

    @classmethod
    def of(cls, day: date) -> Month:
        """Return the month of a date or a datetime."""
        return cls(day.year, day.month)

    @staticmethod
    def range(first: Month, last: Month) -> Iterator[Month]:
        """Give every month from the first to the last, both included."""
        while first <= last:
            yield first
            first += 1

    @property
    def first_day(self) -> date:
        """The month's first day, which stands for it in tables as ``file_month``."""
        return date(self.year, self.month, 1)

    @property
    def first_microsecond(self) -> int:
        """The start of the month in microseconds since 1970-01-01 00:00, both in New York wall time."""
        start = datetime.combine(self.first_day, time.min, UTC)
        return int(start.timestamp()) * 1_000_000

    def __add__(self, months: int) -> Month:
        year, month = divmod(self.year * _MONTHS_A_YEAR + self.month - 1 + months, _MONTHS_A_YEAR)
        return Month(year, month + 1)

    def __sub__(self, months: int) -> Month:
        return self + -months

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"
