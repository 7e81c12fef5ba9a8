"""zones: the taxi zones by name and by shape, from the publisher's lookup and shapefile into the lake.

The publisher's lookup names 265 zones, and its shapefile draws 263 of them: 264 (unknown) and 265 (outside the city)
are no places. The shapefile's LocationID gives the polygons of 57, 104 and 105 to 56 and 103, which share their names;
its OBJECTID is the number that the lookup uses for each polygon, so zones are keyed by it.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import struct
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from io import BytesIO
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from zipfile import ZipFile

import numpy as np
import pyproj
import shapefile  # type: ignore[import-untyped] # published without types

from include.nyc_taxi import catalog, editions, landed_zones, limits
from include.nyc_taxi.addresses import under
from include.nyc_taxi.download import Fetched, fetch_url
from include.nyc_taxi.errors import DamagedData, LakeChanged, NotInLake, SchemaMismatch
from include.nyc_taxi.landed_zones import Zone

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from include.nyc_taxi.editions import Edition
    from include.nyc_taxi.lake import Lake

    Points = NDArray[np.float64]
    Polygon = list[Points]

log = logging.getLogger(__name__)

SOURCE = "official"
LOOKUP = "misc/taxi_zone_lookup.csv"
SHAPES = "misc/taxi_zones.zip"
LOCATION_IDS = range(1, 266)

# Raise it when the same published bytes would become other zones, so that they are landed again.
_VERSION = 1
_COMMITS = 20
_HEADER = ["LocationID", "Borough", "Zone", "service_zone"]
_SHOWN = 10
_SHAPEFILE = ("taxi_zones.dbf", "taxi_zones.prj", "taxi_zones.shp")
_WITHOUT_SHAPE = {264, 265}
_NUMBER = "OBJECTID"
_WEST, _SOUTH, _EAST, _NORTH = -74.5, 40.3, -73.5, 41.1  # New York lies in it; feet, or swapped axes, do not
_DECIMALS = 7  # a centimetre


class Shape(NamedTuple):
    """Where a zone lies: a GeoJSON MultiPolygon and its centre of area, in WGS84 degrees."""

    geometry: dict[str, Any]
    longitude: float
    latitude: float


_NO_SHAPE = (None, None, None)


def fetch(
    path: str,
    lake: Lake,
    *,
    base_url: str | None = None,
    redirect_hosts: Sequence[str] = (),
    cache_ttl: timedelta = timedelta(0),
) -> Fetched:
    """Bring one of the publisher's files, LOOKUP or SHAPES, into raw/. It is small: ask each time whether it changed.

    Raises:
        NotPublished, SourceUnavailable, DamagedFile: as for a trip file.
    """
    origin = catalog.source(SOURCE)
    return fetch_url(
        under(base_url or origin.base_url, path),
        _raw_key(path),
        lake,
        source=SOURCE,
        known_url=origin.known_url(base_url=base_url),
        redirect_hosts=(*origin.redirect_hosts, *redirect_hosts),
        if_missing=f"correct the host of connection {origin.connection!r}",
        most_bytes=limits.most_bytes_of_zones(),
        cache_ttl=cache_ttl,
    )


def land(lake: Lake) -> Literal["replaced", "unchanged"]:
    """Put the zones of both files' current editions into the lake, in one move, unless they are there.

    Raises:
        NotInLake: a file was never downloaded.
        SchemaMismatch: a file is not just what is known of it: header, ids, polygons, projection.
        LakeChanged: other runs wrote the zones meanwhile, again and again.
    """
    for _ in range(_COMMITS):
        # Editions only ever follow one another, so those that are read after the stamp are no older than what it shows.
        stamp = lake.stamp(landed_zones.KEY)
        current = [_current(lake, path) for path in (LOOKUP, SHAPES)]
        recipe = _recipe(current)
        if stamp is not None and _landed_recipe(lake) == recipe:
            log.info("%s is up to date with %s", lake.url(landed_zones.KEY), " and ".join(map(str, current)))
            return "unchanged"
        zones = read(lake, *(edition.key for edition in current))
        with suppress(LakeChanged):
            landed_zones.write(lake, zones, recipe, stamp)
            log.info("%s: %d zones of %s", lake.url(landed_zones.KEY), len(zones), " and ".join(map(str, current)))
            return "replaced"
    raise LakeChanged(f"{lake.url(landed_zones.KEY)}: other runs wrote it {_COMMITS} times meanwhile")


def _current(lake: Lake, path: str) -> Edition:
    current = editions.history(lake, _raw_key(path)).current
    if current is None:
        raise NotInLake(f"{lake.url(_raw_key(path))} was never downloaded: fetch it first")
    return current


def _recipe(current: Iterable[Edition]) -> str:
    return hashlib.sha256(f"{_VERSION} {' '.join(edition.sha256 for edition in current)}".encode()).hexdigest()


def _landed_recipe(lake: Lake) -> str | None:
    """What the lake's zones were made from; None if there are none, or they are damaged and so set aside."""
    with suppress(NotInLake, DamagedData), landed_zones.intact(lake) as opened:
        return landed_zones.recipe(opened)
    return None


def _raw_key(path: str) -> str:
    return f"raw/{SOURCE}/{path}"


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
            f"{path.name}: {len(rows)} rows; location ids missing: {sorted(expected - ids)[:_SHOWN]}, "
            f"unknown or repeated: {sorted(ids - expected)[:_SHOWN]}; expected 1 to {LOCATION_IDS[-1]}, each once"
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
