"""fault: what a fault is, and the list of all."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from include.nyc_taxi import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from devtools.faults.scene import Scene

KINDS = {
    "values": "Values and the shape of files",
    "damage": "Damaged files",
    "publisher": "The publisher's server",
    "hostile": "Files that mean harm",
    "set-up": "Set-up errors",
    "settings": "Databases as they are found",
    "database": "Postgres in mid-load",
    "lake": "The lake in a folder",
    "bucket": "The lake in a bucket",
    "bigquery": "BigQuery",
    "processes": "Processes killed, stopped and short of memory",
    "network": "The network",
    "clock": "Clocks",
    "concurrency": "Runs at the same time",
    "zones": "The taxi zones",
    "airflow": "Through Airflow",
}
"""The kinds of faults with their titles, in the order of the report. Each has a module of its name."""

RIGHT = "right"
"""What is expected of most faults: the new edition is in place in the end, by itself."""

TRIAGE = frozenset(
    {name for name, each in vars(errors).items() if inspect.isclass(each) and issubclass(each, errors.TaxiError)}
    | {"ValueError"}
) - {"TaxiError", "TransientError"}
"""The words that an error may begin with: those that the Triage of the Dags explains."""


class NotHereError(Exception):
    """A fault cannot be tried on this machine."""


@dataclass(frozen=True)
class Fault:
    """A fault by name, what it does to a run that replaces edition 1 of a month by edition 2, and what is expected.

    `what` says in a sentence what is done. `do` prepares the scene for it. `expects` has `RIGHT` if the flow may end
    right by itself, and the words of the Triage that it may stop with. `begins_empty` leaves out edition 1. `is_short`
    is true of those that the short form tries. `not_survived` says why nobody may expect more, of a fault that is
    known to do harm.
    """

    kind: str
    name: str
    what: str
    do: Callable[[Scene], object]
    expects: Collection[str] = (RIGHT,)
    target: str = "postgres"
    in_bucket: bool = False
    begins_empty: bool = False
    is_short: bool = False
    not_survived: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.name}: kind {self.kind!r} is not one of {list(KINDS)}")
        if unknown := set(self.expects) - TRIAGE - {RIGHT}:
            raise ValueError(f"{self.name}: {sorted(unknown)} are no words of the Triage")


@cache
def every() -> tuple[Fault, ...]:
    """Return all faults, kind by kind.

    Raises:
        ValueError: two have the same name.
    """
    found = tuple(fault for kind in KINDS for fault in every_of(kind))
    names = [fault.name for fault in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two faults have one name: {sorted(twice)}")
    return found


@cache
def every_of(kind: str) -> tuple[Fault, ...]:
    """Return the faults of a kind."""
    return tuple(import_module(f"devtools.faults.kinds.{kind.replace('-', '_')}").faults())


def chosen(words: Sequence[str], *, short: bool = False) -> list[Fault]:
    """Return the faults of which the kind, or a part of the name, is one of the words; without words, all.

    Raises:
        ValueError: no fault fits.
    """
    fitting = [
        fault
        for fault in every()
        if (not words or any(_fits(fault, word) for word in words)) and (not short or fault.is_short)
    ]
    if not fitting:
        raise ValueError(f"no fault fits {list(words)}; kinds are {list(KINDS)}, and --list names the faults")
    return fitting


def _fits(fault: Fault, word: str) -> bool:
    return word == fault.kind if word in KINDS else bool(re.search(word, fault.name))
