"""An answer without the file is the error that it stands for, transient or permanent."""

import pytest

from devtools.servers.misbehaving import Fault, Published, Publisher
from include.nyc_taxi import Month, TripFile, download
from include.nyc_taxi.errors import (
    NotPublished,
    PermanentError,
    SourceThrottled,
    SourceUnavailable,
)
from include.nyc_taxi.lake import Lake
from tests.nyc_taxi.download.served import CUT, KNOWN_PATH, OLD, PATH, assert_lake_is_empty, fetch, raw


@pytest.mark.parametrize("no_head", [None, 405, 501])
def test_403_with_a_known_month_there_is_not_published(publisher: Publisher, lake: Lake, no_head: int | None):
    publisher.files = {KNOWN_PATH: Published(OLD)}
    publisher.missing, publisher.head = 403, no_head

    with pytest.raises(
        NotPublished, match=r"HTTP 403, and .*2019-03.parquet is there: the source does not have the file"
    ):
        fetch(publisher, lake)

    asked = [(asked.method, asked.path) for asked in publisher.asked]
    assert asked == [("GET", PATH), ("HEAD", KNOWN_PATH)] + [("GET", KNOWN_PATH)] * bool(no_head)
    assert_lake_is_empty(lake)


@pytest.mark.parametrize("no_head", [None, 405, 501])
def test_403_for_a_known_month_too_is_throttling(publisher: Publisher, lake: Lake, no_head: int | None):
    publisher.files = {}
    publisher.missing, publisher.head = 403, no_head

    with pytest.raises(SourceThrottled, match=r"HTTP 403, and HTTP 403 for .*2019-03.parquet"):
        fetch(publisher, lake)

    assert [asked.path for asked in publisher.gets()] == [PATH] + [KNOWN_PATH] * bool(no_head)


@pytest.mark.parametrize("status", [404, 410])
def test_file_that_is_not_there_is_not_published(publisher: Publisher, lake: Lake, status: int):
    publisher.files = {}
    publisher.missing = status

    with pytest.raises(NotPublished, match=f"{PATH}: HTTP {status}: the source does not have the file"):
        fetch(publisher, lake)

    assert len(publisher.asked) == 1
    assert_lake_is_empty(lake)


@pytest.mark.parametrize(
    ("source", "span"), [("official", "2014-01 to about two months ago"), ("csv_mirror", "2019-01 to 2021-07")]
)
def test_a_month_that_is_not_there_is_refused_with_those_that_may_be(
    publisher: Publisher, lake: Lake, source: str, span: str
):
    publisher.files = {}

    with pytest.raises(NotPublished) as refusal:
        download.fetch(TripFile("green", Month(2020, 5)), lake, source=source, base_url=publisher.url)

    assert f"; {source} has green from {span}: choose another month by the params year and month" in str(refusal.value)


def test_a_url_of_a_run_that_has_no_file_is_to_be_corrected(publisher: Publisher, lake: Lake):
    publisher.files = {}
    elsewhere = f"{publisher.url}/copy.parquet"

    with pytest.raises(NotPublished, match=r"copy.parquet: HTTP 404: .* the file; correct the param url$"):
        download.fetch_elsewhere(TripFile("green", Month(2020, 5)), elsewhere, lake)


@pytest.mark.parametrize(("headers", "wait"), [({"Retry-After": "120"}, "120"), ({}, "a while")])
def test_throttled_client_does_not_ask_again_at_once(
    publisher: Publisher, lake: Lake, headers: dict[str, str], wait: str
):
    publisher.always = Fault(status=429, headers=headers)

    with pytest.raises(SourceThrottled, match=f"HTTP 429, retry after {wait}"):
        fetch(publisher, lake)

    assert len(publisher.asked) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
def test_failing_server_is_asked_again(publisher: Publisher, lake: Lake, status: int):
    publisher.faults = [Fault(status=status), Fault(status=status)]

    fetch(publisher, lake)

    assert len(publisher.asked) == 3
    assert raw(lake) == OLD


def test_server_that_fails_between_two_parts_does_not_cost_the_first(publisher: Publisher, lake: Lake):
    publisher.faults = [Fault(cut_at=CUT), Fault(status=503)]

    fetch(publisher, lake)

    assert [asked.headers.get("Range") for asked in publisher.asked] == [None, "bytes=100000-", "bytes=100000-"]
    assert raw(lake) == OLD


def test_server_that_always_fails_is_unavailable(publisher: Publisher, lake: Lake):
    publisher.always = Fault(status=500)

    with pytest.raises(SourceUnavailable, match=r"gave up after 5 attempts: .*HTTP 500"):
        fetch(publisher, lake)

    assert len(publisher.asked) == 5
    assert_lake_is_empty(lake)


def test_redirects_in_a_circle_are_unavailable(publisher: Publisher, lake: Lake):
    publisher.always = Fault(status=302, headers={"Location": PATH})

    with pytest.raises(SourceUnavailable, match="TooManyRedirects"):
        fetch(publisher, lake)


@pytest.mark.parametrize("status", [400, 206, 304])
def test_any_other_answer_is_an_error_that_another_try_does_not_help(publisher: Publisher, lake: Lake, status: int):
    publisher.always = Fault(status=status)

    with pytest.raises(PermanentError, match=f"HTTP {status}, expected 200"):
        fetch(publisher, lake)

    assert len(publisher.asked) == 1


@pytest.mark.parametrize("month", ["2013-12", "1999-01"])
def test_month_that_the_source_never_had_makes_no_request(publisher: Publisher, lake: Lake, month: str):
    file = TripFile("green", Month.parse(month))

    with pytest.raises(PermanentError, match=f"green {month}: source 'official' has green from 2014-01 on"):
        download.fetch(file, lake, base_url=publisher.url)

    assert publisher.asked == []


@pytest.mark.parametrize("name", ["../../etc", "official'; drop table trips --"])
def test_unknown_source_is_refused(publisher: Publisher, lake: Lake, name: str):
    with pytest.raises(ValueError, match=r"is not one of \['csv_archive', 'csv_mirror', 'official'\]"):
        fetch(publisher, lake, source=name)

    assert publisher.asked == []
