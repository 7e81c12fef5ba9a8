"""xcoms: what tasks return and take. They hold names, keys in the lake and counts, never rows.

`file` is the name of a trip file, such as `green_tripdata_2024-01`.
"""

from __future__ import annotations

from typing import TypedDict


class Raw(TypedDict):
    """An edition of a published file in raw/; `edition` is its sha256."""

    file: str
    source: str
    edition: str
    key: str
    bytes: int
    outcome: str


class Staged(TypedDict):
    """The staged rows of a raw file; `recipe` names the staged copy."""

    file: str
    source: str
    edition: str
    recipe: str
    rows_read: int
    rows_rejected: int


class Checked(Staged):
    """Staged rows that were read back; `bytes` is their size."""

    bytes: int


class Landed(TypedDict):
    """A month in data/; `claim` is what decides which other rows it comes before and after."""

    file: str
    key: str
    outcome: str
    claim: dict[str, str | int | None]
    rows_read: int
    rows_accepted: int
    rows_rejected: int


class Loaded(TypedDict):
    """A month in a target."""

    file: str
    target: str
    table: str
    rows_loaded: int
    outcome: str


class Reached(TypedDict):
    """A target that can be reached, and the table that a run is to load."""

    table: str
    location: str


class Summary(TypedDict):
    """The months that a run loaded, and their rows."""

    months: int
    rows: int


class Surveyed(TypedDict):
    """What a survey of the publisher found; `stopped` says why it ended early, if it did."""

    published: int
    asked: int
    stopped: str | None


class RawZones(TypedDict):
    """The published files of the taxi zones in raw/, by their keys."""

    lookup: str
    shapes: str
    bytes: int


class LandedZones(TypedDict):
    """The taxi zones in the lake."""

    key: str
    outcome: str


class LoadedZones(TypedDict):
    """The taxi zones in a target; `views` is how many views join them to trips."""

    target: str
    table: str
    views: int
    outcome: str
