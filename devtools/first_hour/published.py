"""published: the files of the web that the new user meets: small generated months and zones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devtools.generator import write_month, zone_files
from include.nyc_taxi import TripFile, catalog, zones

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 2_000
AT_MOST_ROWS = 100_000
OF_THE_DEMO = "yellow_tripdata_2021-01"  # as the demo has loaded it: a smaller edition would be refused
OFFICIAL_HOST = "d37ci6vzurychx.cloudfront.net"
HOSTS = [OFFICIAL_HOST, "github.com"]
MIRROR = "DataTalksClub/nyc-tlc-data/releases/download"
MONTHS = {
    "official": [
        "yellow_tripdata_2019-03",
        *(f"{service}_tripdata_2021-{month:02}" for service in ("yellow", "green") for month in (1, 2, 3)),
        *(f"yellow_tripdata_2020-{month:02}" for month in (1, 2)),
        *(f"green_tripdata_2020-{month:02}" for month in (1, 2, 3)),
        *(f"{service}_tripdata_2026-{month:02}" for service in ("yellow", "green") for month in (4, 5, 6)),
        *(f"green_tripdata_2022-{month:02}" for month in (1, 2, 3)),
    ],
    "csv_mirror": ["green_tripdata_2021-01", "yellow_tripdata_2021-01"],
}
BELOW = {"official": "", "csv_mirror": MIRROR}


def write(folder: Path) -> None:
    """Write the files that are missing, below the paths that they have at their hosts."""
    for source, names in MONTHS.items():
        for name in names:
            file = TripFile.parse(name)
            path = folder / BELOW[source] / catalog.source(source).path_of(file)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                write_month(file, path, source=source, rows=_rows(file, source))
    for name, content in ((zones.LOOKUP, zone_files.lookup_bytes()), (zones.SHAPES, zone_files.shapes_bytes())):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _rows(file: TripFile, source: str) -> int:
    """Return the rows of the real file, or few if it has many."""
    known = catalog.expected(file, source)
    if known is None or (known.rows > AT_MOST_ROWS and file.name != OF_THE_DEMO):
        return ROWS
    return known.rows
