"""Generate trip files and serve them, with `expected.json`: the rows that a load accepts, by quality profile."""

import json
import signal
from pathlib import Path

from devtools.generator import write_month
from devtools.servers.publisher import Publisher
from include.nyc_taxi import TripFile, catalog

FOLDER = Path("/published")
LARGE = "yellow_tripdata_2023-01"  # large enough to interrupt its load
ROWS = {LARGE: 4_000_000} | {f"green_tripdata_2024-{month:02}": 60_000 for month in range(1, 13)}


def main():
    expected = {}
    for name, rows in ROWS.items():
        file = TripFile.parse(name)
        path = FOLDER / catalog.source("official").path_of(file)
        path.parent.mkdir(exist_ok=True)
        made = write_month(file, path, rows=rows)
        expected[name] = {"none": made.rows, "notes": made.rows - made.without_passengers}
    (FOLDER / "expected.json").write_text(json.dumps(expected))
    with Publisher(FOLDER, host="0.0.0.0", port=8000):  # noqa: S104 - in the network of the stack
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})  # before any thread starts
    main()
