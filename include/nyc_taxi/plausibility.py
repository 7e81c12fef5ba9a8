"""plausibility: whether a trip file holds the month that it is named after, before it replaces anything."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from pyarrow import compute

from include.nyc_taxi.errors import Implausible

if TYPE_CHECKING:
    from include.nyc_taxi.landing import Landed
    from include.nyc_taxi.reading import Reading

log = logging.getLogger(__name__)

_PICKUP = "pickup_datetime"
_OUTSIDE = "pickup_outside_month"
_LARGEST_SHARE_OUTSIDE = 0.5
# A few rows show no month: real files begin with some trips of earlier years.
_FEWEST_PICKUPS = 20


def check(reading: Reading, result: Landed, *, pickups: int, accepts: bool) -> None:
    """Check the figures of a file that was read to its end. If somebody accepts them, only warn.

    Args:
        reading: the file, for a second look if its figures are implausible.
        result: its counts of rows.
        pickups: how many of its rows have a pickup time; a file with few is not judged by its month.
        accepts: whether somebody has accepted an implausible file.

    Raises:
        Implausible: most pickups lie outside of the month, or no row is accepted.
    """
    if (doubt := _doubt(reading, result, pickups)) is None:
        return
    if not accepts:
        raise Implausible(f"{reading.file}: {doubt}; to load the file anyway, set the param accept_implausible")
    log.warning("%s: %s; loading it anyway, as asked", reading.file, doubt)


def _doubt(reading: Reading, result: Landed, pickups: int) -> str | None:
    """Say what is implausible; None if nothing is."""
    outside = result.rule_hits.get(_OUTSIDE, 0)
    if pickups >= _FEWEST_PICKUPS and outside > _LARGEST_SHARE_OUTSIDE * pickups:
        ((month, most),) = _months(reading).most_common(1)
        return (
            f"{outside:,} of {pickups:,} pickups ({outside / pickups:.0%}) lie outside of {reading.file.month}, "
            f"and {most:,} of them in {month}"
        )
    if result.rows_accepted == 0:
        rejected = ", ".join(f"{count:,} {reason}" for reason, count in result.rejected_by_reason.items())
        return f"profile {result.quality_profile} accepts none of its {result.rows_read:,} rows (rejected: {rejected})"
    return None


def _months(reading: Reading) -> Counter[str]:
    """Count the pickups by month, those of the file's own month aside."""
    months: Counter[str] = Counter()
    for trips in reading.look_through((_PICKUP,)):
        firsts = compute.strftime(trips[_PICKUP].drop_null(), format="%Y-%m")
        months.update({count["values"]: count["counts"] for count in firsts.value_counts().to_pylist()})
    del months[str(reading.file.month)]
    return months
