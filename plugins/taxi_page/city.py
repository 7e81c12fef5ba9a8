"""city: what the summaries of the loaded months say, and the map of the zones to show it on."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from math import cos, radians
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg.rows import dict_row

from include.nyc_taxi.targets.postgres import errors_told
from include.nyc_taxi.targets.sql_files import sql_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from include.nyc_taxi.trip_file import TripFile

_WIDTH = 1000
_LATITUDE = 40.7


class MonthOfTrips(NamedTuple):
    """A row of `trips_by_month`."""

    service: str
    month: str
    trips: int
    without_meter: int | None
    outside_month: int
    fares: int
    fare_sum: float
    tip_sum: float


class ZoneOfTrips(NamedTuple):
    """A row of `trips_by_zone`: trips that began and that ended there, and the fares and tips of the former."""

    location_id: int
    pickups: int
    dropoffs: int
    fares: int
    fare_sum: float
    tip_sum: float


class DrawnZone(NamedTuple):
    """A zone of the map: its names, and its outline as an SVG path, empty where it is no place."""

    location_id: int
    zone: str
    borough: str
    path: str


def months(connection: psycopg.Connection[Any]) -> list[MonthOfTrips]:
    """Every month that has a summary, of the service's own table before others."""
    return [MonthOfTrips(**row) for row in _ask(connection, "select_months")]


def hours(connection: psycopg.Connection[Any], file: TripFile) -> list[int]:
    """Trips by hour of the week, 168 of them from Monday midnight; empty where the month has no summary."""
    return [row["trips"] for row in _ask(connection, "select_hours", file)]


def zones(connection: psycopg.Connection[Any], file: TripFile) -> list[ZoneOfTrips]:
    """The zones that the month's trips touch; empty too where its file has coordinates in place of zones."""
    return [ZoneOfTrips(**row) for row in _ask(connection, "select_zones_of_month", file)]


def edition(connection: psycopg.Connection[Any]) -> str:
    """A word that changes with the table of zones; empty where there is none."""
    return "".join(row["edition"] for row in _ask(connection, "zones_edition"))


def zone_map(connection: psycopg.Connection[Any]) -> list[DrawnZone]:
    """The zones as paths of one drawing, which is 1,000 units wide; empty where no zones were loaded."""
    rows = list(_ask(connection, "select_shapes"))
    shapes = [row["shape"]["coordinates"] for row in rows if row["shape"]]
    if not shapes:
        return []
    outlines = [point for shape in shapes for polygon in shape for point in polygon[0]]
    west, east = (least(longitude for longitude, _ in outlines) for least in (min, max))
    north = max(latitude for _, latitude in outlines)
    scale = _WIDTH / (east - west)

    def place(longitude: float, latitude: float) -> tuple[int, int]:
        # Neighbours share their corners, and go on to when these fall on a grid; to simplify each shape parts them.
        return round((longitude - west) * scale), round((north - latitude) * scale / cos(radians(_LATITUDE)))

    return [
        DrawnZone(
            row["location_id"],
            row["zone"],
            row["borough"],
            "".join(
                _path([place(*point) for point in ring])
                for polygon in (row["shape"] or {"coordinates": []})["coordinates"]
                for ring in polygon
            ),
        )
        for row in rows
    ]


def _path(points: Sequence[tuple[int, int]]) -> str:
    """A ring as an SVG path, without the points that add nothing; empty where the grid is too coarse for it."""
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


def _ask(connection: psycopg.Connection[Any], question: str, file: TripFile | None = None) -> Iterator[dict[str, Any]]:
    """The rows that answer; none where the table is not there yet."""
    of_file = None if file is None else {"service": file.service, "month": str(file.month)}
    with errors_told(question), connection.cursor(row_factory=dict_row) as cursor:
        try:
            yield from cursor.execute(_text(question), of_file)
        except psycopg.errors.UndefinedTable:
            connection.rollback()


@cache
def _text(name: str) -> str:
    return sql_file("include.nyc_taxi.targets.postgres", f"{name}.sql")
