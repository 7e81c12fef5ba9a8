"""The row counts that homeworks quote are those of the CSV mirror's files, loaded with `quality=none`.

TLC_REAL_DATA names a folder with the mirror's files in `csv-mirror/{service}/`. A count of which a month is not there
is skipped.
"""

import os
from pathlib import Path

import pytest

from devtools.servers.publisher import Publisher
from include.nyc_taxi import Month, TripFile, coverage, download, landing, targets
from include.nyc_taxi.lake import Lake
from include.nyc_taxi.targets.duckdb.database import DatabaseFile

MIRROR = Path(os.environ.get("TLC_REAL_DATA", "/nowhere"), "csv-mirror")
COUNTS = [
    ("yellow", "2020-01", "2020-12", 24_648_499),
    ("green", "2020-01", "2020-12", 1_734_051),
    ("yellow", "2021-03", "2021-03", 1_925_152),
    ("yellow", "2019-02", "2019-02", 7_019_375),
    ("yellow", "2019-03", "2019-03", 7_832_545),
    ("yellow", "2021-01", "2021-01", 1_369_765),
    ("green", "2019-04", "2019-04", 514_392),
    ("green", "2020-01", "2020-01", 447_770),
    ("green", "2020-04", "2020-04", 35_612),
    ("green", "2020-09", "2020-09", 87_987),
    ("green", "2020-11", "2020-11", 88_605),
    ("green", "2020-12", "2020-12", 83_130),
]

pytestmark = pytest.mark.skipif(
    "TLC_REAL_DATA" not in os.environ, reason="TLC_REAL_DATA does not name a folder of the publisher's files"
)


def months(service: str, first: str, last: str) -> list[TripFile]:
    """Return the files of the months, or skip the test if the folder lacks one of them."""
    files = [TripFile(service, month) for month in Month.range(Month.parse(first), Month.parse(last))]
    if missing := [file.name for file in files if not (MIRROR / service / f"{file.name}.csv.gz").exists()]:
        pytest.skip(f"{MIRROR / service} lacks {len(missing)} of {len(files)} files, such as {missing[0]}.csv.gz")
    return files


@pytest.mark.parametrize(("service", "first", "last", "rows"), COUNTS)
def test_a_published_count_is_that_of_the_loaded_rows(
    service: str, first: str, last: str, rows: int, lake: Lake, tmp_path: Path
):
    files, target = months(service, first, last), targets.get("duckdb")
    database = DatabaseFile(tmp_path / "taxi.duckdb")

    with Publisher(MIRROR.parent) as publisher:
        for file in files:
            download.fetch(file, lake, source="csv_mirror", base_url=f"{publisher.base_url}/csv-mirror")
            landing.land(file, lake, source="csv_mirror", profile="none")
            target.replace_month(database, file, lake)

    with database.reading() as connection:
        assert connection is not None
        assert connection.execute(f"SELECT count(*) FROM {service}_taxi_trips").fetchall() == [(rows,)]
    cells = coverage.coverage({}, target.loads(database), {}, Month(2022, 1)).values()
    assert coverage.rows_by_year(cells) == {(service, files[0].month.year): coverage.Rows(rows, rows)}
