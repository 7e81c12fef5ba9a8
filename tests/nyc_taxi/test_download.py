"""From a server that cuts, stalls, refuses and changes its mind the file comes whole, or an error says why."""

import gzip
import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from threading import Barrier
from typing import NamedTuple

import pyarrow as pa
import pytest
from pyarrow import parquet

from include.nyc_taxi import Month, TripFile, catalog, download, progress
from include.nyc_taxi.download import Fetched
from include.nyc_taxi.errors import (
    DamagedFile,
    NotPublished,
    PermanentError,
    SourceThrottled,
    SourceUnavailable,
    TransientError,
)
from include.nyc_taxi.lake import Lake, raw_key
from tests.nyc_taxi.misbehaving import Fault, Published, Publisher
from tests.nyc_taxi.trips import files_in

FILE = TripFile("green", Month(2021, 1))
PATHS = {name: f"/{catalog.source(name).path_of(FILE)}" for name in ("official", "csv_mirror")}
PATH = PATHS["official"]
KNOWN_PATH = "/trip-data/green_tripdata_2019-03.parquet"
KEY = raw_key(FILE, "official")

CUT = 100_000
STALLED = 0.5
NOW = timedelta(0)
LATER = "Tue, 02 Mar 2021 10:00:00 GMT"


def noise(seed: int, size: int) -> bytes:
    return hashlib.shake_128(bytes([seed])).digest(size)


@cache
def whole(seed: int) -> bytes:
    """A parquet file of noise; two of them differ everywhere and have one length."""
    file = io.BytesIO()
    parquet.write_table(pa.table({"noise": [noise(seed, 3 * CUT)]}), file, compression="none", write_statistics=False)
    return file.getvalue()


OLD, NEW = whole(1), whole(2)
CSV = gzip.compress(noise(3, CUT), mtime=0)


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    # Reading the web's certificates, which no request here needs, takes longer than the rest of a test.
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Publisher() as publisher:
        publisher.files = {PATH: Published(OLD), PATHS["csv_mirror"]: Published(CSV)}
        yield publisher


def fetch(publisher: Publisher, lake: Lake, **options: object) -> Fetched:
    return download.fetch(FILE, lake, **{"base_url": publisher.url, "pause": 0, "timeout": 5, **options})


def raw(lake: Lake, key: str = KEY) -> bytes:
    return lake.fs.cat_file(lake.path(key))


def published_anew(publisher: Publisher, published: Published) -> None:
    publisher.files[PATH] = published


def assert_lake_is_empty(lake: Lake) -> None:
    assert files_in(lake) == []
    assert not any(Path(lake.root, ".staging").glob("*"))


def test_new_lengths_are_the_old_so_that_only_the_bytes_tell_a_mixture():
    assert len(OLD) == len(NEW)
    assert OLD[CUT:-CUT] != NEW[CUT:-CUT]


# What comes


def test_file_comes_as_published_with_a_manifest(publisher: Publisher, any_lake: Lake):
    before = datetime.now(UTC)

    fetched = fetch(publisher, any_lake)

    assert fetched.outcome == "downloaded"
    assert fetched.key == KEY
    assert raw(any_lake) == OLD
    manifest = fetched.manifest
    assert any_lake.manifest(KEY) == manifest
    assert (manifest.source, manifest.url) == ("official", publisher.url + PATH)
    assert (manifest.etag, manifest.last_modified) == ('"v1"', "Mon, 01 Mar 2021 10:00:00 GMT")
    assert (manifest.bytes, manifest.sha256) == (len(OLD), hashlib.sha256(OLD).hexdigest())
    assert before <= datetime.fromisoformat(manifest.fetched_at) <= datetime.now(UTC)
    assert manifest.checked_at == manifest.fetched_at
    assert manifest.schema_era == "official-2014-01"


def test_one_request_is_enough_and_asks_for_the_bytes_as_they_are(publisher: Publisher, lake: Lake):
    fetch(publisher, lake)

    [asked] = publisher.asked
    assert (asked.method, asked.path) == ("GET", PATH)
    assert asked.headers["Accept-Encoding"] == "identity"
    assert not {"Range", "If-None-Match", "If-Modified-Since"} & set(asked.headers)


def test_csv_mirror_has_its_own_place(publisher: Publisher, lake: Lake):
    fetched = fetch(publisher, lake, source="csv_mirror")

    assert fetched.key == "raw/csv_mirror/green/green_tripdata_2021-01.csv.gz"
    assert raw(lake, fetched.key) == CSV
    assert not Path(lake.path(KEY)).exists()


