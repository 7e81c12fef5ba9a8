"""zones: bring the taxi zones with the demo's trips, so that the map of the web page is there at the first look.

Generated trips get a made-up city, which never replaces real zones.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from devtools.demo.choice import OFFICIAL
from devtools.demo.published import GENERATED, PUBLISHED
from include.nyc_taxi import catalog, landed_zones, targets
from include.nyc_taxi.errors import DamagedData, NotInLake, TaxiError

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from devtools.demo.choice import Choice
    from devtools.demo.published import Origin
    from include.nyc_taxi.lake import Lake

MADE_UP_ZONE = "Made-up zone"
_ARE_MADE_UP = "SELECT bool_and(zone LIKE %s) FROM public.taxi_zones WHERE location_id = 1"


def bring(
    connection: psycopg.Connection[Any], choice: Choice, origin: Origin, lake: Lake, say: Callable[[str], None]
) -> None:
    """Load the zones of the origin, unless the warehouse has such, or real ones, and joins them to the trips."""
    if not catalog.service(choice.service).has_zones or origin.source != OFFICIAL:
        return
    made_up = _are_made_up(connection)
    is_as_good = made_up is choice.is_generated and _exists(connection, f"{choice.service}_trips_with_zones")
    has_real = made_up is False or _are_made_up_in(lake) is False
    if is_as_good or (has_real and choice.is_generated):
        return
    if choice.is_generated:
        _generate()
    try:
        _load(connection, origin.base_url, lake)
    except TaxiError as error:
        say(f"no taxi zones, so the page has no map: {error}")


def _load(connection: psycopg.Connection[Any], base_url: str, lake: Lake) -> None:
    from include.nyc_taxi import zones

    for path in (zones.LOOKUP, zones.SHAPES):
        zones.fetch(path, lake, base_url=base_url)
    zones.land(lake)
    targets.get("postgres").replace_zones(connection, lake)


def _generate() -> None:
    from devtools.generator import city
    from include.nyc_taxi import zones

    for path, content in ((zones.LOOKUP, city.lookup(MADE_UP_ZONE)), (zones.SHAPES, city.shapes())):
        file = PUBLISHED / GENERATED / path
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def _are_made_up(connection: psycopg.Connection[Any]) -> bool | None:
    """Return whether the warehouse's zones are made up; None if it has none."""
    if not _exists(connection, "taxi_zones"):
        return None
    [[made_up]] = connection.execute(_ARE_MADE_UP, [f"{MADE_UP_ZONE}%"])
    return None if made_up is None else bool(made_up)


def _are_made_up_in(lake: Lake) -> bool | None:
    """Return whether the lake's zones are made up; None if it has none."""
    with suppress(NotInLake, DamagedData), landed_zones.intact(lake) as opened:
        return landed_zones.read(opened)[0].zone.startswith(MADE_UP_ZONE)
    return None


def _exists(connection: psycopg.Connection[Any], name: str) -> bool:
    [[found]] = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [f"public.{name}"])
    return bool(found)
