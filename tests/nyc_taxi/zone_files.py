"""A made-up edition of the publisher's zone files: 265 names, and squares of 1,000 feet for those that have a shape.

Like the real one it has two numbers for a polygon: OBJECTID, by which the lookup names it, and LocationID, which gives
the polygons of 57, 104 and 105 to 56 and 103.
"""

import csv
import io
import zipfile

import pyproj
import shapefile

HEADER = ["LocationID", "Borough", "Zone", "service_zone"]
TODAY = [["264", "Unknown", "N/A", "N/A"], ["265", "N/A", "Outside of NYC", "N/A"]]
OF_2020 = [["264", "Unknown", "NV", "N/A"], ["265", "Unknown", "NA", "N/A"]]
NAMESAKES = {57: 56, 104: 103, 105: 103}
FEET = pyproj.CRS.from_epsg(2263).to_wkt("WKT1_ESRI")
SIDE = 1_000.0


def zone_rows(last=TODAY):
    rows = []
    for location_id in range(1, 264):
        name = f"Zone, {NAMESAKES.get(location_id, location_id)}"
        rows.append([str(location_id), f"Borough {location_id % 5}", name, "Boro Zone"])
    return [HEADER, *rows, *last]


def lookup_bytes(rows=None):
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows or zone_rows())
    return text.getvalue().encode()


def corner(number):
    """The south-west corner of the polygon with this number, in feet."""
    return 930_000.0 + number % 20 * 2_000, 150_000.0 + number // 20 * 3_000


def square(x, y, side=SIDE):
    """A ring that runs clockwise, as outer ones do in a shapefile."""
    return [(x, y), (x, y + side), (x + side, y + side), (x + side, y), (x, y)]


def zone_polygons():
    """Number and rings of each polygon."""
    return [(number, [square(*corner(number))]) for number in range(1, 264)]


def shapes_bytes(polygons=None, *, prj=FEET, folder="", leave_out=(), kind=shapefile.POLYGON):
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