def test_nothing_is_left_in_staging(publisher: Publisher, lake: Lake):
    fetch(publisher, lake)

    assert files_in(lake) == [KEY, f"{KEY}.manifest.json"]
    assert not any(Path(lake.root, ".staging").iterdir())


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_length_need_not_be_known(publisher: Publisher, lake: Lake, framing: str):
    publisher.framing = framing

    fetch(publisher, lake)

    assert raw(lake) == OLD


def test_redirect_is_followed_and_the_manifest_has_the_address_asked_for(publisher: Publisher, lake: Lake):
    publisher.files["/elsewhere"] = Published(NEW)
    publisher.faults = [Fault(status=302, headers={"Location": "/elsewhere"})]

    fetched = fetch(publisher, lake)

    assert raw(lake) == NEW
    assert fetched.manifest.url == publisher.url + PATH


def test_progress_is_logged_with_amount_and_share(
    publisher: Publisher, lake: Lake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(progress, "monotonic", count(step=60).__next__)

    with caplog.at_level("INFO"):
        fetch(publisher, lake)

    assert f"green_tripdata_2021-01.parquet: {len(OLD):,} of {len(OLD):,} bytes (100 %)" in caplog.text


# Cut and stalled downloads


@pytest.mark.parametrize("stalls", [False, True], ids=["cut", "stalled"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_interrupted_download_goes_on_where_it_stopped(publisher: Publisher, lake: Lake, framing: str, *, stalls: bool):
    publisher.framing = framing
    publisher.faults = [Fault(cut_at=CUT, stalls=stalls)]

    fetched = fetch(publisher, lake, timeout=STALLED)

    _, second = publisher.asked
    assert second.headers["Range"] == f"bytes={CUT}-"
    assert second.headers["If-Range"] == '"v1"'
    assert raw(lake) == OLD
    assert fetched.manifest.sha256 == hashlib.sha256(OLD).hexdigest()


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


# What may be put together from two answers


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
    assert (fetched.manifest.etag, fetched.manifest.last_modified) == (etag, None)


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
    assert (fetched.manifest.etag, fetched.manifest.last_modified) == (after.etag, after.last_modified)
    assert fetched.manifest.bytes == len(after.content)


def test_part_that_is_smaller_than_asked_for_is_followed_by_the_next(publisher: Publisher, lake: Lake):
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
def test_another_part_than_asked_for_is_not_appended(publisher: Publisher, lake: Lake, content_range: str):
    publisher.faults = [Fault(cut_at=CUT), Fault(headers={"Content-Range": content_range})]

    fetch(publisher, lake)

    assert len(publisher.asked) == 3
    assert raw(lake) == OLD


# Refusals


@pytest.mark.parametrize("no_head", [None, 405, 501])
def test_403_with_a_known_month_there_is_not_published(publisher: Publisher, lake: Lake, no_head: int | None):
    publisher.files = {KNOWN_PATH: Published(OLD)}
    publisher.missing, publisher.head = 403, no_head

    with pytest.raises(NotPublished, match=r"HTTP 403, and .*2019-03.parquet is there: the month is not published"):
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


@pytest.mark.parametrize(("headers", "wait"), [({"Retry-After": "120"}, "120"), ({}, "a while")])
def test_throttling_is_no_reason_to_ask_again_at_once(
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


@pytest.mark.parametrize("status", [400, 401, 206, 304])
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


# Damaged files

_HTML = b"<!DOCTYPE html>\n<html><body>Not Found</body></html>\n"
_BAD_FOOTER = b"PAR1" + b"\x99" * 50 + (50).to_bytes(4, "little") + b"PAR1"


class Damage(NamedTuple):
    """What a source serves, and a word of what is said of it."""

    name: str
    content: bytes
    word: str


damaged = pytest.mark.parametrize(
    "damage",
    [
        Damage("csv_mirror", CSV[:-100], "not a complete gz file"),
        Damage("csv_mirror", CSV[:-4], "not a complete gz file"),
        Damage("csv_mirror", CSV[:-8] + b"12345678", "not a complete gz file"),
        Damage("csv_mirror", CSV[:10] + b"\xff" * 8 + CSV[18:], "not a complete gz file"),
        Damage("csv_mirror", _HTML, "begin with b'<!DOCTYPE html>"),
        Damage("csv_mirror", b"", "the file is empty"),
        Damage("official", OLD[:-1], "not a complete parquet file"),
        Damage("official", OLD[: len(OLD) // 2], "not a complete parquet file"),
        Damage("official", _HTML, "begin with b'<!DOCTYPE html>"),
        Damage("official", _BAD_FOOTER, "not a complete parquet file"),
        Damage("official", b"", "the file is empty"),
    ],
    ids=[
        "cut gzip",
        "cut gzip trailer",
        "wrong checksum",
        "broken gzip",
        "html for gzip",
        "empty gzip",
        "cut parquet footer",
        "cut parquet",
        "html for parquet",
        "bad parquet footer",
        "empty parquet",
    ],
)


@damaged
def test_damaged_file_is_refused_when_it_comes_the_same_twice(publisher: Publisher, lake: Lake, damage: Damage):
    publisher.files[PATHS[damage.name]] = Published(damage.content)

    with pytest.raises(DamagedFile, match=damage.word) as refusal:
        fetch(publisher, lake, source=damage.name)

    assert PATHS[damage.name] in str(refusal.value)
    assert len(publisher.asked) == 2
    assert_lake_is_empty(lake)


@pytest.mark.parametrize(
    "page",
    [
        _HTML,
        b"\n" + _HTML,
        b'<?xml version="1.0", encoding="UTF-8"?>\n<Error/>\n',
        b'{"error": 1, "wait": 2}\n',
        b"\x1f\x8b,\n",
    ],
)
def test_page_in_place_of_csv_is_refused_and_does_not_stay(publisher: Publisher, lake: Lake, page: bytes):
    file = TripFile("green", Month(2013, 8))
    path = f"/{catalog.source('csv_archive').path_of(file)}".replace(" ", "%20")
    publisher.files[path] = Published(page)

    with pytest.raises(DamagedFile, match="not a complete csv file: its first line is not column names with commas"):
        download.fetch(file, lake, source="csv_archive", base_url=publisher.url, pause=0)

    assert_lake_is_empty(lake)


def test_garbled_answer_is_quoted_in_short(publisher: Publisher, lake: Lake, caplog: pytest.LogCaptureFixture):
    publisher.always = Fault(headers={"X" * 20_000: "\0" * 20_000})

    with pytest.raises(SourceUnavailable) as refusal:
        fetch(publisher, lake)

    assert len(str(refusal.value)) < 1_000
    assert len(caplog.text) < 10_000


@damaged
def test_file_that_was_damaged_on_its_way_is_fetched_again(
    publisher: Publisher, lake: Lake, damage: Damage, caplog: pytest.LogCaptureFixture
):
    path = PATHS[damage.name]
    right = publisher.files[path]
    publisher.files[path] = Published(damage.content)
    publisher.faults = [Fault(then=lambda: publisher.files.update({path: right}))]

    fetched = fetch(publisher, lake, source=damage.name)

    assert raw(lake, fetched.key) == right.content
    assert damage.word in caplog.text


@pytest.mark.parametrize(
    ("fault", "content", "error"),
    [
        (Fault(cut_at=10), NEW, SourceUnavailable),
        (Fault(status=500), NEW, SourceUnavailable),
        (Fault(status=404), NEW, NotPublished),
        (Fault(), NEW[:-1], DamagedFile),
    ],
    ids=["cut", "failing", "gone", "damaged"],
)
def test_failed_update_leaves_what_was_there(
    publisher: Publisher, lake: Lake, fault: Fault, content: bytes, error: type[Exception]
):
    held = fetch(publisher, lake).manifest
    publisher.files[PATH] = Published(content, '"v2"', LATER)
    publisher.always = fault

    with pytest.raises(error):
        fetch(publisher, lake, cache_ttl=NOW)

    assert raw(lake) == OLD
    assert lake.manifest(KEY) == held
    assert not any(Path(lake.root, ".staging").iterdir())


# What is there already


def test_young_raw_file_is_taken_without_a_request(publisher: Publisher, any_lake: Lake):
    first = fetch(publisher, any_lake)

    second = fetch(publisher, any_lake)

    assert second == replace(first, outcome="cached")
    assert len(publisher.asked) == 1


@pytest.mark.parametrize(
    ("etag", "last_modified", "condition"),
    [
        ('"v1"', LATER, {"If-None-Match": '"v1"'}),
        ('W/"v1"', None, {"If-None-Match": 'W/"v1"'}),
        (None, LATER, {"If-Modified-Since": LATER}),
    ],
)
def test_older_raw_file_is_revalidated(
    publisher: Publisher, any_lake: Lake, etag: str | None, last_modified: str | None, condition: dict[str, str]
):
    publisher.files[PATH] = Published(OLD, etag, last_modified)
    first = fetch(publisher, any_lake).manifest

    fetched = fetch(publisher, any_lake, cache_ttl=NOW)

    assert fetched.outcome == "unchanged"
    assert condition.items() <= publisher.asked[1].headers.items()
    assert fetched.manifest == replace(first, checked_at=fetched.manifest.checked_at)
    assert fetched.manifest.checked_at > first.checked_at
    assert any_lake.manifest(KEY) == fetched.manifest


def test_revalidated_file_is_young_again(publisher: Publisher, lake: Lake):
    manifest = fetch(publisher, lake).manifest
    lake.write_manifest(KEY, replace(manifest, checked_at="2021-03-01T00:00:00+00:00"))

    outcomes = [fetch(publisher, lake).outcome for _ in range(2)]

    assert outcomes == ["unchanged", "cached"]


def test_file_without_validators_is_downloaded_again(publisher: Publisher, lake: Lake):
    publisher.files[PATH] = Published(OLD, None, None)
    fetch(publisher, lake)

    assert fetch(publisher, lake, cache_ttl=NOW).outcome == "downloaded"


@pytest.mark.parametrize("after", [Published(NEW, '"v2"'), Published(NEW, None, LATER)])
def test_replaced_file_is_downloaded_again(publisher: Publisher, any_lake: Lake, after: Published):
    fetch(publisher, any_lake)
    publisher.files[PATH] = after

    fetched = fetch(publisher, any_lake, cache_ttl=NOW)

    assert fetched.outcome == "downloaded"
    assert raw(any_lake) == NEW
    assert fetched.manifest.etag == after.etag


def test_update_that_is_cut_goes_on_where_it_stopped(publisher: Publisher, lake: Lake):
    fetch(publisher, lake)
    publisher.files[PATH] = Published(NEW, '"v2"')
    publisher.faults = [Fault(cut_at=CUT)]

    fetch(publisher, lake, cache_ttl=NOW)

    assert publisher.asked[2].headers["Range"] == f"bytes={CUT}-"
    assert "If-None-Match" not in publisher.asked[2].headers
    assert raw(lake) == NEW


def test_force_downloads_whatever_is_there(publisher: Publisher, lake: Lake):
    fetch(publisher, lake)

    fetched = fetch(publisher, lake, force=True)

    assert fetched.outcome == "downloaded"
    assert not {"If-None-Match", "If-Modified-Since"} & set(publisher.asked[1].headers)


def test_raw_file_from_another_address_does_not_count(publisher: Publisher, lake: Lake):
    fetch(publisher, lake)
    publisher.files[f"/other{PATH}"] = Published(NEW)

    fetched = fetch(publisher, lake, base_url=f"{publisher.url}/other")

    assert fetched.outcome == "downloaded"
    assert raw(lake) == NEW


def _flip_a_byte(raw_file: Path) -> None:
    content = bytearray(raw_file.read_bytes())
    content[CUT] ^= 1
    raw_file.write_bytes(content)


@pytest.mark.parametrize(
    "harm",
    [
        _flip_a_byte,
        lambda raw_file: raw_file.write_bytes(OLD[:-1]),
        lambda raw_file: raw_file.write_bytes(NEW),
        lambda raw_file: raw_file.unlink(),
        lambda raw_file: Path(f"{raw_file}.manifest.json").unlink(),
        lambda raw_file: Path(f"{raw_file}.manifest.json").write_text("{"),
    ],
    ids=["byte flipped", "cut", "newer than its manifest", "raw lost", "manifest lost", "manifest unreadable"],
)
def test_raw_file_that_is_not_what_its_manifest_says_is_fetched_again(publisher: Publisher, lake: Lake, harm):
    fetch(publisher, lake)
    harm(Path(lake.path(KEY)))

    fetched = fetch(publisher, lake)

    assert fetched.outcome == "downloaded"
    assert "If-None-Match" not in publisher.asked[1].headers
    assert raw(lake) == OLD
    assert lake.manifest(KEY) == fetched.manifest


def test_two_fetches_of_one_file_at_once_both_end_whole(publisher: Publisher, lake: Lake):
    publisher.faults = [Fault(cut_at=CUT), Fault(cut_at=CUT)]
    both = Barrier(2)

    def together() -> Fetched:
        both.wait()
        return fetch(publisher, lake)

    with ThreadPoolExecutor(2) as threads:
        futures = [threads.submit(together) for _ in range(2)]
        fetched = [future.result() for future in futures]

    assert {each.manifest.sha256 for each in fetched} == {hashlib.sha256(OLD).hexdigest()}
    assert raw(lake) == OLD
    assert files_in(lake) == [KEY, f"{KEY}.manifest.json"]
    assert fetch(publisher, lake).outcome == "cached"


@pytest.mark.parametrize(
    ("error", "worth_another_try"),
    [(SourceUnavailable, True), (SourceThrottled, True), (NotPublished, False), (DamagedFile, False)],
)
def test_errors_say_whether_another_try_is_worth_it(error: type[Exception], *, worth_another_try: bool):
    assert issubclass(error, TransientError if worth_another_try else PermanentError)
