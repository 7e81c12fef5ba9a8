"""landed_zones: the taxi zones in the lake, `zones/zones.parquet`, from where every target loads them.

`zones` writes it, from the publisher's files. It is replaced in one move, and never by what is older: a target that
reads it while no other run can write that target therefore never goes back to older zones either.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import pyarrow as pa
from pyarrow import parquet

from include.nyc_taxi import seal
from include.nyc_taxi.errors import NotInLake

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.lake.store import Replacing

KEY = "zones/zones.parquet"
DESCRIPTION = (
    "The taxi zones that the location ids of trips name: taxi_zone_lookup.csv and taxi_zones.zip of the publisher."
)
_METADATA_KEY = b"nyc_taxi_zones"
_TYPES = {"int16": pa.int16(), "text": pa.string(), "geojson": pa.string(), "float64": pa.float64()}


class Zone(NamedTuple):
    """A taxi zone: a row of the lake's file and of each target's table."""

    location_id: int
    borough: str
    zone: str
    service_zone: str
    shape: dict[str, Any] | None
    centroid_longitude: float | None
    centroid_latitude: float | None


class Column(NamedTuple):
    """A column of the zones; each target has its own name for `type`: int16, text, float64, or geojson."""

    name: str
    type: str
    description: str
    is_required: bool = True


COLUMNS = (
    Column(
        "location_id",
        "int16",
        "The number that pickup_location_id and dropoff_location_id of trips have, 1 to 265. 56 and 57 share their "
        "names; so do 103, 104 and 105.",
    ),
    Column(
        "borough",
        "text",
        "Borough, or EWR (Newark Airport), or Unknown (264), or N/A (265): words as published, never null.",
    ),
    Column(
        "zone",
        "text",
        "Name of the zone, as published: N/A (264) and Outside of NYC (265) in today's edition, NV and NA in that of "
        "2020.",
    ),
    Column(
        "service_zone",
        "text",
        "Which taxis serve it: Yellow Zone, Boro Zone, Airports, EWR or N/A.",
    ),
    Column(
        "shape",
        "geojson",
        "GeoJSON MultiPolygon in WGS84 longitude and latitude. Null for 264 and 265, which are no places.",
        is_required=False,
    ),
    Column(
        "centroid_longitude",
        "float64",
        "Longitude of the shape's centre of area, in degrees; that may lie outside of the shape. Null where the shape "
        "is.",
        is_required=False,
    ),
    Column(
        "centroid_latitude",
        "float64",
        "Latitude of the shape's centre of area, in degrees. Null where the shape is.",
        is_required=False,
    ),
)


def write(lake: Lake, zones: Sequence[Zone], recipe: str, replacing: Replacing) -> None:
    """Make the lake's file hold these zones, in one move; `recipe` is a digest of what they were made from.

    Raises:
        LakeChanged: the file is not in the state `replacing`, because another run wrote it meanwhile.
    """
    schema = _schema().with_metadata({_METADATA_KEY: json.dumps({"recipe": recipe}).encode(), **seal.UNSEALED})
    rows = [zone._asdict() | {"shape": geojson(zone)} for zone in zones]
    with lake.staged(KEY, replacing) as path:
        parquet.write_table(
            pa.Table.from_pylist(rows, schema), path, compression="zstd", write_page_checksum=True, store_schema=True
        )
        seal.seal(path)


def recipe(opened: BinaryIO) -> str | None:
    """Return what the zones of the opened file were made from; None if it does not say."""
    metadata = parquet.read_metadata(opened).metadata or {}
    described = json.loads(metadata.get(_METADATA_KEY, b"{}"))
    return described.get("recipe") if isinstance(described, dict) else None


@contextmanager
def intact(lake: Lake) -> Iterator[BinaryIO]:
    """Open the lake's file after checking it; a damaged one is set aside.

    Raises:
        NotInLake: there is no such file.
        DamagedData: it is damaged.
    """
    try:
        with seal.intact(lake, KEY) as opened:
            yield opened
    except FileNotFoundError as error:
        raise NotInLake(f"{lake.url(KEY)} is not there: run ingest_taxi_zones, which puts the zones there") from error


def read(opened: BinaryIO) -> list[Zone]:
    """Return the zones of the opened file, in the order of their ids."""
    rows = parquet.read_table(opened, page_checksum_verification=True).to_pylist()
    return [Zone(**row | {"shape": json.loads(row["shape"]) if row["shape"] else None}) for row in rows]


def geojson(zone: Zone) -> str | None:
    """Return the zone's shape as text; None if it has none."""
    return None if zone.shape is None else json.dumps(zone.shape, separators=(",", ":"))


def _schema() -> pa.Schema:
    return pa.schema(
        pa.field(
            column.name,
            _TYPES[column.type],
            nullable=not column.is_required,
            metadata={"description": column.description},
        )
        for column in COLUMNS
    )
