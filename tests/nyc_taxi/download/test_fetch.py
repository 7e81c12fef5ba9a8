"""A file arrives as it was published, complete and as an edition of its own, and nothing is left in staging."""

from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from devtools.servers.misbehaving import Fault, Published, Publisher
from include.nyc_taxi import Month, TripFile, catalog, download, progress
from include.nyc_taxi.editions import History
from include.nyc_taxi.lake import Lake
from tests.nyc_taxi.download.served import (
    CSV,
    CUT,
    KEY,
    NEW,
    OLD,
    PATH,
    fetch,
    key_of,
    known,
    raw,
    sha256,
)
from tests.nyc_taxi.trips import files_in


def test_new_lengths_are_the_old_so_that_only_the_bytes_tell_a_mixture():
    assert len(OLD) == len(NEW)
    assert OLD[CUT:-CUT] != NEW[CUT:-CUT]


def test_file_comes_as_published_and_as_the_first_edition(publisher: Publisher, any_lake: Lake):
    before = datetime.now(UTC)

    fetched = fetch(publisher, any_lake)

    assert fetched.outcome == "downloaded"
    assert fetched.key == key_of(OLD)
    assert raw(any_lake) == OLD
    edition = fetched.edition
    assert known(any_lake) == History((edition,), checked_at=edition.first_seen)
    assert (edition.number, edition.key, edition.is_kept) == (1, fetched.key, True)
    assert (edition.source, edition.url) == ("official", publisher.url + PATH)
    assert (edition.etag, edition.last_modified) == ('"v1"', "Mon, 01 Mar 2021 10:00:00 GMT")
    assert (edition.bytes, edition.sha256) == (len(OLD), sha256(OLD))
    assert before <= datetime.fromisoformat(edition.first_seen) <= datetime.now(UTC)
    assert edition.last_seen == edition.first_seen
    assert edition.schema_era == "official-2014-01"
    assert (edition.rows, edition.rejected, edition.changes, edition.is_held_back) == (None, None, None, None)


def test_one_request_is_enough_and_asks_for_the_bytes_as_they_are(publisher: Publisher, lake: Lake):
    fetch(publisher, lake)

    [asked] = publisher.asked
    assert (asked.method, asked.path) == ("GET", PATH)
    assert asked.headers["Accept-Encoding"] == "identity"
    assert not {"Range", "If-None-Match", "If-Modified-Since"} & set(asked.headers)


def test_csv_mirror_has_its_own_place(publisher: Publisher, lake: Lake):
    key = "raw/csv_mirror/green/green_tripdata_2021-01.csv.gz"

    fetched = fetch(publisher, lake, source="csv_mirror")

    assert fetched.key == f"raw/csv_mirror/green/green_tripdata_2021-01.{sha256(CSV)[:16]}.csv.gz"
    assert raw(lake, key) == CSV
    assert known(lake) == History()


def test_nothing_is_left_in_staging(publisher: Publisher, lake: Lake):
    fetch(publisher, lake)

    assert files_in(lake) == [key_of(OLD), f"{KEY}.editions.json"]
    assert not any(Path(lake.root, ".staging").iterdir())


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_length_need_not_be_known(publisher: Publisher, lake: Lake, framing: str):
    publisher.framing = framing

    fetch(publisher, lake)

    assert raw(lake) == OLD


def test_redirect_is_followed_and_the_edition_has_the_requested_url(publisher: Publisher, lake: Lake):
    publisher.files["/elsewhere"] = Published(NEW)
    publisher.faults = [Fault(status=302, headers={"Location": "/elsewhere"})]

    fetched = fetch(publisher, lake)

    assert raw(lake) == NEW
    assert fetched.edition.url == publisher.url + PATH


def test_progress_is_logged_with_amount_and_share(
    publisher: Publisher, lake: Lake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(progress, "monotonic", count(step=60).__next__)

    with caplog.at_level("INFO"):
        fetch(publisher, lake)

    assert f"green_tripdata_2021-01.parquet: {len(OLD):,} of {len(OLD):,} bytes (100 %)" in caplog.text


@pytest.mark.parametrize("name", ["", '""', "Unnamed: 0", "__index_level_0__", "...1"])
def test_csv_whose_first_column_is_an_index_is_a_file(publisher: Publisher, lake: Lake, name: str):
    file = TripFile("green", Month(2013, 8))
    path = f"/{catalog.source('csv_archive').path_of(file)}".replace(" ", "%20")
    publisher.files[path] = Published(f"{name},VendorID\n0,2\n".encode())

    assert download.fetch(file, lake, source="csv_archive", base_url=publisher.url, pause=0).outcome == "downloaded"
