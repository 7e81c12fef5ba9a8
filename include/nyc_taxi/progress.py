"""Progress: a log line now and then while a long step runs, for the person who watches it."""

from __future__ import annotations

import logging
from time import monotonic

log = logging.getLogger(__name__)

_FIRST_LINE_AFTER_SECONDS = 1.0
_LONGEST_SILENCE_SECONDS = 10.0


class Progress:
    """Counts what is done and logs amount, share and rate now and then; `total` may be unknown."""

    def __init__(self, label: str, unit: str, total: int | None = None) -> None:
        self.label = label
        self.unit = unit
        self.total = total
        self.done = 0
        self._silence = _FIRST_LINE_AFTER_SECONDS
        self._started = self._spoke = monotonic()

    def advance(self, amount: int) -> None:
        """Add to what is done, and say so when it is time to."""
        self.done += amount
        now = monotonic()
        if now - self._spoke >= self._silence:
            self._spoke = now
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
