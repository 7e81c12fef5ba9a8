"""A republished file adds an edition; a download that was held up never makes an older one current."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from devtools.servers.misbehaving import Fault, Published, Publisher
from include.nyc_taxi import editions
from include.nyc_taxi.errors import LakeChanged, NotPublished, ShrunkenEdition
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
    whole,
)

FIRST = "Mon, 01 Mar 2021 10:00:00 GMT"
NEWEST = whole(4)


def publish(publisher: Publisher, content: bytes, etag: str | None = None, last_modified: str | None = None) -> None:
    publisher.files[PATH] = Published(content, etag, last_modified)


def numbers(lake: Lake) -> list[tuple[int, str]]:
    """The number and digest of each edition that is known."""
    return [(edition.number, edition.sha256) for edition in known(lake).editions]


def test_every_edition_is_kept_under_its_own_key(publisher: Publisher, any_lake: Lake):
    for number, content in enumerate((OLD, NEW, NEWEST)):
        publish(publisher, content, f'"{number}"')
        fetched = fetch(publisher, any_lake, cache_ttl=NOW)
        assert (fetched.key, fetched.outcome) == (key_of(content), "downloaded")

    assert [any_lake.read(key_of(content)) for content in (OLD, NEW, NEWEST)] == [OLD, NEW, NEWEST]
    assert numbers(any_lake) == [(1, sha256(OLD)), (2, sha256(NEW)), (3, sha256(NEWEST))]
    assert known(any_lake).current == fetched.edition


def test_same_bytes_with_other_validators_are_the_same_edition(publisher: Publisher, lake: Lake):
    first = fetch(publisher, lake).edition
    publish(publisher, OLD, '"v2"', LATER)

    again = fetch(publisher, lake, cache_ttl=NOW).edition

    assert again == replace(first, etag='"v2"', last_modified=LATER, last_seen=again.last_seen)
    assert known(lake).editions == (again,)


def test_bytes_that_come_back_are_a_new_state_of_the_file(publisher: Publisher, lake: Lake):
    for content in (OLD, NEW, OLD):
        publish(publisher, content)
        fetched = fetch(publisher, lake, cache_ttl=NOW)

    assert numbers(lake) == [(1, sha256(OLD)), (2, sha256(NEW)), (3, sha256(OLD))]
    assert known(lake).current == fetched.edition
    assert raw(lake) == OLD


def test_publisher_that_offers_by_its_own_date_what_it_had_before_changes_nothing(publisher: Publisher, lake: Lake):
    publish(publisher, OLD, '"1"', FIRST)
    fetch(publisher, lake)
    publish(publisher, NEW, '"2"', LATER)
    fetch(publisher, lake, cache_ttl=NOW)

    publish(publisher, OLD, '"1"', FIRST)
    fetched = [fetch(publisher, lake, cache_ttl=NOW) for _ in range(3)]

    assert {each.edition.sha256 for each in fetched} == {sha256(NEW)}
    assert numbers(lake) == [(1, sha256(OLD)), (2, sha256(NEW))]


# Held up


def in_mid_download(publisher: Publisher, meanwhile: Callable[[], object]) -> None:
    """Let something happen when the next answer is half sent."""
    publisher.faults = [Fault(cut_at=CUT, meanwhile=meanwhile)]


def test_download_that_ends_after_a_newer_one_is_kept_and_not_current(publisher: Publisher, any_lake: Lake):
    publish(publisher, OLD, '"1"', FIRST)

    def bring_a_newer_one() -> None:
        publish(publisher, NEW, '"2"', LATER)
        assert fetch(publisher, any_lake).outcome == "downloaded"

    in_mid_download(publisher, bring_a_newer_one)

    fetched = fetch(publisher, any_lake, timeout=60)

    assert fetched.edition.sha256 == known(any_lake).current.sha256 == sha256(NEW)
    assert fetched.key == key_of(NEW)
    assert numbers(any_lake) == [(1, sha256(NEW)), (2, sha256(OLD))]
    assert any_lake.read(key_of(OLD)) == OLD
    assert fetch(publisher, any_lake).outcome == "cached"


@pytest.mark.parametrize("etag", [None, '"1"'])
def test_download_of_which_nothing_tells_the_date_is_made_again_if_another_run_was_faster(
    publisher: Publisher, any_lake: Lake, etag: str | None
):
    publish(publisher, OLD, etag)

    def bring_a_newer_one() -> None:
        publish(publisher, NEW, etag and '"2"')
        fetch(publisher, any_lake)

    in_mid_download(publisher, bring_a_newer_one)

    with pytest.raises(LakeChanged, match=r"another run has brought edition .* since this one asked the publisher"):
        fetch(publisher, any_lake, timeout=60)
    assert numbers(any_lake) == [(1, sha256(NEW))]
    assert fetch(publisher, any_lake, cache_ttl=NOW).edition.sha256 == sha256(NEW)


def test_held_up_confirmation_does_not_make_an_old_edition_fresh(publisher: Publisher, lake: Lake):
    publish(publisher, OLD, '"1"')
    fetch(publisher, lake)
    old, asked_at = known(lake).current, datetime.now(UTC)
    publish(publisher, NEW, '"2"')
    fetch(publisher, lake, cache_ttl=NOW)
    before = known(lake)

    after = editions.confirm(lake, KEY, old, asked_at)

    assert (after.current, after.checked_at) == (before.current, before.checked_at)


def test_edition_that_is_seen_by_many_runs_at_once_is_one(publisher: Publisher, any_lake: Lake):
    with ThreadPoolExecutor(3) as threads:
        fetched = list(threads.map(lambda _: fetch(publisher, any_lake, force=True, timeout=60), range(3)))

    assert {each.edition.sha256 for each in fetched} == {sha256(OLD)}
    assert numbers(any_lake) == [(1, sha256(OLD))]


# By name


@pytest.mark.parametrize("spelled", [slice(None), slice(8), slice(12)])
def test_edition_that_is_named_is_used_without_a_request(publisher: Publisher, any_lake: Lake, spelled: slice):
    for content in (OLD, NEW):
        publish(publisher, content)
        fetch(publisher, any_lake, cache_ttl=NOW)
    publisher.asked.clear()

    fetched = fetch(publisher, any_lake, edition=sha256(OLD)[spelled])

    assert (fetched.key, fetched.outcome) == (key_of(OLD), "cached")
    assert publisher.asked == []
    assert known(any_lake).current.sha256 == sha256(NEW)


def test_edition_of_a_date_is_the_one_that_was_current_then(publisher: Publisher, lake: Lake):
    fetch(publisher, lake)
    today = datetime.now(UTC).date()

    assert fetch(publisher, lake, edition=str(today)).edition.sha256 == sha256(OLD)
    with pytest.raises(NotPublished, match=rf"edition of {today - timedelta(1)}: none was seen by then; known are \["):
        fetch(publisher, lake, edition=str(today - timedelta(1)))


def test_edition_that_is_not_known_is_asked_for_once_and_is_an_error_that_lists_the_known(
    publisher: Publisher, lake: Lake
):
    fetch(publisher, lake)

    with pytest.raises(NotPublished, match=rf"edition '{'0' * 8}' is not known; known are \['{sha256(OLD)[:8]} of 20"):
        fetch(publisher, lake, edition="0" * 8)
    assert len(publisher.gets()) == 2


def test_edition_that_is_published_now_can_be_named_before_it_is_known(publisher: Publisher, lake: Lake):
    assert fetch(publisher, lake, edition=sha256(OLD)[:8]).outcome == "downloaded"


def test_edition_whose_bytes_were_pruned_says_so_unless_the_publisher_has_them(publisher: Publisher, any_lake: Lake):
    for content in (OLD, NEW):
        publish(publisher, content)
        fetch(publisher, any_lake, cache_ttl=NOW)
    editions.prune(any_lake, KEY, 1)

    with pytest.raises(NotPublished, match="are no longer kept, and the publisher has others"):
        fetch(publisher, any_lake, edition=sha256(OLD))
    publish(publisher, OLD)
    assert fetch(publisher, any_lake, edition=sha256(OLD)).key == key_of(OLD)
    assert raw(any_lake) == OLD


def test_edition_that_is_held_back_is_an_error_until_somebody_names_it(publisher: Publisher, lake: Lake):
    for content in (OLD, NEW):
        publish(publisher, content, f'"{sha256(content)}"')
        fetch(publisher, lake, cache_ttl=NOW)
    editions.describe(lake, KEY, sha256(OLD), rows=100)
    editions.describe(lake, KEY, sha256(NEW), rows=10, is_held_back=True)
    word = f"edition {sha256(NEW)[:8]} has 10 rows, 90% fewer than the 100 of edition {sha256(OLD)[:8]}: not loaded"

    for cache_ttl in (NOW, timedelta(1)):
        with pytest.raises(ShrunkenEdition, match=word):
            fetch(publisher, lake, cache_ttl=cache_ttl)
    assert known(lake).current.sha256 == sha256(OLD)

    assert fetch(publisher, lake, edition=sha256(NEW)[:8]).key == key_of(NEW)
    assert fetch(publisher, lake).edition.sha256 == known(lake).current.sha256 == sha256(NEW)


def test_edition_that_is_held_back_is_no_error_once_the_publisher_has_taken_it_back(publisher: Publisher, lake: Lake):
    for content, last_modified in ((OLD, FIRST), (NEW, LATER)):
        publish(publisher, content, f'"{sha256(content)}"', last_modified)
        fetch(publisher, lake, cache_ttl=NOW)
    editions.describe(lake, KEY, sha256(NEW), rows=10, is_held_back=True)
    publish(publisher, OLD, f'"{sha256(OLD)}"', FIRST)  # as it was, with its old Last-Modified

    fetched = fetch(publisher, lake, cache_ttl=NOW)

    assert (fetched.key, fetched.edition) == (key_of(OLD), known(lake).current)
    publish(publisher, NEW, f'"{sha256(NEW)}"', LATER)
    with pytest.raises(ShrunkenEdition):
        fetch(publisher, lake, cache_ttl=NOW)


# Damage, clocks, and odd answers


@pytest.mark.parametrize("harm", [OLD[:-1], NEW, b""], ids=["cut", "other bytes of the same size", "empty"])
def test_damaged_raw_bytes_are_set_aside_and_downloaded_again_without_force(
    publisher: Publisher, any_lake: Lake, harm: bytes, caplog: pytest.LogCaptureFixture
):
    first = fetch(publisher, any_lake)
    if not harm and any_lake.url("").startswith("s3://"):
        pytest.skip("in S3, an object without bytes counts as deleted")
    with any_lake.staged(first.key) as path:
        path.write_bytes(harm)

    fetched = fetch(publisher, any_lake)

    assert fetched.outcome == "downloaded"
    assert raw(any_lake) == OLD
    assert any_lake.read(f".damaged/{first.key}") == harm
    assert f"{first.key}: edition {first.edition.id} is damaged, moved to " in caplog.text
    assert fetch(publisher, any_lake).outcome == "cached"


def test_force_over_damaged_raw_bytes_brings_them_anew(publisher: Publisher, any_lake: Lake):
    first = fetch(publisher, any_lake)
    with any_lake.staged(first.key) as path:
        path.write_bytes(NEW)

    fetch(publisher, any_lake, force=True)

    assert raw(any_lake) == OLD
    assert fetch(publisher, any_lake).outcome == "cached"


def test_damaged_bytes_of_an_older_edition_do_not_disturb_the_current_one(publisher: Publisher, lake: Lake):
    for content in (OLD, NEW):
        publish(publisher, content)
        fetch(publisher, lake, cache_ttl=NOW)
    with lake.staged(key_of(OLD)) as path:
        path.write_bytes(OLD[:-1])

    assert fetch(publisher, lake).edition.sha256 == sha256(NEW)
    with pytest.raises(NotPublished, match="no longer kept"):
        fetch(publisher, lake, edition=sha256(OLD))
    assert raw(lake) == NEW


def test_check_in_the_future_does_not_silence_a_request(publisher: Publisher, lake: Lake):
    fetch(publisher, lake)
    checked_at(lake, datetime.now(UTC) + timedelta(days=400))

    assert fetch(publisher, lake).outcome == "unchanged"
    assert datetime.fromisoformat(known(lake).checked_at) <= datetime.now(UTC)
    assert fetch(publisher, lake).outcome == "cached"


@pytest.mark.parametrize("etag", ['"\xe9\xff"', '"Ünïcödé"', "no quotes", '"a b,c"', 'W/"\x80"'])
def test_etag_may_hold_any_bytes(publisher: Publisher, any_lake: Lake, etag: str):
    publish(publisher, OLD, etag)

    fetched = fetch(publisher, any_lake)

    assert fetched.edition.etag == etag
    assert fetch(publisher, any_lake, cache_ttl=NOW).outcome == "unchanged"
    assert publisher.asked[1].headers["If-None-Match"] == etag
    publish(publisher, NEW, '"2"')
    assert fetch(publisher, any_lake, cache_ttl=NOW).outcome == "downloaded"


@pytest.mark.parametrize("last_modified", ["yesterday", "\xff\xfe", "\xe2\x82\xac", "Mon, 01 Jan 99999 00:00:00 GMT"])
def test_last_modified_that_is_no_date_orders_nothing(publisher: Publisher, lake: Lake, last_modified: str):
    publish(publisher, OLD, None, LATER)
    fetch(publisher, lake)
    publish(publisher, NEW, None, last_modified)

    fetch(publisher, lake, cache_ttl=NOW)

    assert raw(lake) == NEW
    assert fetch(publisher, lake, cache_ttl=NOW).edition.sha256 == sha256(NEW)
