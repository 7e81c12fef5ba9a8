"""zone_files: a made-up edition of the publisher's zones: 265 names, and squares of 1,000 feet for those with a shape.

Like the real one it has two numbers for a polygon: OBJECTID, by which the lookup names it, and LocationID, which gives
the polygons of 57, 104 and 105 to 56 and 103.
"""

from __future__ import annotations

import csv
import io
import zipfile
from typing import TYPE_CHECKING

import pyproj
import shapefile  # type: ignore[import-untyped] # published without types

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    Row = list[str]
    Ring = list[tuple[float, float]]
    Polygon = tuple[int, list[Ring]]

HEADER = ["LocationID", "Borough", "Zone", "service_zone"]
TODAY = [["264", "Unknown", "N/A", "N/A"], ["265", "N/A", "Outside of NYC", "N/A"]]
OF_2020 = [["264", "Unknown", "NV", "N/A"], ["265", "Unknown", "NA", "N/A"]]
NAMESAKES = {57: 56, 104: 103, 105: 103}
FEET = pyproj.CRS.from_epsg(2263).to_wkt("WKT1_ESRI")
SIDE = 1_000.0


def zone_rows(last: Sequence[Row] = TODAY) -> list[Row]:
    """Return the header and the rows of a lookup; `last` are those of the zones that are no places."""
    rows = []
    for location_id in range(1, 264):
        name = f"Zone, {NAMESAKES.get(location_id, location_id)}"
        rows.append([str(location_id), f"Borough {location_id % 5}", name, "Boro Zone"])
    return [HEADER, *rows, *last]


def lookup_bytes(rows: Sequence[Row] | None = None) -> bytes:
    """Return a lookup as a file of CSV."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows or zone_rows())
    return text.getvalue().encode()


def corner(number: int) -> tuple[float, float]:
    """Return the south-west corner of the polygon with this number, in feet."""
    return 930_000.0 + number % 20 * 2_000, 150_000.0 + number // 20 * 3_000


def square(x: float, y: float, side: float = SIDE) -> Ring:
    """Return a ring that runs clockwise, as outer ones do in a shapefile."""
    return [(x, y), (x, y + side), (x + side, y + side), (x + side, y), (x, y)]


def zone_polygons() -> list[Polygon]:
    """Return number and rings of each polygon."""
    return [(number, [square(*corner(number))]) for number in range(1, 264)]


def shapes_bytes(
    polygons: Sequence[Polygon] | None = None,
    *,
    prj: str = FEET,
    folder: str = "",
    leave_out: Container[str] = (),
    kind: int = shapefile.POLYGON,
) -> bytes:
    """Return a zip with a shapefile of the polygons.

    Args:
        polygons: number and rings of each.
        prj: the projection, in ESRI's words.
        folder: comes before each name in the archive.
        leave_out: suffixes of members that the archive lacks.
        kind: of the shapes.
    """
    parts = {suffix: io.BytesIO() for suffix in ("shp", "shx", "dbf")}
    with shapefile.Writer(shapeType=kind, **parts) as writer:
        writer.field("OBJECTID", "N", 9)
        writer.field("LocationID", "N", 4)
        for number, rings in polygons or zone_polygons():
            writer.line(rings) if kind == shapefile.POLYLINE else writer.poly(rings)
            writer.record(number, NAMESAKES.get(number, number))
    contents = {suffix: part.getvalue() for suffix, part in parts.items()} | {"prj": prj.encode()}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for suffix, content in contents.items():
            if suffix not in leave_out:
                file.writestr(f"{folder}taxi_zones.{suffix}", content)
    return archive.getvalue()
