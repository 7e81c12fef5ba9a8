"""zone_views: the views that join trips to the names of their zones: what they are called and have, in every target.

Each target has the statement in its own SQL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.nyc_taxi import catalog

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

TABLE = "taxi_zones"
DESCRIPTION = "Every trip, with the names of the zones where it began and ended; null where it has no location id."
NAMES = {
    "pickup_borough": ("pickup", "borough"),
    "pickup_zone": ("pickup", "zone"),
    "dropoff_borough": ("dropoff", "borough"),
    "dropoff_zone": ("dropoff", "zone"),
}
"""The first columns of a view: each with the end of the trip and the column of the zones that it is."""
_JOINED_BY = {"pickup_location_id", "dropoff_location_id"}


def services() -> list[str]:
    """Return the services whose trips have zones."""
    return [service.name for service in catalog.services().values() if service.has_zones]


def view_of(service: str) -> str:
    """Return the name of the service's view."""
    return f"{service}_trips_with_zones"


def columns_over(trips: Iterable[str]) -> list[str]:
    """Return the columns of a view over a table with these columns."""
    return [*NAMES, *trips]


def can_join(trips: Collection[str]) -> bool:
    """Whether a table with these columns has the location ids that a view joins by."""
    return set(trips) >= _JOINED_BY


def selected(trips: Iterable[str], quote: str) -> str:
    """Return what a view selects: the names of the zones, and these columns of `trips`, in quotes of the dialect."""
    named = [f"{end}.{column} AS {name}" for name, (end, column) in NAMES.items()]
    return ",\n    ".join([*named, *(f"trips.{quote}{column}{quote}" for column in trips)])
