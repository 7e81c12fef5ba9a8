"""lake: the lake as a target: a month is in it once its rows lie in data/, where all other targets load from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from include.nyc_taxi.targets.base import Target, ZonesLoaded

if TYPE_CHECKING:
    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.precedence import Claim, Run
    from include.nyc_taxi.targets.lake.loads import Footers
    from include.nyc_taxi.targets.ledger import Loaded
    from include.nyc_taxi.targets.loads import Load
    from include.nyc_taxi.trip_file import TripFile


ZONES = ("raw", "data", "rejects", "zones")


class Folder(NamedTuple):
    """The folder of the lake's data/ that holds a service's files, such as `data/green`."""

    service: str

    def __str__(self) -> str:
        return f"data/{self.service}"


class InLake(Target["Lake", Folder]):
    """The lake. Its client is the lake itself."""

    name = "lake"
    title = "Lake"
    connection = "taxi_lake"
    connected_by = "Variable taxi_lake"
    loaded_by = "etl_web_to_gcs"
    loading_task = "write_gcs"
    is_the_lake = True
    has_zones = True

    def __init__(self) -> None:
        self._footers: Footers = {}

    def default_table(self, service: str, namespace: str | None = None) -> Folder:  # noqa: ARG002 - it has one
        """The folder `data/{service}`."""
        return Folder(service)

    def parse_table(self, name: str) -> Folder:
        """Refuse the name: the lake has one folder per service."""
        raise ValueError(f"table name {name!r}: the lake has no tables; expected none")

    def home(self, folder: Path) -> str:
        """The URL of the folder `lake`."""
        return f"file://{folder / 'lake'}"

    def check(self, client: Lake, lake: Lake, table: Folder, service: str) -> str:  # noqa: ARG002 - its own is the lake
        """See that the lake can be listed; returns its address."""
        client.size(str(table))
        return client.url("")

    def replace_month(
        self,
        client: Lake,
        file: TripFile,
        lake: Lake,  # noqa: ARG002 - its own is the lake
        *,
        table: Folder | None = None,
        found: Claim | None = None,
        run: Run | None = None,  # noqa: ARG002 - the lake's files do not say who wrote them
        force: bool = False,  # noqa: ARG002 - landing it is what puts a month there
    ) -> Loaded:
        """See that the month lies there whole, as landing has left it."""
        from include.nyc_taxi import landed_rows
        from include.nyc_taxi.targets.ledger import Loaded

        landed = landed_rows.to_load(file, client, found)
        return Loaded("landed", table or self.default_table(file.service), landed, landed.rows_accepted, 0.0)

    def loads(self, client: Lake, namespace: str | None = None) -> dict[TripFile, Load]:  # noqa: ARG002 - it has none
        """What the files of data/ say of themselves. A second look reads only what has changed since."""
        from include.nyc_taxi.targets.lake import loads

        return loads.loads(client, self._footers)

    def own_loads(self, client: Lake, namespace: str | None = None) -> dict[TripFile, Load]:
        """All of `loads`: the lake has one folder per service."""
        return self.loads(client, namespace)

    def bytes_held(self, client: Lake) -> int:
        """The bytes of every object in a zone of the lake."""
        return sum(stamp.bytes for zone in ZONES for stamp in client.listed(zone).values())

    def folder(self, client: Lake) -> Path | None:
        """The lake's folder; None if it is in a bucket."""
        return Path(client.root) if client.is_local else None

    def replace_zones(self, client: Lake, lake: Lake) -> ZonesLoaded:  # noqa: ARG002 - its own is the lake
        """See that the zones lie there undamaged, as landing has left them."""
        from include.nyc_taxi import landed_zones

        with landed_zones.intact(client):
            return ZonesLoaded("landed", landed_zones.KEY, ())
