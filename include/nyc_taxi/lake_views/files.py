"""files: the files of the lake as DuckDB opens them: by path in a folder, through fsspec in a bucket.

A file of a bucket is named with its generation or ETag, so that a question never reads one half of a file and the
other half of the file that has replaced it; it fails, and succeeds when it is asked again.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from include.nyc_taxi import catalog, landed_zones
from include.nyc_taxi.lake import data_key, rejects_key

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from include.nyc_taxi.lake import Lake, MonthInLake, Stamp

_HISTORIES_AT_A_TIME = 16
_GLOB = re.compile(r"[*?\[]")
_HISTORY = re.compile(r"raw/[^/]+/(?P<service>[^/]+)/[^/]*?_tripdata_(?P<month>\d{4}-\d{2})[^/]*\.editions\.json")


class Files:
    """The files of a lake, as they are at the moment of each call."""

    def __init__(self, lake: Lake) -> None:
        """Look at nothing yet."""
        self._lake = lake
        self._histories: dict[tuple[str, Stamp], bytes] = {}

    def register_with(self, connection: DuckDBPyConnection) -> None:
        """Let a connection open the files of a bucket."""
        if (objects := self._lake.objects()) is not None:
            connection.register_filesystem(objects)

    def months(self, service: str | None) -> list[MonthInLake]:
        """The months in place of a service, or of all."""
        return self._lake.months(service)

    def accepted(self, month: MonthInLake) -> str:
        """The address of a month's accepted rows."""
        return self._address(data_key(month.file), month.accepted)

    def rejected(self, month: MonthInLake) -> str:
        """The address of a month's rejected rows."""
        return self._address(rejects_key(month.file), month.rejected)

    def zones(self) -> list[str]:
        """The address of the taxi zones, if there are any."""
        stamp = self._lake.stamp(landed_zones.KEY)
        return [] if stamp is None else [self._address(landed_zones.KEY, stamp)]

    def histories(self) -> dict[tuple[str, str, str], bytes]:
        """What is known of the editions of each file, by source, service and month."""
        found = {
            (key, stamp): (key.split("/")[1], match["service"], match["month"])
            for key, stamp in self._lake.listed("raw").items()
            if (match := _HISTORY.fullmatch(key)) and match["service"] in catalog.services()
        }
        unread = [state for state in found if state not in self._histories]
        with ThreadPoolExecutor(_HISTORIES_AT_A_TIME) as pool:
            read = pool.map(lambda state: self._lake.read(state[0]) or b"{}", unread)
            self._histories |= zip(unread, read, strict=True)
        return {of: self._histories[state] for state, of in found.items()}

    def _address(self, key: str, stamp: Stamp) -> str:
        if self._lake.is_local:
            return _GLOB.sub(lambda mark: f"[{mark[0]}]", self._lake.path(key))
        return f"{self._lake.url(key)}#{stamp.version}"
