"""zones: the taxi zones, by name and by shape, into the table `taxi_zones`; and a view per service that joins them.

The publisher's lookup names 265 zones, and its shapefile draws 263 of them: 264 (unknown) and 265 (outside the city)
are no places. The shapefile's own LocationID gives the polygons of 57, 104 and 105 to 56 and 103, whose names they
share; its OBJECTID is the number by which the lookup names each polygon, so that is taken.
"""

from __future__ import annotations

import csv
import logging
import struct
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from io import BytesIO
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from zipfile import ZipFile

import numpy as np
import psycopg
import pyproj
import shapefile  # type: ignore[import-untyped] # published without types
from psycopg import sql
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from include.nyc_taxi import catalog
from include.nyc_taxi.download import Fetched, fetch_url
from include.nyc_taxi.errors import SchemaMismatch
from include.nyc_taxi.targets.postgres import Table, errors_told
from include.nyc_taxi.targets.sql_files import sql_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from include.nyc_taxi.lake import Lake

    Points = NDArray[np.float64]
    Polygon = list[Points]

log = logging.getLogger(__name__)

SOURCE = "official"
LOOKUP = "misc/taxi_zone_lookup.csv"
SHAPES = "misc/taxi_zones.zip"
TABLE = Table("public", "taxi_zones")
LOCATION_IDS = range(1, 266)

_HEADER = ["LocationID", "Borough", "Zone", "service_zone"]
_SHAPEFILE = ("taxi_zones.dbf", "taxi_zones.prj", "taxi_zones.shp")
_WITHOUT_SHAPE = {264, 265}
_NUMBER = "OBJECTID"
_WEST, _SOUTH, _EAST, _NORTH = -74.5, 40.3, -73.5, 41.1  # New York lies in it; feet, or swapped axes, do not
_DECIMALS = 7  # a centimetre
_NAMES_IN_VIEW = ["pickup_borough", "pickup_zone", "dropoff_borough", "dropoff_zone"]
_JOINED_BY = {"pickup_location_id", "dropoff_location_id"}
_LOCK_TIMEOUT = "2s"


class Shape(NamedTuple):
    """Where a zone lies: a GeoJSON MultiPolygon and its centre of area, in WGS84 degrees."""

    geometry: dict[str, Any]
    longitude: float
    latitude: float


_NO_SHAPE = (None, None, None)


class Zone(NamedTuple):
    """A row of `taxi_zones`."""

    location_id: int
    borough: str
    zone: str
    service_zone: str
    shape: dict[str, Any] | None
    centroid_longitude: float | None
    centroid_latitude: float | None


def fetch(path: str, lake: Lake, *, base_url: str | None = None, cache_ttl: timedelta = timedelta(0)) -> Fetched:
    """Bring one of the publisher's files, LOOKUP or SHAPES, into raw/. It is small: ask each time whether it changed.

    Raises:
        NotPublished, SourceUnavailable, DamagedFile: as for a trip file.
    """
    origin = catalog.source(SOURCE)
    return fetch_url(
        f"{(base_url or origin.base_url).rstrip('/')}/{path}",
        f"raw/{SOURCE}/{path}",
        lake,
        source=SOURCE,
        known_url=origin.known_url("yellow", base_url),
        cache_ttl=cache_ttl,
    )


def read(lake: Lake, lookup: str, shapes: str) -> list[Zone]:
    """The zones, in the order of their ids, from the raw files of these keys.

    Raises:
        SchemaMismatch: a file is not just what is known of it: header, ids, polygons, projection.
    """
    with lake.local(lookup) as path:
        names = _names(path)
    with lake.local(shapes) as path:
        shape_of = _shapes(path)
    return [
        Zone(location_id, *names[location_id], *shape_of.get(location_id, _NO_SHAPE)) for location_id in LOCATION_IDS
    ]


