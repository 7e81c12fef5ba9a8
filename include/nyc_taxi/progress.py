"""progress: log how far a long step has come, for the person who watches it."""

from __future__ import annotations

import logging
import re
from time import monotonic
from typing import NamedTuple

log = logging.getLogger(__name__)

_FIRST_LINE_AFTER_SECONDS = 1.0
_LONGEST_SILENCE_SECONDS = 10.0
_LINE = re.compile(r": (?P<amount>[\d,]+ (?:of [\d,]+ )?\w+)(?: \((?P<percent>\d+) %\))?, [\d,]+ \w+/s$")


class Reached(NamedTuple):
    """How far a step has come: its amount, such as `34,000 of 56,039 rows`, and its percent, None without a total."""

    amount: str
    percent: int | None


def reached(line: str) -> Reached | None:
    """Read a log line of `Progress` back; None if it is another line.

    >>> reached("green_tripdata_2024-01: 34,000 of 56,039 rows (60 %), 140,000 rows/s")
    Reached(amount='34,000 of 56,039 rows', percent=60)
    """
    found = _LINE.search(line)
    return found and Reached(found["amount"], int(found["percent"]) if found["percent"] else None)


class Progress:
    """Counts units and logs amount, share and rate: first after a second, then ever more rarely, every 10 s at least.

    Args:
        label: what each log line begins with, such as the name of the file.
        unit: what is counted, in the plural, such as rows.
        total: how many units there will be, if that is known.
    """

    def __init__(self, label: str, unit: str, total: int | None = None) -> None:
        self.label = label
        self.unit = unit
        self.total = total
        self.done = 0
        self._silence = _FIRST_LINE_AFTER_SECONDS
        self._started = self._logged_at = monotonic()

    def advance(self, amount: int) -> None:
        """Add to the count, and log it if the last log line is old enough."""
        self.done += amount
        now = monotonic()
        if now - self._logged_at >= self._silence:
            self._logged_at = now
            self._silence = min(2 * self._silence, _LONGEST_SILENCE_SECONDS)
            log.info("%s: %s", self.label, self._line())

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return monotonic() - self._started

    @property
    def rate(self) -> float:
        """Units per second since the start."""
        return self.done / max(self.seconds, 1e-9)

    def outcome(self, verb: str, where: str) -> str:
        """The line for the end of the step: `{label}: loaded 56,039 rows into {where} in 0.4 s (140,000 rows/s)`."""
        rate = f"{self.seconds:.1f} s ({self.rate:,.0f} {self.unit}/s)"
        return f"{self.label}: {verb} {self.done:,} {self.unit} into {where} in {rate}"

    def _line(self) -> str:
        amount = f"{self.done:,}"
        if self.total:
            amount += f" of {self.total:,} {self.unit} ({100 * self.done // self.total} %)"
        else:
            amount += f" {self.unit}"
        return f"{amount}, {self.rate:,.0f} {self.unit}/s"
