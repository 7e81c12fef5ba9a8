"""order: Order, an edition's place among those of its file, which data/ and the ledgers keep."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True)
class Order:
    """An edition's place among those of its file: what data/ and the ledgers keep of it to compare by.

    What the publisher says comes first: the later Last-Modified. Without two of them, or from another URL, whose times
    are another server's, the one with the higher number follows.
    """

    url: str
    last_modified: str | None
    number: int

    def is_after(self, other: Order) -> bool:
        """Whether this edition is the newer one."""
        if self.url == other.url:
            ours, theirs = moment(self.last_modified), moment(other.last_modified)
            if ours is not None and theirs is not None and ours != theirs:
                return ours > theirs
        return self.number > other.number


def moment(http_date: str | None) -> datetime | None:
    """Return the time of a Last-Modified; None where it is missing or none."""
    try:
        found = parsedate_to_datetime(http_date) if http_date else None
    except (ValueError, OverflowError):
        return None
    return found and found.astimezone(UTC) if found is None or found.tzinfo else found.replace(tzinfo=UTC)