def replace_zones(connection: psycopg.Connection[Any], zones: Sequence[Zone]) -> Literal["replaced", "unchanged"]:
    """Make the table hold just these zones, in one transaction; where it does, do nothing.

    Raises:
        WarehouseBusy: a lock was not granted in time or the connection broke; nothing has changed.
        WarehouseRefused: a right is missing, or another kind of table has the name.
    """
    with _transaction(connection, TABLE) as cursor:
        if not _columns(cursor, TABLE):
            cursor.execute(_statement("create_zones", table=TABLE))
        if cursor.execute(_statement("select_zones", table=TABLE)).fetchall() == list(zones):
            log.info("%s already holds these %d zones: nothing done", TABLE, len(zones))
            return "unchanged"
        # Rows are updated in place, and not deleted and inserted, so that foreign keys may point to them.
        ids = [zone.location_id for zone in zones]
        cursor.execute(_statement("delete_other_zones", table=TABLE), {"location_ids": ids})
        cursor.executemany(_statement("upsert_zone", table=TABLE), map(_parameters, zones))
    log.info("%s: replaced %d zones, %d of them with a shape", TABLE, len(zones), sum(bool(z.shape) for z in zones))
    return "replaced"


def replace_views(connection: psycopg.Connection[Any]) -> list[Table]:
    """Have the view `{service}_trips_with_zones`, with every column of today, for each service that has its table.

    Raises:
        WarehouseBusy: a long query reads a view that lacks a column; it is as it was.
        WarehouseRefused: a right is missing, or something else has the name of a view.
    """
    views = []
    for service in catalog.services():
        trips, view = Table.of_service(service), Table(TABLE.schema, f"{service}_trips_with_zones")
        with _transaction(connection, view) as cursor:
            columns = _columns(cursor, trips)
            if not set(columns) >= _JOINED_BY:
                log.info("%s is not there, or has no location ids: no view %s", trips, view)
                continue
            if _columns(cursor, view) != _NAMES_IN_VIEW + columns:
                cursor.execute(_statement("create_trips_with_zones", view=view, trips=trips, zones=TABLE))
                log.info("%s: made, with %d columns", view, len(_NAMES_IN_VIEW + columns))
        views.append(view)
    return views


def _names(path: Path) -> dict[int, tuple[str, str, str]]:
    """Borough, zone and service zone by location id. `N/A` and `NA` are words like any others."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file, strict=True)
    except (ValueError, csv.Error) as error:
        raise SchemaMismatch(f"{path.name}: {error}, where CSV in UTF-8 with {_HEADER} was expected") from error
    if header != _HEADER:
        raise SchemaMismatch(f"{path.name}: header {header}, where {_HEADER} was expected")
    for line, row in enumerate(rows, start=2):
        if len(row) != len(_HEADER) or not all(row):
            raise SchemaMismatch(f"{path.name}: row {line} is {row}, where {len(_HEADER)} values were expected")
    ids, expected = Counter(row[0] for row in rows), Counter(map(str, LOCATION_IDS))
    if ids != expected:
        raise SchemaMismatch(
            f"{path.name}: {len(rows)} rows; location ids missing: {sorted(expected - ids)}, "
            f"unknown or repeated: {sorted(ids - expected)}; expected 1 to {LOCATION_IDS[-1]}, each once"
        )
    return {int(location_id): (borough, zone, service_zone) for location_id, borough, zone, service_zone in rows}


def _shapes(path: Path) -> dict[int, Shape]:
    """The shape of each zone that has one."""
    with ZipFile(path) as archive:
        members = {PurePosixPath(name).name: name for name in archive.namelist()}
        if not set(members) >= set(_SHAPEFILE):
            raise SchemaMismatch(f"{path.name} holds {sorted(members)}, where {_SHAPEFILE} were expected")
        dbf, prj, shp = (archive.read(members[name]) for name in _SHAPEFILE)
    try:
        to_degrees = pyproj.Transformer.from_crs(prj.decode(), "EPSG:4326", always_xy=True)
        polygons = _polygons(shp, dbf)
    except (pyproj.exceptions.ProjError, shapefile.ShapefileException, struct.error, ValueError) as error:
        raise SchemaMismatch(f"{path.name}: {error}, where a shapefile of zones was expected") from error
    missing, unknown = set(LOCATION_IDS) - _WITHOUT_SHAPE - set(polygons), set(polygons) - set(LOCATION_IDS)
    if missing or unknown:
        raise SchemaMismatch(
            f"{path.name}: location ids without a polygon: {sorted(missing)}, unknown: {sorted(unknown, key=str)}; "
            f"expected 1 to {LOCATION_IDS[-1]}, with {sorted(_WITHOUT_SHAPE)} alone without"
        )
    shapes = {location_id: _shape(of_zone, to_degrees) for location_id, of_zone in polygons.items()}
    for location_id, shape in shapes.items():
        if not (_WEST < shape.longitude < _EAST and _SOUTH < shape.latitude < _NORTH):
            raise SchemaMismatch(
                f"{path.name}: zone {location_id} lies at longitude {shape.longitude}, latitude {shape.latitude}; "
                f"expected New York, {_WEST} to {_EAST} and {_SOUTH} to {_NORTH}"
            )
    return shapes


def _polygons(shp: bytes, dbf: bytes) -> dict[int, list[Polygon]]:
    """All polygons of each location id, in the file's own coordinates."""
    polygons: dict[int, list[Polygon]] = {}
    with shapefile.Reader(shp=BytesIO(shp), dbf=BytesIO(dbf)) as reader:
        for number, found in enumerate(reader.iterShapeRecords(fields=[_NUMBER]), start=1):
            shape = found.shape
            if shape.shapeType != shapefile.POLYGON or not shape.parts:
                raise ValueError(f"shape {number} is a {shape.shapeTypeName} with {len(shape.points)} points")
            geometry = shape.__geo_interface__
            several = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
            of_zone = polygons.setdefault(found.record[_NUMBER], [])
            of_zone.extend([np.array(ring) for ring in rings] for rings in several)
    return polygons


