"""summaries: the counts of each loaded month that a target may keep, so that nobody has to scan trips for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.nyc_taxi.trip_file import TripFile

Client = TypeVar("Client", contravariant=True)  # noqa: PLC0105 - it is `Client` wherever a target speaks of it


class MonthOfTrips(NamedTuple):
    """The trips of a loaded month. Fares and tips are US dollars, of the trips with a known fare within 5,000 dollars.

    `without_meter` is None for services without meters.
    """

    service: str
    month: str
    trips: int
    without_meter: int | None
    outside_month: int
    fares: int
    fare_sum: float
    tip_sum: float


class ZoneOfTrips(NamedTuple):
    """The trips of a month that began and that ended in a zone; fares and tips are those of trips that began there."""

    location_id: int
    pickups: int
    dropoffs: int
    fares: int
    fare_sum: float
    tip_sum: float


class ZoneShape(NamedTuple):
    """A taxi zone with its GeoJSON geometry, which is None for zones that are no place."""

    location_id: int
    zone: str
    borough: str
    shape: dict[str, Any] | None


class Summaries(Protocol[Client]):
    """What a target with summaries answers. Each question reads a few rows and never scans trips."""

    def months(self, client: Client) -> Sequence[MonthOfTrips]:
        """Every month that has a summary; of several tables with a month, the service's default one."""

    def hours(self, client: Client, file: TripFile) -> Sequence[int]:
        """The month's trips by the hour of the week in which they began: 168 counts from Monday 00:00, or none."""

    def zones(self, client: Client, file: TripFile) -> Sequence[ZoneOfTrips]:
        """The month's trips by zone."""

    def shapes(self, client: Client) -> Sequence[ZoneShape]:
        """The taxi zones; none before they are loaded."""

    def edition(self, client: Client) -> str:
        """A text that changes whenever the zones change."""
