"""Take the screenshots of docs/images: the page with 17 years of made-up trips, in a real browser. Needs Chromium.

    .venv/bin/python -m devtools.screenshots

The zones' shapes are downloaded from the publisher; offline, `--zones` names a folder with its two files.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from playwright.sync_api import sync_playwright

from benchmarks import history
from devtools.servers.postgres import EmbeddedPostgres
from devtools.servers.whole_airflow import Airflow
from include.nyc_taxi import Month, TripFile, landed_zones, publications, targets, zones
from include.nyc_taxi.lake import ANYTHING, Lake
from include.nyc_taxi.publications import Publication

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
WIDE, NARROW = (1440, 900), (390, 844)

REPLACED = ["yellow_tripdata_2019-06", "green_tripdata_2021-02", "fhvhv_tripdata_2024-08", "fhvhv_tripdata_2024-09"]
DIFFERENT = ["yellow_tripdata_2013-05", "fhv_tripdata_2017-08"]
NOT_LOADED = ["yellow_tripdata_2025-10", "yellow_tripdata_2025-11", "yellow_tripdata_2025-12", "fhvhv_tripdata_2025-12"]
FAILED = ["fhv_tripdata_2016-03", "yellow_tripdata_2025-11"]
RUNNING = ["yellow_tripdata_2025-12", "fhvhv_tripdata_2025-12"]
ASKED = ["yellow", "green"]  # the services whose newest months the publisher was asked for
SHOWN = "yellow 2019-06"


def main() -> None:
    """Take the screenshots."""
    parser = argparse.ArgumentParser(prog="devtools.screenshots", description="Take the screenshots of docs/images.")
    parser.add_argument("--zones", type=Path, help="a folder with taxi_zone_lookup.csv and taxi_zones.zip")
    parser.add_argument("--into", type=Path, default=IMAGES, help="where to put the screenshots (default docs/images)")
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    with served(options.zones) as (browser, url):
        _take(browser, url, options.into)


@contextmanager
def served(zone_files: Path | None) -> Iterator[tuple[Browser, str]]:
    """Serve the page with its made-up history, and give a browser and Airflow's URL.

    The zones are downloaded from the publisher, or taken from a folder.
    """
    (ROOT / ".local").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=ROOT / ".local"))
    folder.chmod(0o711)  # the server may be another user
    server = EmbeddedPostgres(folder / "postgres", settings={"fsync": "off"})
    try:
        with server:
            airflow = Airflow(folder / "pictures", server, publisher="http://127.0.0.1:9", deployments=[])
            _fill(airflow, zone_files)
            try:
                airflow.start(["api-server", "dag-processor"])
                _run(airflow)
                with sync_playwright() as playwright:
                    yield playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"]), airflow.url
            finally:
                airflow.stop()
    finally:
        server.remove()
        shutil.rmtree(folder)


def _fill(airflow: Airflow, zone_files: Path | None) -> None:
    """Write the history with some months missing, different or replaced by the publisher since."""
    lake = Lake.at(airflow.lake)
    if zone_files:
        found = zones.read(Lake.at(zone_files), Path(zones.LOOKUP).name, Path(zones.SHAPES).name)
        landed_zones.write(lake, found, str(zone_files), ANYTHING)
    else:
        for path in (zones.LOOKUP, zones.SHAPES):
            zones.fetch(path, lake)
        zones.land(lake)
    target = targets.get("postgres")
    with psycopg.connect(airflow.warehouse) as connection:
        history.write(connection)
        target.replace_zones(connection, lake)
        for name in NOT_LOADED:
            file = TripFile.parse(name)
            for table in ("load_ledger", "trips_by_month", "trips_by_hour", "trips_by_zone"):
                query = f"DELETE FROM {table} WHERE service = %s AND month = %s"  # noqa: S608 - the names above
                connection.execute(query, [file.service, str(file.month)])
        for name in DIFFERENT:
            file = TripFile.parse(name)
            connection.execute(
                "UPDATE load_ledger SET rows_expected = rows_read + 1234 WHERE service = %s AND month = %s",
                [file.service, str(file.month)],
            )
        connection.commit()
        loads = target.loads(connection)
    now = datetime.now(UTC)
    known = {file: Publication(file) for file in map(TripFile.parse, NOT_LOADED)}
    known |= {
        file: Publication(file)
        for service in ASKED
        for file in (TripFile(service, month) for month in Month.range(Month(2026, 1), Month(2026, 6)))
    }
    known |= {
        file: Publication(file, f'"{"5eed" * 8}-7"' if file.name in REPLACED else load.source_etag, checked_at=now)
        for file, load in loads.items()
    }
    asked = [TripFile(service, month) for service in ASKED for month in Month.range(Month(2026, 7), Month.of(now) - 1)]
    absent = dict.fromkeys(asked, now)
    publications._write(lake, "official", known, absent)  # noqa: SLF001 - as a survey of the real publisher would


def _run(airflow: Airflow) -> None:
    """Create failed runs, and queued ones, which wait because there is no scheduler."""
    airflow.knows("ingest_data")
    for name in (*FAILED, *RUNNING):
        file = TripFile.parse(name)
        conf = {"colour": file.service, "year": file.month.year, "month": file.month.month}
        run = airflow.post("/dags/ingest_data/dagRuns", logical_date=None, conf=conf)
        if name in FAILED:
            path = f"/dags/ingest_data/dagRuns/{run['dag_run_id']}"
            airflow.api.patch(path, json={"state": "failed"}).raise_for_status()


def _take(browser: Browser, url: str, into: Path) -> None:
    page = _open(browser, f"{url}/plugin/taxi", WIDE)
    inside = page.frame_locator("iframe")
    inside.locator("#coverage-says b").wait_for()
    _save(page, into / "coverage-wide-light.png")
    inside.locator(f"[data-file='{SHOWN}']").click()
    inside.locator("dialog dl.counts").wait_for()
    _save(page, into / "coverage-month.png")
    for name, size, dark, proof in (
        ("coverage-narrow-dark", NARROW, True, "#coverage-says b"),
        ("quality-wide-light", WIDE, False, "#quality canvas"),
        ("city-wide-light", WIDE, False, "#map [data-q]"),
        ("city-wide-dark", WIDE, True, "#map [data-q]"),
    ):
        page = _open(browser, f"{url}/taxi/#{name.partition('-')[0]}", size, dark=dark)
        page.locator(proof).first.wait_for()
        _save(page, into / f"{name}.png")


def _open(browser: Browser, url: str, size: tuple[int, int], *, dark: bool = False) -> Page:
    width, height = size
    page = browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    page.goto(url)
    return page


def _save(page: Page, path: Path) -> None:
    page.wait_for_load_state("networkidle")
    page.screenshot(path=path, full_page=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def chromium() -> str | None:
    """The path of an installed Chromium; None for the one that playwright downloads."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


if __name__ == "__main__":
    main()