def _shape(polygons: Iterable[Polygon], to_degrees: pyproj.Transformer) -> Shape:
    """The polygons as one GeoJSON geometry: outer rings counterclockwise, holes clockwise."""
    coordinates: list[list[Any]] = []
    area, moment = 0.0, np.zeros(2)
    for polygon in polygons:
        coordinates.append([])
        for place, ring in enumerate(polygon):
            ring_area, ring_moment = _area(ring)
            turn = -1 if (place > 0) != (ring_area < 0) else 1
            area, moment = area + turn * ring_area, moment + turn * ring_moment
            coordinates[-1].append(_degrees(ring[::turn], to_degrees).tolist())
    [(longitude, latitude)] = _degrees((moment / area)[np.newaxis], to_degrees).tolist()
    return Shape({"type": "MultiPolygon", "coordinates": coordinates}, longitude, latitude)


def _area(ring: Points) -> tuple[float, Points]:
    """The ring's area, negative where it runs clockwise, and that times its centre."""
    x, y = (ring - ring[0]).T
    cross = x[:-1] * y[1:] - x[1:] * y[:-1]
    area = float(cross.sum()) / 2
    about_start = np.array([((x[:-1] + x[1:]) * cross).sum(), ((y[:-1] + y[1:]) * cross).sum()]) / 6
    return area, about_start + area * ring[0]


def _degrees(points: Points, to_degrees: pyproj.Transformer) -> Points:
    return np.column_stack(to_degrees.transform(points[:, 0], points[:, 1])).round(_DECIMALS)


def _parameters(zone: Zone) -> dict[str, Any]:
    return zone._asdict() | {"shape": None if zone.shape is None else Jsonb(zone.shape)}


def _columns(cursor: psycopg.Cursor[Any], table: Table) -> list[str]:
    """The names of its columns, in order; none where there is no such table or view."""
    found = cursor.execute(_statement("relation_columns"), {"schema": table.schema, "name": table.name})
    return [name for (name,) in found]


@contextmanager
def _transaction(connection: psycopg.Connection[Any], table: Table) -> Iterator[psycopg.Cursor[Any]]:
    """One transaction on zones at a time; its errors say in the server's words whether another try is worth it."""
    with errors_told(str(table)), connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('nyc_taxi zones', 0))")
        cursor.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(_LOCK_TIMEOUT))
        yield cursor


def _statement(name: str, **tables: Table) -> sql.Composed:
    return _template(name).format(**{part: table.identifier for part, table in tables.items()})


@cache
def _template(name: str) -> sql.SQL:
    return sql.SQL(sql_file("include.nyc_taxi.targets.postgres", f"{name}.sql"))
