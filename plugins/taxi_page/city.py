"""city: the map of the taxi zones, drawn as SVG paths, and the hours that a month has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import cos, radians
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from include.nyc_taxi import Month
    from include.nyc_taxi.targets.summaries import ZoneShape

    Polygon = Sequence[Sequence[Sequence[float]]]
    Place = Callable[[float, float], tuple[int, int]]

_WIDTH = 1000
_LATITUDE = 40.7
_NEW_YORK = ZoneInfo("America/New_York")
_HOURS_A_DAY, _HOURS_A_WEEK = 24, 168


class DrawnZone(NamedTuple):
    """A zone of the map: its names, and its outline as an SVG path, which is empty for zones without a shape."""

    location_id: int
    zone: str
    borough: str
    path: str


def hours_of_the_week(month: Month) -> list[int]:
    """How often each hour of the week occurs in a month, from Monday 00:00, by the clocks of New York.

    It is four or five times, but for the hours that the clocks skip in spring and repeat in autumn.
    """
    counts = [0] * _HOURS_A_WEEK
    first, end = (
        datetime.combine(each.first_day, datetime.min.time(), _NEW_YORK).astimezone(UTC) for each in (month, month + 1)
    )
    for hour in range((end - first) // timedelta(hours=1)):
        local = (first + timedelta(hours=hour)).astimezone(_NEW_YORK)
        counts[_HOURS_A_DAY * local.weekday() + local.hour] += 1
    return counts


def zone_map(zones: Sequence[ZoneShape]) -> list[DrawnZone]:
    """Draw the zones as paths of one map, 1,000 units wide; nothing without any shape."""
    polygons = {zone.location_id: _polygons(zone) for zone in zones}
    outlines = [point for found in polygons.values() for polygon in found for point in polygon[0]]
    if not outlines:
        return []
    place = _projection(outlines)
    return [DrawnZone(*zone[:3], _outline(polygons[zone.location_id], place)) for zone in zones]


def _polygons(zone: ZoneShape) -> Sequence[Polygon]:
    found: Sequence[Polygon] = zone.shape["coordinates"] if zone.shape else ()
    return found


def _projection(points: Iterable[Sequence[float]]) -> Place:
    """From longitude and latitude to the grid of the map, which these points fill."""
    longitudes, latitudes = zip(*points, strict=True)
    west, north = min(longitudes), max(latitudes)
    scale = _WIDTH / (max(longitudes) - west)

    def place(longitude: float, latitude: float) -> tuple[int, int]:
        # Rounding keeps the corners that neighbours share; simplifying each shape alone opens gaps between them.
        return round((longitude - west) * scale), round((north - latitude) * scale / cos(radians(_LATITUDE)))

    return place


def _outline(polygons: Iterable[Polygon], place: Place) -> str:
    rings: Iterator[Sequence[Sequence[float]]] = (ring for polygon in polygons for ring in polygon)
    return "".join(_path([place(longitude, latitude) for longitude, latitude in ring]) for ring in rings)


def _path(points: Sequence[tuple[int, int]]) -> str:
    """A ring as an SVG path without points that add nothing; empty if it is smaller than the grid."""
    kept: list[tuple[int, int]] = []
    for point in points:
        while len(kept) > 1 and _are_in_line(kept[-2], kept[-1], point):
            kept.pop()
        if not kept or kept[-1] != point:
            kept.append(point)
    if len(kept) <= 3:  # noqa: PLR2004 - the first is the last
        return ""
    moves = " ".join(f"{to[0] - start[0]} {to[1] - start[1]}" for start, to in pairwise(kept))
    return f"M{kept[0][0]} {kept[0][1]}l{moves}z"


def _are_in_line(first: tuple[int, int], second: tuple[int, int], third: tuple[int, int]) -> bool:
    return (second[0] - first[0]) * (third[1] - second[1]) == (second[1] - first[1]) * (third[0] - second[0])
