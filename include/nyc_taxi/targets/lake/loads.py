"""loads: what the files of data/ say of themselves, by few requests."""

from __future__ import annotations

from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from include.nyc_taxi import landed_rows
from include.nyc_taxi.lake import data_key
from include.nyc_taxi.targets.loads import LOAD_FIELDS, Load

if TYPE_CHECKING:
    from include.nyc_taxi.lake import Lake, Stamp
    from include.nyc_taxi.landed_rows import Landed
    from include.nyc_taxi.trip_file import TripFile

_FOOTERS_AT_A_TIME = 16

Footers = MutableMapping[object, "Load | None"]


def loads(lake: Lake, footers: Footers | None = None) -> dict[TripFile, Load]:
    """What lies in data/, of the files that are of one pass with their rejects.

    `footers` keeps what was read of files that have not changed since, so that a second look costs a listing only.
    """
    footers = {} if footers is None else footers
    accepted, rejected = lake.trip_files("data"), lake.trip_files("rejects")
    stamps = {file: (lake.root, file, stamp, rejected.get(file)) for file, stamp in accepted.items()}
    for gone in footers.keys() - stamps.values():
        footers.pop(gone, None)
    unread = [file for file, stamp in stamps.items() if stamp not in footers]
    with ThreadPoolExecutor(_FOOTERS_AT_A_TIME) as pool:
        for file, landed in zip(unread, pool.map(lambda file: landed_rows.landed(lake, file), unread), strict=True):
            footers[stamps[file]] = _load(lake, file, landed, accepted[file]) if landed else None
    return {file: load for file, stamp in stamps.items() if (load := footers.get(stamp)) is not None}


def _load(lake: Lake, file: TripFile, landed: Landed, stamp: Stamp) -> Load:
    known = {name: value for name, value in vars(landed).items() if name in LOAD_FIELDS}
    return Load(
        file=file,
        target="lake",
        target_table=lake.url(data_key(file)),
        loaded_at=stamp.changed_at,
        rows_loaded=landed.rows_accepted,
        **known,
    )
