"""in_place: which lakes load jobs read from where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.nyc_taxi.lake import Lake

_READ_IN_PLACE = "gs://"


def is_read_in_place(lake: Lake) -> bool:
    """Whether load jobs can read the lake's files where they are; otherwise they are uploaded."""
    return lake.url("").startswith(_READ_IN_PLACE)
