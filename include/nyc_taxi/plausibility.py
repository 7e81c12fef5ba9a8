"""plausibility: whether a trip file holds the month that it is named after, before it replaces anything."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Literal, NamedTuple

from pyarrow import compute

from include.nyc_taxi.errors import Implausible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.nyc_taxi.reading import Reading

log = logging.getLogger(__name__)

_PICKUP = "pickup_datetime"
OUTSIDE_MONTH = "pickup_outside_month"
"""The rule that finds pickups outside of the file's month."""
_LARGEST_SHARE_OUTSIDE = 0.5
# A few rows show no month: real files begin with some trips of earlier years.
_FEWEST_PICKUPS = 20


class Figures(NamedTuple):
    """What a file that was read to its end is judged by: counts of rows, and the profile that rejected some."""

    profile: str
    rows_read: int
    rows_accepted: int
    rejected_by_reason: Mapping[str, int]
    pickups: int
    """Rows with a pickup time; a file with few of them is not judged by its month."""
    outside_month: int
    """Those of them outside of the file's month."""
    in_place: Literal["nothing", "this edition", "another edition"]
    """What the month holds already."""


def check(reading: Reading, figures: Figures, *, accepts: bool) -> None:
    """Check the figures of a file. If somebody accepts an implausible one, only warn.

    A file of the month before or after is refused only if it would replace another edition: some publishers cut their
    files some hours or days late. An edition that is in place has been accepted before.

    Args:
        reading: the file, for a second look if its figures are implausible.
        figures: its figures.
        accepts: whether somebody has accepted an implausible file.

    Raises:
        Implausible: most pickups lie outside of the month, or no row is accepted.
    """
    file, pickups, outside = reading.file, figures.pickups, figures.outside_month
    is_known = False
    if pickups >= _FEWEST_PICKUPS and outside > _LARGEST_SHARE_OUTSIDE * pickups:
        ((month, most),) = _months(reading).most_common(1)
        is_neighbour = month in (str(file.month - 1), str(file.month + 1))
        is_known = figures.in_place == "this edition" or (is_neighbour and figures.in_place == "nothing")
        doubt = (
            f"{outside:,} of {pickups:,} pickups ({outside / pickups:.0%}) lie outside of {file.month}, "
            f"and {most:,} of them in {month}"
        )
    elif figures.rows_accepted == 0:
        rejected = ", ".join(f"{count:,} {reason}" for reason, count in figures.rejected_by_reason.items())
        doubt = f"profile {figures.profile} accepts none of its {figures.rows_read:,} rows (rejected: {rejected})"
    else:
        return
    if not (accepts or is_known):
        raise Implausible(f"{file}: {doubt}; to load the file anyway, set the param accept_implausible")
    log.warning("%s: %s; loading it anyway", file, doubt)


def _months(reading: Reading) -> Counter[str]:
    """Count the pickups by month, those of the file's own month aside."""
    months: Counter[str] = Counter()
    for trips in reading.look_through((_PICKUP,)):
        firsts = compute.strftime(trips[_PICKUP].drop_null(), format="%Y-%m")
        months.update({count["values"]: count["counts"] for count in firsts.value_counts().to_pylist()})
    del months[str(reading.file.month)]
    return months
