"""A file that arrives damaged is downloaded again; a file that is published damaged is refused."""

import gzip
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from devtools.servers.misbehaving import Fault, Published, Publisher
from include.nyc_taxi import Month, TripFile, catalog, download
from include.nyc_taxi.errors import (
    DamagedFile,
    NotPublished,
    SourceUnavailable,
)
from include.nyc_taxi.lake import Lake
from tests.nyc_taxi.download.served import (
    CSV,
    LATER,
    NEW,
    NOW,
    OLD,
    PATH,
    PATHS,
    assert_lake_is_empty,
    fetch,
    known,
    raw,
)

_HTML = b"<!DOCTYPE html>\n<html><body>Not Found</body></html>\n"
_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 12345\n"
_BAD_FOOTER = b"PAR1" + b"\x99" * 50 + (50).to_bytes(4, "little") + b"PAR1"


class Damage(NamedTuple):
    """What a source serves, and a part of the error."""

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
        Damage("csv_mirror", _HTML, "it is an HTML page"),
        Damage("csv_mirror", b"token=secret", "it is text"),
        Damage("csv_mirror", b"", "the file is empty"),
        Damage("csv_mirror", gzip.compress(CSV), "it is compressed by gzip twice"),
        Damage("csv_mirror", gzip.compress(_HTML), "it is compressed by gzip, an HTML page"),
        Damage("csv_mirror", _POINTER, "it is a Git LFS pointer"),
        Damage("official", _POINTER, "it is a Git LFS pointer"),
        Damage("official", gzip.compress(OLD), "it is a file compressed by gzip"),
        Damage("official", OLD[:-1], "not a complete parquet file"),
        Damage("official", OLD[: len(OLD) // 2], "not a complete parquet file"),
        Damage("official", _HTML, "it is an HTML page"),
        Damage("official", _BAD_FOOTER, "not a complete parquet file"),
        Damage("official", b"", "the file is empty"),
    ],
    ids=[
        "cut gzip",
        "cut gzip trailer",
        "wrong checksum",
        "broken gzip",
        "html for gzip",
        "text for gzip",
        "empty gzip",
        "gzip twice",
        "html in gzip",
        "pointer for gzip",
        "pointer for parquet",
        "gzip for parquet",
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
    assert not re.search("DOCTYPE|tok|b'", str(refusal.value)), "an error quotes nothing of an internal answer"
    assert len(publisher.asked) == 2
    assert_lake_is_empty(lake)


@pytest.mark.parametrize(
    ("page", "word"),
    [
        (_HTML, "an HTML page"),
        (b"\n" + _HTML, "an HTML page"),
        (b'<?xml version="1.0", encoding="UTF-8"?>\n<Error/>\n', "an XML error page"),
        (b"<Error><Code>AccessDenied</Code></Error>", "an XML error page"),
        (b'{"error": 1, "wait": 2}\n', "a JSON answer"),
        (b"\x1f\x8b,\n", "a file compressed by gzip"),
        (_POINTER, "a Git LFS pointer"),
        (OLD, "a Parquet file"),
    ],
    ids=["html", "html after a blank line", "xml", "xml without a declaration", "json", "gzip", "lfs", "parquet"],
)
def test_page_in_place_of_csv_is_named_and_does_not_stay(publisher: Publisher, lake: Lake, page: bytes, word: str):
    file = TripFile("green", Month(2013, 8))
    path = f"/{catalog.source('csv_archive').path_of(file)}".replace(" ", "%20")
    publisher.files[path] = Published(page)

    with pytest.raises(DamagedFile, match=f"not a complete csv file: it is {word}"):
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

    assert lake.read(fetched.key) == right.content
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
    fetch(publisher, lake)
    held = known(lake)
    publisher.files[PATH] = Published(content, '"v2"', LATER)
    publisher.always = fault

    with pytest.raises(error):
        fetch(publisher, lake, cache_ttl=NOW)

    assert raw(lake) == OLD
    assert known(lake) == held
    assert not any(Path(lake.root, ".staging").iterdir())
