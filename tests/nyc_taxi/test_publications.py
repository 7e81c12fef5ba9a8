"""A survey finds the published files with few requests, keeps them in the lake, and recognises a busy server."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from devtools.servers.misbehaving import Published, Publisher
from include.nyc_taxi import Month, TripFile, catalog, publications
from include.nyc_taxi.lake import Lake
from include.nyc_taxi.publications import Publication, Survey

TODAY = datetime(2026, 8, 20, tzinfo=UTC)
TOMORROW = TODAY + timedelta(days=1)
SINCE = Month(2026, 1)
KNOWN = "/trip-data/green_tripdata_2019-03.parquet"


def green(month: str) -> TripFile:
    return TripFile("green", Month.parse(month))


def path(file: TripFile) -> str:
    return f"/{catalog.source('official').path_of(file)}"


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    """Has green from 2026-01 to 2026-06, and answers 403 for other files, as the real publisher does."""
    # Reading the web's certificates takes longer than the rest of a test, and no request here needs them.
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with Publisher() as publisher:
        publisher.missing = 403
        publisher.files = {path(green(f"2026-0{month}")): Published(b"rows") for month in range(1, 7)}
        publisher.files[KNOWN] = Published(b"rows")
        yield publisher


def survey(publisher: Publisher, lake: Lake, **options: object) -> Survey:
    asked_before = len(publisher.asked)
    defaults = {"base_url": publisher.url, "services": ["green"], "since": SINCE, "now": TODAY, "pause": 0}
    found = publications.survey(lake, **{**defaults, **options})
    publisher.asked = publisher.asked[asked_before:]
    return found


def asked_months(publisher: Publisher) -> list[str]:
    return [str(TripFile.parse_key(asked.path).month) for asked in publisher.asked if asked.path != KNOWN]


def test_before_the_first_survey_the_catalogue_is_the_list(lake: Lake):
    known = publications.known(lake)

    assert known[green("2024-01")] == Publication(green("2024-01"), None, "2024-03-21", 1362284)
    assert known[green("2026-06")] == Publication(green("2026-06"))  # its era begins there
    assert not {green("2013-12"), green("2026-07")} & set(known)
    assert {file.service for file in known} == set(catalog.services())


def test_of_a_source_that_has_ended_the_catalogue_knows_all(lake: Lake):
    months = [file.month for file in publications.known(lake, "csv_mirror") if file.service == "green"]

    assert months == list(Month.range(Month(2019, 1), Month(2021, 7)))


def test_the_first_survey_finds_what_is_new_and_confirms_what_was_known(publisher: Publisher, any_lake: Lake):
    found = survey(publisher, any_lake)

    of_2024 = [str(file.month) for file in sorted(found.published) if file.month >= SINCE and file.service == "green"]
    assert of_2024 == [f"2026-0{month}" for month in range(1, 7)]
    june = found.published[green("2026-06")]
    assert (june.etag, june.bytes, june.checked_at) == ('"v1"', 4, TODAY)
    assert (found.asked, found.stopped) == (7, None)
    assert {asked.method for asked in publisher.asked} == {"HEAD"}
    assert publications.known(any_lake) == found.published


def test_what_the_publisher_did_not_have_is_kept_until_it_does(publisher: Publisher, any_lake: Lake):
    july = green("2026-07")
    assert publications.listed(any_lake).absent == {}

    found = survey(publisher, any_lake)
    assert found.absent == publications.listed(any_lake).absent == {july: TODAY}

    publisher.files[path(july)] = Published(b"rows")
    assert survey(publisher, any_lake, now=TOMORROW).absent == {}
    assert july in publications.known(any_lake)


def test_the_next_survey_asks_for_the_newest_known_month_and_what_is_not_known(publisher: Publisher, lake: Lake):
    survey(publisher, lake)

    found = survey(publisher, lake, recheck=0, now=TOMORROW)

    assert asked_months(publisher) == ["2026-06", "2026-07"]
    assert found.asked == 2


def test_the_month_that_is_not_over_is_not_asked_for(publisher: Publisher, lake: Lake):
    survey(publisher, lake)

    assert "2026-08" not in asked_months(publisher)


def test_a_month_that_came_out_later_than_the_next_is_found(publisher: Publisher, lake: Lake):
    may = publisher.files.pop(path(green("2026-05")))
    assert green("2026-05") not in survey(publisher, lake).published
    publisher.files[path(green("2026-05"))] = may

    assert green("2026-05") in survey(publisher, lake, recheck=0, now=TOMORROW).published


def test_old_months_are_rechecked_in_rotation(publisher: Publisher, lake: Lake):
    survey(publisher, lake)
    rounds = []

    for day in range(1, 4):
        survey(publisher, lake, recheck=2, now=TODAY + timedelta(days=day))
        rounds.append(asked_months(publisher)[2:])

    assert rounds == [["2026-05", "2026-04"], ["2026-03", "2026-02"], ["2026-01", "2026-05"]]


def test_a_republished_file_has_another_etag(publisher: Publisher, lake: Lake, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    survey(publisher, lake)
    publisher.files[path(green("2026-02"))] = Published(b"other rows", '"v2"')

    found = survey(publisher, lake, now=TOMORROW)

    assert found.published[green("2026-02")].etag == '"v2"'
    assert "'unchanged': 5, 'not published': 1, 'republished': 1" in caplog.text


def test_a_file_that_is_gone_is_no_longer_published(publisher: Publisher, lake: Lake):
    survey(publisher, lake)
    del publisher.files[path(green("2026-03"))]

    assert green("2026-03") not in survey(publisher, lake, now=TOMORROW).published


def test_a_server_that_throttles_ends_the_survey_which_keeps_its_list(publisher: Publisher, lake: Lake):
    survey(publisher, lake)
    before = publications.known(lake)
    publisher.head = 403  # also for the file that has been there for years

    found = survey(publisher, lake, now=TOMORROW)

    assert "which has been there for years" in (found.stopped or "")
    assert (found.asked, found.published) == (0, before)
    assert len(asked_months(publisher)) == 3


def test_a_server_that_fails_once_is_asked_again(publisher: Publisher, lake: Lake):
    publisher.heads = [503]

    found = survey(publisher, lake)

    assert (found.asked, found.stopped) == (7, None)
    assert len(asked_months(publisher)) == 8


def test_a_server_that_cannot_be_reached_ends_the_survey(lake: Lake):
    found = publications.survey(lake, base_url="http://127.0.0.1:9", services=["green"], now=TODAY, pause=0)

    assert "ConnectError" in (found.stopped or "")


def test_a_server_that_knows_no_head_is_asked_with_get(publisher: Publisher, lake: Lake):
    publisher.head = 405

    assert survey(publisher, lake).published[green("2026-06")].etag == '"v1"'


def test_only_the_asked_services_and_months_are_asked_for(publisher: Publisher, lake: Lake):
    survey(publisher, lake, since=Month(2026, 5))

    assert asked_months(publisher) == ["2026-06", "2026-07", "2026-05"]


def test_a_source_that_has_ended_is_not_asked_for_later_months(publisher: Publisher, lake: Lake):
    publisher.missing = 404

    found = survey(publisher, lake, source="csv_mirror", since=Month(2021, 6))

    assert asked_months(publisher) == ["2021-07", "2021-06"]
    assert green("2021-07") not in found.published
