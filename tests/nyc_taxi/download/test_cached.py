"""A cached edition is used while it is fresh, revalidated later, and downloaded again if its bytes are not its own."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier

import pytest

from devtools.servers.misbehaving import Fault, Published, Publisher
from include.nyc_taxi.download import Fetched
from include.nyc_taxi.editions import History
from include.nyc_taxi.errors import (
    DamagedFile,
    NotPublished,
    PermanentError,
    SourceThrottled,
    SourceUnavailable,
    TransientError,
)
from include.nyc_taxi.lake import Lake
from tests.nyc_taxi.download.served import (
    CUT,
    KEY,
    LATER,
    NEW,
    NOW,
    OLD,
    PATH,
    checked_at,
    fetch,
    key_of,
    known,
    raw,
    sha256,
)
from tests.nyc_taxi.trips import files_in


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
    first = fetch(publisher, any_lake).edition

    fetched = fetch(publisher, any_lake, cache_ttl=NOW)

    assert fetched.outcome == "unchanged"
    assert condition.items() <= publisher.asked[1].headers.items()
    assert fetched.edition == replace(first, last_seen=fetched.edition.last_seen)
    assert fetched.edition.last_seen > first.last_seen
    assert known(any_lake) == History((fetched.edition,), checked_at=fetched.edition.last_seen)


def test_revalidated_file_is_young_again(publisher: Publisher, lake: Lake):
    fetch(publisher, lake)
    checked_at(lake, datetime(2021, 3, 1, tzinfo=UTC))

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
    assert fetched.edition.etag == after.etag
    assert any_lake.read(key_of(OLD)) == OLD


def test_update_that_is_cut_is_resumed_where_it_stopped(publisher: Publisher, lake: Lake):
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
        lambda raw_file, _: _flip_a_byte(raw_file),
        lambda raw_file, _: raw_file.write_bytes(OLD[:-1]),
        lambda raw_file, _: raw_file.write_bytes(NEW),
        lambda raw_file, _: raw_file.unlink(),
        lambda _, history: history.unlink(),
        lambda _, history: history.write_text("{"),
    ],
    ids=["byte flipped", "cut", "bytes of another edition", "raw lost", "history lost", "history unreadable"],
)
def test_raw_file_that_is_not_what_its_history_describes_is_downloaded_again(publisher: Publisher, lake: Lake, harm):
    fetch(publisher, lake)
    harm(Path(lake.path(key_of(OLD))), Path(lake.path(f"{KEY}.editions.json")))

    fetched = fetch(publisher, lake)

    assert fetched.outcome == "downloaded"
    assert "If-None-Match" not in publisher.asked[1].headers
    assert raw(lake) == OLD
    assert known(lake).editions == (fetched.edition,)
    assert fetched.edition.is_kept


def test_two_fetches_of_one_file_at_once_both_end_whole(publisher: Publisher, lake: Lake):
    publisher.faults = [Fault(cut_at=CUT), Fault(cut_at=CUT)]
    both = Barrier(2)

    def together() -> Fetched:
        both.wait()
        return fetch(publisher, lake)

    with ThreadPoolExecutor(2) as threads:
        futures = [threads.submit(together) for _ in range(2)]
        fetched = [future.result() for future in futures]

    assert {each.edition.sha256 for each in fetched} == {sha256(OLD)}
    assert raw(lake) == OLD
    assert files_in(lake) == [key_of(OLD), f"{KEY}.editions.json"]
    assert len(known(lake).editions) == 1
    assert fetch(publisher, lake).outcome == "cached"


@pytest.mark.parametrize(
    ("error", "worth_another_try"),
    [(SourceUnavailable, True), (SourceThrottled, True), (NotPublished, False), (DamagedFile, False)],
)
def test_errors_say_whether_another_try_is_worth_it(error: type[Exception], *, worth_another_try: bool):
    assert issubclass(error, TransientError if worth_another_try else PermanentError)
