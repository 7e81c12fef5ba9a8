"""city: a made-up city for the demo's map: 263 hexagons around the busiest zone, in the publisher's two files.

The busier a zone in the generated trips, the nearer to the centre it lies. No shape or name is the real one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from devtools.generator.services import SERVICES
from devtools.generator.zone_files import HEADER, TODAY, lookup_bytes, shapes_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devtools.generator.zone_files import Polygon, Ring, Row

_CENTRE = (998_000.0, 205_000.0)  # feet
_WIDTH = 5_200.0  # of a hexagon, between flat sides, in feet
_PLACES = 263
_STEPS = ((1, 0), (0, 1), (-1, 1), (-1, 0), (0, -1), (1, -1))  # around a ring, in axial coordinates
_CORNERS = ((0.5, 1 / 3), (0.5, -1 / 3), (0.0, -2 / 3), (-0.5, -1 / 3), (-0.5, 1 / 3), (0.0, 2 / 3))  # clockwise
_ROW = 3**0.5 / 2  # the distance of two rows of hexagons, in widths
_BOROUGHS = ("South", "South-East", "North-East", "North", "North-West", "South-West")


def lookup(name: str) -> bytes:
    """Return the lookup: a borough and a name for each zone, which is `name` and the number."""
    named: dict[int, Row] = {
        zone: [str(zone), borough, f"{name} {zone}", "Boro Zone"]
        for zone, (borough, _) in zip(_by_trips(), _cells(), strict=False)
    }
    return lookup_bytes([HEADER, *(named[zone] for zone in sorted(named)), *TODAY])


def shapes() -> bytes:
    """Return the zip with the shapefile."""
    polygons: list[Polygon] = [(zone, [ring]) for zone, (_, ring) in zip(_by_trips(), _cells(), strict=False)]
    return shapes_bytes(sorted(polygons))


def _by_trips() -> list[int]:
    """The zones, the busiest first: those that the services' generators prefer, in turn."""
    preferred = [habits.fleet.zones for habits in SERVICES.values()]
    busy = [zones[place] for place in range(max(map(len, preferred))) for zones in preferred if place < len(zones)]
    return [zone for zone in dict.fromkeys([*busy, *range(1, _PLACES + 1)]) if zone <= _PLACES]


def _cells() -> Iterator[tuple[str, Ring]]:
    """The borough and the ring of each hexagon, from the centre outwards."""
    yield "Centre", _hexagon(0, 0)
    ring = 1
    while True:
        q, r = 0, -ring
        for borough, (dq, dr) in zip(_BOROUGHS, _STEPS, strict=True):
            for _ in range(ring):
                yield ("Centre" if ring <= 2 else borough), _hexagon(q, r)  # noqa: PLR2004 - rings of the centre
                q, r = q + dq, r + dr
        ring += 1


def _hexagon(q: int, r: int) -> Ring:
    x, y = _CENTRE[0] + _WIDTH * (q + r / 2), _CENTRE[1] + _WIDTH * _ROW * r
    scale = _WIDTH * 3**0.5 / 2
    corners = [(x + _WIDTH * dx, y + scale * dy) for dx, dy in _CORNERS]
    return [*corners, corners[0]]
