"""keys: where things are in the lake.

raw/{source}/{service}/          the bytes as published, every edition under a key of its own
data/{service}/                  accepted rows, in the canonical schema
rejects/{service}/               rejected rows, each with its reason
zones/                           the taxi zones, in one file
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from include.nyc_taxi import catalog

if TYPE_CHECKING:
    from include.nyc_taxi.trip_file import TripFile

STAGING = ".staging"
DAMAGED = ".damaged"
_DIGITS = 16


def raw_key(file: TripFile, source: str) -> str:
    """Return the key that a published file goes by in raw/, from which those of its editions are made."""
    name = PurePosixPath(catalog.source(source).path_of(file)).name
    return f"raw/{source}/{file.service}/{name}"


def edition_key(raw_key: str, sha256: str) -> str:
    """Return the key of an edition's bytes: `raw/…/green_tripdata_2024-01.{16 digits of the sha256}.parquet`."""
    folder, _, name = raw_key.rpartition("/")
    stem, dot, suffix = name.partition(".")
    return f"{folder}/{stem}.{sha256[:_DIGITS]}{dot}{suffix}"


def history_key(raw_key: str) -> str:
    """Return the key of what is known of a published file's editions."""
    return f"{raw_key}.editions.json"


def data_key(file: TripFile) -> str:
    """Return the key of a trip file's accepted rows."""
    return f"data/{file.service}/{file.name}.parquet"


def rejects_key(file: TripFile) -> str:
    """Return the key of a trip file's rejected rows."""
    return f"rejects/{file.service}/{file.name}.parquet"


def staging_keys(file: TripFile, recipe: str) -> dict[str, str]:
    """Return where the rows of one pass are staged, by the key that they will get; the accepted rows come first."""
    folder = f"{STAGING}/{file.name}.{recipe}"
    return {data_key(file): f"{folder}/data.parquet", rejects_key(file): f"{folder}/rejects.parquet"}
