"""airflow: some faults of other kinds once more, with Airflow running every task and deciding about every retry."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from devtools.faults.fault import Fault, every_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_KIND = "airflow"
_AGAIN = {
    "publisher": (
        "publisher: HTTP 503 for good",
        "publisher: HTTP 404",
        "publisher: HTTP 429 once",
        "publisher: cut after 200,000 bytes",
    ),
    "set-up": (
        "set-up, taxi_warehouse: wrong password",
        "set-up, taxi_lake: relative",
        "set-up, taxi_warehouse: refused in German",
    ),
    "damage": ("a file without its second half", "a file an HTML page"),
    "values": ("a file of another month", "a file with an unknown column"),
    "database": (
        "database: table dropped in mid-COPY",
        "database: connection ended in mid-COPY",
        "database: server gone",
    ),
    "lake": ("lake on a disk of 700 kB", "lake damaged in data/: values of a page"),
    "hostile": ("hostile: 5,000 columns",),
    "network": ("network to Postgres cut after 100,000 bytes",),
    "concurrency": ("overtaken after landing, into postgres",),
}
_SHORT = ("database: connection ended in mid-COPY",)


def faults() -> Iterator[Fault]:
    """List the faults of this kind."""
    for kind, names in _AGAIN.items():
        found = {fault.name: fault for fault in every_of(kind)}
        for name in names:
            fault = found[name]
            yield replace(
                fault,
                kind=_KIND,
                name=f"{name}, through Airflow",
                target="airflow",
                is_short=name in _SHORT,
            )
