"""Two answers are put together only if they are parts of the same file."""

import io

import pyarrow as pa
import pytest
from pyarrow import parquet

from devtools.servers.misbehaving import Fault, Published, Publisher
from include.nyc_taxi.lake import Lake
from tests.nyc_taxi.download.served import CUT, LATER, NEW, OLD, PATH, fetch, published_anew, raw


def test_server_without_ranges_sends_the_file_again(publisher: Publisher, lake: Lake):
    publisher.knows_ranges = False
    publisher.faults = [Fault(cut_at=CUT)]

    fetch(publisher, lake)

    assert raw(lake) == OLD


@pytest.mark.parametrize(
    ("etag", "last_modified", "validator"),
    [('"v1"', LATER, '"v1"'), ('"v1"', None, '"v1"'), (None, LATER, LATER), ('W/"v1"', LATER, LATER)],
)
def test_resuming_names_the_strongest_validator(
    publisher: Publisher, lake: Lake, etag: str | None, last_modified: str | None, validator: str
):
    publisher.files[PATH] = Published(OLD, etag, last_modified)
    publisher.faults = [Fault(cut_at=CUT)]

    fetch(publisher, lake)

    assert publisher.asked[1].headers["Range"] == f"bytes={CUT}-"
    assert publisher.asked[1].headers["If-Range"] == validator
    assert raw(lake) == OLD


@pytest.mark.parametrize("etag", [None, 'W/"v1"'])
def test_without_a_strong_validator_the_download_starts_over(publisher: Publisher, lake: Lake, etag: str | None):
    publisher.files[PATH] = Published(OLD, etag, None)
    publisher.faults = [Fault(cut_at=CUT)]

    fetched = fetch(publisher, lake)

    assert "Range" not in publisher.asked[1].headers
    assert raw(lake) == OLD
    assert (fetched.edition.etag, fetched.edition.last_modified) == (etag, None)


@pytest.mark.parametrize("knows_if_range", [True, False], ids=["if-range", "no if-range"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Published(OLD), Published(NEW, '"v2"')),
        (Published(OLD), Published(NEW, '"v2"', LATER)),
        (Published(OLD, None), Published(NEW, None, LATER)),
        (Published(OLD, 'W/"v1"'), Published(NEW, 'W/"v2"', LATER)),
        (Published(OLD, None, None), Published(NEW, None, None)),
        (Published(OLD), Published(NEW[:CUT] + NEW, '"v2"')),
    ],
    ids=["etag", "etag and date", "date", "weak etag", "neither", "length"],
)
def test_file_replaced_during_the_download_comes_new_and_whole(
    publisher: Publisher, lake: Lake, before: Published, after: Published, *, knows_if_range: bool
):
    publisher.knows_if_range = knows_if_range
    publisher.files[PATH] = before
    publisher.faults = [Fault(cut_at=CUT, then=lambda: published_anew(publisher, after))]

    fetched = fetch(publisher, lake)

    assert raw(lake) == after.content
    assert (fetched.edition.etag, fetched.edition.last_modified) == (after.etag, after.last_modified)
    assert fetched.edition.bytes == len(after.content)


def test_part_that_is_smaller_than_requested_is_followed_by_the_next(publisher: Publisher, lake: Lake):
    publisher.faults = [Fault(cut_at=CUT), Fault(part=1_000)]

    fetch(publisher, lake)

    assert [asked.headers.get("Range") for asked in publisher.asked] == [None, "bytes=100000-", "bytes=101000-"]
    assert raw(lake) == OLD


def test_file_that_became_shorter_during_the_download_comes_whole(publisher: Publisher, lake: Lake):
    short = io.BytesIO()
    parquet.write_table(pa.table({"noise": [1]}), short)
    after = Published(short.getvalue(), '"v2"')
    publisher.knows_if_range = False
    publisher.faults = [Fault(cut_at=CUT, then=lambda: published_anew(publisher, after))]

    fetch(publisher, lake)

    assert raw(lake) == after.content


@pytest.mark.parametrize(
    "content_range", [f"bytes 0-{len(OLD) - 1}/{len(OLD)}", f"bytes {CUT}-{len(OLD)}/{len(OLD) + 1}", "words 1-2/3", ""]
)
def test_another_part_than_requested_is_not_appended(publisher: Publisher, lake: Lake, content_range: str):
    publisher.faults = [Fault(cut_at=CUT), Fault(headers={"Content-Range": content_range})]

    fetch(publisher, lake)

    assert len(publisher.asked) == 3
    assert raw(lake) == OLD
