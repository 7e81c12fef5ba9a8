"""A file from a URL of no publisher is checked as any other, and its URL is a source of its own."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from devtools.generator import write_month
from devtools.servers.misbehaving import Fault, Published, Publisher
from include.nyc_taxi import TripFile, catalog, download, landing
from include.nyc_taxi.addresses import host_of
from include.nyc_taxi.errors import (
    DamagedFile,
    Implausible,
    PermanentError,
    SchemaMismatch,
    SetUpError,
    ShrunkenEdition,
    SourceUnavailable,
    Superseded,
    TooLarge,
)
from include.nyc_taxi.precedence import Wish

FILE = TripFile.parse("green_tripdata_2021-01")
PUBLISHED = f"/{catalog.source('official').path_of(FILE)}"
SIGNED = "/files/download?id=7&sig=s1gnature"


@pytest.fixture
def month(tmp_path):
    """Gives the content of a generated file, by name."""

    def content(name=FILE.name, *, rows=300, source="official"):
        path = tmp_path / f"{name}-{rows}-{source}"
        write_month(TripFile.parse(name), path, rows=rows, source=source)
        return path.read_bytes()

    return content


@pytest.fixture
def load(publisher, lake):
    """Downloads a path of the server as the month, and lands it; `at` is when it was asked for, in minutes."""

    def run(path, *, at=0, redirect_hosts=(), **options):
        url = publisher.url + path
        fetched = download.fetch_elsewhere(FILE, url, lake, redirect_hosts=redirect_hosts, pause=0, **options)
        return land(lake, fetched, at=at, edition=options.get("edition"))

    return run


def land(lake, fetched, *, at, edition=None):
    asked_at = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=at)).isoformat()
    found = fetched.edition
    return landing.land(FILE, lake, source=found.source, edition=found.sha256, wish=Wish.of(asked_at, edition=edition))


def test_the_ledger_learns_where_the_file_came_from_and_nothing_of_the_query(publisher, lake, load, month, caplog):
    publisher.files = {SIGNED: Published(month())}

    with caplog.at_level(logging.DEBUG, "include"), caplog.at_level(logging.INFO):
        landed = load(SIGNED)

    assert landed.source_url == f"{publisher.url}/files/download"
    assert catalog.is_elsewhere(landed.source)
    assert (landed.rows_read, landed.schema_era) == (300, "official-2014-01")
    kept = b"".join(path.read_bytes() for path in Path(lake.root).rglob("*") if path.is_file())
    assert "s1gnature" not in kept.decode("latin-1") + caplog.text


@pytest.mark.parametrize("path", ["/a", "/a.csv.gz"])
def test_the_format_and_the_columns_are_those_that_the_file_has(publisher, load, month, path):
    publisher.files = {path: Published(month(source="csv_mirror"))}

    landed = load(path)

    assert landed.rows_read == 300
    assert landed.schema_era.startswith(("official", "csv_mirror"))


def test_each_url_has_editions_of_its_own_so_that_the_last_wish_wins(publisher, load, month):
    publisher.files = {"/a": Published(month(rows=300)), "/b?id=1": Published(month(rows=100))}

    landed = [load(path, at=minute) for minute, path in enumerate(["/a", "/b?id=1", "/a"])]

    assert [each.rows_read for each in landed] == [300, 100, 300]
    assert [each.edition_number for each in landed] == [1, 1, 1]
    assert len({each.source for each in landed}) == 2


def test_a_run_of_the_publisher_goes_over_it_if_it_was_asked_for_later(publisher, lake, load, month):
    publisher.files = {PUBLISHED: Published(month(rows=500)), "/a": Published(month(rows=300))}
    official = download.fetch(FILE, lake, base_url=publisher.url, pause=0)

    assert land(lake, official, at=0).rows_read == 500
    assert load("/a", at=2).rows_read == 300
    with pytest.raises(Superseded):
        land(lake, official, at=1)
    assert land(lake, official, at=3).rows_read == 500


def test_a_file_that_shrank_at_its_url_is_held_back_until_it_is_named(publisher, load, month):
    publisher.files = {"/a": Published(month(rows=300))}
    load("/a")
    publisher.files = {"/a": Published(month(rows=100), etag='"v2"', last_modified="Tue, 02 Mar 2021 10:00:00 GMT")}

    with pytest.raises(ShrunkenEdition, match="67% fewer") as refusal:
        load("/a", at=1, cache_ttl=timedelta(0))

    digits = str(refusal.value).rpartition("=")[2]
    assert load("/a", at=2, edition=digits).rows_read == 100


def test_an_unchanged_file_is_not_downloaded_again(publisher, lake, month):
    publisher.files = {SIGNED: Published(month())}

    outcomes = [
        download.fetch_elsewhere(FILE, publisher.url + SIGNED, lake, cache_ttl=ttl, pause=0).outcome
        for ttl in (timedelta(0), timedelta(0), timedelta(days=1))
    ]

    assert outcomes == ["downloaded", "unchanged", "cached"]
    assert len(publisher.gets()) == 2


@pytest.mark.parametrize(
    ("name", "error", "reason"),
    [
        ("green_tripdata_2021-06", Implausible, "lie outside of 2021-01"),
        ("yellow_tripdata_2021-01", SchemaMismatch, "its columns are not those of era official-2014-01"),
    ],
)
def test_another_month_or_service_is_refused(publisher, load, month, name, error, reason):
    publisher.files = {"/a": Published(month(name))}

    with pytest.raises(error, match=reason):
        load("/a")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"<!doctype html><title>Log in</title>", "it is an HTML page, not a file"),
        (b'{"error": "no such id"}', "it is a JSON answer, not a file"),
        (b"PAR1 and no more", "not a complete parquet file"),
        (b"\x1f\x8b and no more", "not a complete gz file"),
        (b"PK\x03\x04 and no more", "not a complete zip file"),
    ],
)
def test_what_is_no_trip_file_is_refused_with_what_it_is(publisher, load, content, reason):
    publisher.files = {"/a": Published(content)}

    with pytest.raises(DamagedFile, match=reason):
        load("/a")


def test_a_zip_archive_is_not_read_as_text(publisher, load, tmp_path):
    from zipfile import ZipFile

    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("month.csv", "a,b\n1,2\n")
    publisher.files = {"/a": Published((tmp_path / "a.zip").read_bytes())}

    with pytest.raises(DamagedFile, match="is a zip archive, expected Parquet, CSV or CSV compressed by gzip"):
        load("/a")


def test_text_without_a_length_is_not_taken_for_whole(publisher, load):
    publisher.files = {"/a": Published(b"a,b\n1,2\n")}
    publisher.framing, publisher.head_has_length, publisher.knows_ranges = "close", False, False

    with pytest.raises(SourceUnavailable, match="nothing shows that the file is complete"):
        load("/a")


def test_a_file_that_is_too_large_is_refused(publisher, load, monkeypatch):
    monkeypatch.setenv("TAXI_LIMIT_FACTOR", "0.000000001")
    publisher.files = {"/a": Published(b"PAR1" * 100)}

    with pytest.raises(TooLarge, match="bytes"):
        load("/a")


def test_a_refusal_is_final_as_no_known_file_tells_throttling_from_it(publisher, load):
    publisher.always = Fault(status=403)

    with pytest.raises(PermanentError, match="/a: HTTP 403, expected 200"):
        load("/a?sig=s1gnature")

    assert len(publisher.asked) == 1


def test_a_redirect_leads_to_the_hosts_that_are_allowed_and_no_other(publisher, load, month):
    with Publisher() as other:
        other.files = {"/b?sig=s1gnature": Published(month())}
        publisher.always = Fault(status=302, headers={"Location": f"{other.url}/b?sig=s1gnature"})

        with pytest.raises(SetUpError, match=r"the server redirects to http://127.0.0.1:.*taxi_url_hosts") as refusal:
            load("/a")
        assert other.asked == []
        assert "s1gnature" not in str(refusal.value)

        assert load("/a", redirect_hosts=[host_of(other.url)]).rows_read == 300
