"""table: where the months of a service go in a target."""

from __future__ import annotations

from typing import Protocol


class Table(Protocol):
    """A table, dataset or folder. Its ``str`` is the name that people write and the ledger keeps."""

    def __str__(self) -> str:
        """The name that people write."""


def published_name(service: str) -> str:
    """Return the name of a service's files without their month, which is that of the view with their columns."""
    return f"{service}_tripdata"
