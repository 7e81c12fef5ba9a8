"""A download that is cut or stalls is resumed, or given up after some attempts."""

import pytest

from devtools.servers.misbehaving import Fault, Publisher
from include.nyc_taxi.errors import (
    SourceUnavailable,
)
from include.nyc_taxi.lake import Lake
from tests.nyc_taxi.download.served import CUT, OLD, STALLED, assert_lake_is_empty, fetch, raw, sha256


@pytest.mark.parametrize("stalls", [False, True], ids=["cut", "stalled"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_interrupted_download_is_resumed_where_it_stopped(
    publisher: Publisher, lake: Lake, framing: str, *, stalls: bool
):
    publisher.framing = framing
    publisher.faults = [Fault(cut_at=CUT, stalls=stalls)]

    fetched = fetch(publisher, lake, timeout=STALLED)

    _, second = publisher.asked
    assert second.headers["Range"] == f"bytes={CUT}-"
    assert second.headers["If-Range"] == '"v1"'
    assert raw(lake) == OLD
    assert fetched.edition.sha256 == sha256(OLD)


def test_download_cut_twice_goes_on_twice(publisher: Publisher, lake: Lake):
    publisher.faults = [Fault(cut_at=CUT), Fault(cut_at=CUT)]

    fetch(publisher, lake)

    assert [asked.headers.get("Range") for asked in publisher.asked] == [None, "bytes=100000-", "bytes=200000-"]
    assert raw(lake) == OLD


@pytest.mark.parametrize("stalls", [False, True], ids=["cut", "stalled"])
def test_download_that_is_always_interrupted_is_given_up(publisher: Publisher, lake: Lake, *, stalls: bool):
    publisher.always = Fault(cut_at=10, stalls=stalls)

    with pytest.raises(SourceUnavailable, match="gave up after 5 attempts"):
        fetch(publisher, lake, timeout=0.2)

    assert len(publisher.asked) == 5
    assert_lake_is_empty(lake)


def test_connection_that_ends_early_without_a_length_is_noticed_by_the_format(publisher: Publisher, lake: Lake):
    publisher.framing = "close"
    publisher.faults = [Fault(cut_at=CUT)]

    fetch(publisher, lake)

    assert len(publisher.asked) == 2
    assert raw(lake) == OLD


def test_server_that_is_not_there_is_unavailable(publisher: Publisher, lake: Lake):
    url = publisher.url
    publisher.__exit__()

    with pytest.raises(SourceUnavailable, match="ConnectError"):
        fetch(publisher, lake, base_url=url)

    assert_lake_is_empty(lake)
