"""What is known of a file's editions: their order, their names, what is pruned, and lakes of an earlier version."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import permutations

import psycopg
import pytest
from pyarrow import parquet

from devtools.servers.misbehaving import Published, Publisher
from include.nyc_taxi import download, editions, landing
from include.nyc_taxi.editions import Edition, History, Seen
from include.nyc_taxi.errors import DamagedFile, LakeChanged, NotPublished
from include.nyc_taxi.lake import Lake, data_key, edition_key, history_key, raw_key, rejects_key
from include.nyc_taxi.reading import arrow_schema
from include.nyc_taxi.targets.postgres import Postgres
from tests.nyc_taxi.trips import FILE, TRIP, csv_gz, files_in, put_raw, trip

KEY = raw_key(FILE, "csv_mirror")
URL = f"http://publisher/{KEY}"
START = datetime(2024, 1, 1, 9, tzinfo=UTC)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def day(number: int) -> datetime:
    return START + timedelta(number)


def http_date(number: int | None) -> str | None:
    return None if number is None else format_datetime(day(number), usegmt=True)


def see(
    lake: Lake, content: bytes, on: int = 1, *, published: int | None = None, after: int = 99, url: str = URL
) -> Edition:
    """Keep a state of the file as a download does that asked on that day."""
    with lake.scratch(KEY) as path:
        path.write_bytes(content)
        seen = Seen(
            sha256=sha256(content),
            source="csv_mirror",
            url=url,
            etag=None,
            last_modified=http_date(published),
            bytes=len(content),
            at=day(on),
            after=after,
        )
        return editions.add(lake, KEY, path, seen)


def known(lake: Lake) -> History:
    return editions.history(lake, KEY)


# History


def test_nothing_is_known_of_a_file_that_was_never_seen(any_lake: Lake):
    assert known(any_lake) == History()
    assert (History().newest, History().current, History().checked_at) == (None, None, None)


def test_history_is_kept_beside_the_bytes_for_people_to_read(any_lake: Lake):
    see(any_lake, b"one", 1, published=0)
    second = see(any_lake, b"two", 2, published=1)

    told = json.loads(any_lake.read(f"{KEY}.editions.json"))

    assert told["current"] == sha256(b"two")
    assert told["checked_at"] == day(2).isoformat()
    assert told["editions"][1] == asdict(second)
    assert [edition["key"] for edition in told["editions"]] == [edition_key(KEY, sha256(b)) for b in (b"one", b"two")]
    assert known(any_lake).editions[1] == second


def test_editions_are_in_order_by_last_modified_whenever_they_were_seen(lake: Lake):
    for number, order in enumerate(permutations([1, 2, 3])):
        other = Lake.at(f"{lake.root}/{number}")
        for on, published in enumerate(order):
            see(other, b"%d" % published, on, published=published, after=0)

        assert known(other).current.sha256 == sha256(b"3")
        assert known(other).before(known(other).current).sha256 == sha256(b"2")
        assert known(other).before(known(other).by_sha256(sha256(b"1"))) is None


def test_editions_without_a_date_are_in_order_of_first_sight(lake: Lake):
    for content in (b"b", b"c", b"a"):
        see(lake, content)

    assert known(lake).current.sha256 == sha256(b"a")
    assert known(lake).before(known(lake).current).sha256 == sha256(b"c")


def test_dates_of_another_server_order_nothing(lake: Lake):
    see(lake, b"one", published=9)

    moved = see(lake, b"two", published=1, url="http://mirror/file")

    assert known(lake).current == moved


def test_state_that_was_asked_for_before_another_run_brought_one_is_refused_without_a_date(any_lake: Lake):
    see(any_lake, b"one", after=0)

    with pytest.raises(LakeChanged, match="another run has brought edition"):
        see(any_lake, b"zero", after=0)

    assert [edition.sha256 for edition in known(any_lake).editions] == [sha256(b"one")]


def test_same_bytes_are_the_same_edition_with_what_was_told_last(lake: Lake):
    first = see(lake, b"one", 1, published=0)

    again = see(lake, b"one", 3, published=2)
    late = see(lake, b"one", 2, published=1)

    assert again == replace(first, last_modified=http_date(2), last_seen=day(3).isoformat())
    assert late == again
    assert known(lake).editions == (again,)


def test_facts_are_added_to_what_is_known(any_lake: Lake):
    one, two = see(any_lake, b"one"), see(any_lake, b"two")

    editions.describe(any_lake, KEY, one.sha256, rows=10, rejected={"no_passengers": 1})
    editions.describe(any_lake, KEY, sha256(b"never seen"), rows=5)

    assert known(any_lake).editions == (replace(one, rows=10, rejected={"no_passengers": 1}), two)


def test_edition_that_is_held_back_is_the_newest_and_not_current(lake: Lake):
    one, two = see(lake, b"one"), see(lake, b"two")

    editions.describe(lake, KEY, two.sha256, is_held_back=True)

    assert (known(lake).newest.sha256, known(lake).current) == (two.sha256, one)
    three = see(lake, b"three")
    assert (known(lake).current, known(lake).before(three)) == (three, one)


# Names


def test_edition_is_named_by_its_digest_by_some_digits_or_by_a_date(lake: Lake):
    one, two = see(lake, b"one", 1), see(lake, b"two", 3)

    for name in (one.sha256, one.id, one.sha256[:20], "2024-01-02", "2024-01-03"):
        assert known(lake).named(name) == one
    for name in (two.id, "2024-01-04", "2031-12-31"):
        assert known(lake).named(name) == two
    assert len(one.id) == 8


def test_date_names_what_was_current_then_and_not_what_was_held_back(lake: Lake):
    one, back = see(lake, b"one", 1), see(lake, b"two", 3)
    editions.describe(lake, KEY, back.sha256, is_held_back=True)
    see(lake, b"three", 5)

    assert known(lake).named("2024-01-05") == one


def test_date_of_bytes_that_came_back_names_them(lake: Lake):
    for on, content in ((1, b"one"), (3, b"two"), (5, b"one")):
        see(lake, content, on)

    named = {on: known(lake).named(f"2024-01-0{on + 1}") for on in (1, 3, 5)}

    assert {on: (each.number, each.sha256) for on, each in named.items()} == {
        1: (1, sha256(b"one")),
        3: (2, sha256(b"two")),
        5: (3, sha256(b"one")),
    }
    assert known(lake).named(sha256(b"one")).number == 3


@pytest.mark.parametrize("name", ["", "abc", "ABCDEF01", "0123456", "g" * 8, "2024-1-1", "20240101x", "../x", "f" * 65])
def test_name_that_can_be_none_is_refused(lake: Lake, name: str):
    see(lake, b"one")

    with pytest.raises(ValueError, match=r"is not a sha256, its first 8 digits or more, or a date YYYY-MM-DD"):
        known(lake).named(name)


def test_date_that_is_none_is_refused(lake: Lake):
    see(lake, b"one")

    with pytest.raises(ValueError, match="month must be in"):
        known(lake).named("2024-13-01")


def test_name_that_fits_several_editions_is_refused_with_all_of_them():
    made = History(
        tuple(
            Edition(number, f"abcdef01{number}{'0' * 55}", KEY, "csv_mirror", URL, None, None, 1, "", "")
            for number in (1, 2)
        )
    )

    with pytest.raises(ValueError, match=r"fits several editions: \['abcdef011.*', 'abcdef012.*'\]; give more digits"):
        made.named("abcdef01")
    assert made.named("abcdef012").number == 2


@pytest.mark.parametrize(("name", "word"), [("0" * 8, "edition '00000000' is not known"), ("2023-12-31", "none was")])
def test_name_of_no_edition_is_an_error_that_lists_the_known(lake: Lake, name: str, word: str):
    edition = see(lake, b"one", 0)

    with pytest.raises(NotPublished, match=rf"{word}.*known are \['{edition.id} of 2024-01-01'\]"):
        known(lake).named(name)


# Pruning


def kept(lake: Lake) -> set[bytes]:
    """The bytes in raw/, which the history must know of."""
    there = {lake.read(key) for key in lake.listed("raw") if not key.endswith(".json")}
    assert there == {lake.read(edition.key) for edition in known(lake).editions if edition.is_kept}
    return there


@pytest.mark.parametrize("keep", [1, 2, 3, 4])
def test_pruning_keeps_the_bytes_of_the_newest_and_says_what_it_frees(any_lake: Lake, keep: int):
    contents = [b"one", b"two", b"three"]
    seen = [see(any_lake, content) for content in contents]
    before = known(any_lake)

    assert editions.prune(any_lake, KEY, keep, dry_run=True) == seen[::-1][keep:]
    assert known(any_lake) == before
    assert kept(any_lake) == set(contents)

    assert editions.prune(any_lake, KEY, keep) == seen[::-1][keep:]
    assert kept(any_lake) == set(contents[-keep:])
    assert [replace(edition, is_kept=True) for edition in known(any_lake).editions] == seen
    assert editions.prune(any_lake, KEY, keep) == []


def test_pruning_never_frees_the_current_edition(lake: Lake):
    one, two, three = (see(lake, content) for content in (b"one", b"two", b"three"))
    for edition in (two, three):
        editions.describe(lake, KEY, edition.sha256, is_held_back=True)

    freed = editions.prune(lake, KEY, 1)

    assert [edition.sha256 for edition in freed] == [two.sha256]
    assert known(lake).current == one
    assert kept(lake) == {b"one", b"three"}


def test_bytes_of_two_states_are_freed_together_and_kept_while_one_is_current(lake: Lake):
    for content in (b"one", b"two", b"one"):
        see(lake, content)

    assert [edition.sha256 for edition in editions.prune(lake, KEY, 1)] == [sha256(b"two")]
    assert kept(lake) == {b"one"}
    see(lake, b"three")
    assert [edition.number for edition in editions.prune(lake, KEY, 1)] == [3]
    assert kept(lake) == {b"three"}
    assert editions.prune(lake, KEY, 1) == []


def test_pruned_bytes_that_are_seen_again_are_kept_again(lake: Lake):
    for content in (b"one", b"two"):
        see(lake, content)
    editions.prune(lake, KEY, 1)

    see(lake, b"one")

    assert kept(lake) == {b"one", b"two"}
    assert known(lake).current.sha256 == sha256(b"one")


def test_bytes_that_become_current_while_they_are_pruned_stay(lake: Lake):
    see(lake, b"one")
    see(lake, b"two")

    class Slow(Lake):
        def stamp(self, key: str) -> object:
            if key == edition_key(KEY, sha256(b"one")):
                see(Lake.at(self.root), b"one")
            return super().stamp(key)

    assert editions.prune(Slow(None, lake.root), KEY, 1) == []
    assert known(lake).current.sha256 == sha256(b"one")
    assert kept(lake) == {b"one", b"two"}


@pytest.mark.parametrize("keep", [0, -1])
def test_pruning_everything_is_refused(lake: Lake, keep: int):
    see(lake, b"one")

    with pytest.raises(ValueError, match=f"keep={keep} editions: expected 1 or more"):
        editions.prune(lake, KEY, keep)


# What cannot be read


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"editions": []}',
        b'{"editions": [{"number": 1}], "checked_at": null}',
        b'{"editions": [{"other": 1}], "checked_at": null}',
        b'{"editions": 1, "checked_at": null}',
        b'{"editions": ["one"], "checked_at": null}',
    ],
)
def test_history_that_cannot_be_read_counts_as_none_and_no_bytes_are_lost(lake: Lake, text: bytes):
    see(lake, b"one")
    see(lake, b"two")
    with lake.staged(history_key(KEY)) as path:
        path.write_bytes(text)

    assert known(lake) == History()
    three = see(lake, b"three")
    again = see(lake, b"two")

    assert known(lake).editions == (three, again)
    there = {lake.read(key) for key in lake.listed("raw") if not key.endswith(".json")}
    assert there == {b"one", b"two", b"three"}


def test_month_lands_again_after_its_history_was_lost(lake: Lake):
    put_raw(lake, csv_gz([TRIP]))
    first = landing.land(FILE, lake, source="csv_mirror")
    lake.delete(history_key(KEY))

    put_raw(lake, csv_gz([TRIP]))

    assert landing.land(FILE, lake, source="csv_mirror") == first


# A lake of an earlier version

MANIFEST = {
    "source": "csv_mirror",
    "url": URL,
    "etag": '"v1"',
    "last_modified": "Mon, 01 Mar 2021 10:00:00 GMT",
    "fetched_at": "2021-03-01T12:00:00+00:00",
    "checked_at": "2021-03-02T12:00:00+00:00",
    "schema_era": "csv_mirror-2019-01",
}
ROWS = [TRIP, trip(passenger_count=0), trip(passenger_count=None), trip(trip_distance=259_777.5)]


def put(lake: Lake, key: str, content: bytes) -> None:
    with lake.staged(key) as path:
        path.write_bytes(content)


def write_as_before(lake: Lake, content: bytes, **other: object) -> None:
    """Have a raw file and its manifest in the lake as the version before editions wrote them."""
    put(lake, KEY, content)
    manifest = MANIFEST | {"bytes": len(content), "sha256": sha256(content)} | other
    put(lake, f"{KEY}.manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())


def age(lake: Lake) -> None:
    """Describe the landed month as the version before editions did, and drop what it did not have."""
    new = ("unknown_columns", "source_last_modified", "edition_number", "asked_at", "asked_for")
    for key in (data_key(FILE), rejects_key(FILE)):
        with lake.local(key) as path:
            table = parquet.read_table(path)
            told = json.loads(parquet.read_metadata(path).metadata[b"nyc_taxi"])
        told = {name: value for name, value in told.items() if name not in new}
        with lake.staged(key) as path:
            parquet.write_table(table.replace_schema_metadata({"nyc_taxi": json.dumps(told)}), path)


def test_lake_of_an_earlier_version_is_taken_over_without_a_download(any_lake: Lake):
    write_as_before(any_lake, csv_gz(ROWS))
    before = sorted(any_lake.listed("raw"))

    [first] = known(any_lake).editions

    assert (first.number, first.key, first.sha256) == (1, KEY, sha256(csv_gz(ROWS)))
    assert (first.etag, first.last_modified, first.url) == ('"v1"', MANIFEST["last_modified"], URL)
    assert (first.first_seen, first.last_seen) == (MANIFEST["fetched_at"], MANIFEST["checked_at"])
    assert (known(any_lake).current, known(any_lake).checked_at) == (first, MANIFEST["checked_at"])
    assert sorted(any_lake.listed("raw")) == before
    assert known(any_lake).named("2021-03-01") == first


def test_file_of_an_earlier_version_lands_and_is_followed_by_new_editions(any_lake: Lake):
    write_as_before(any_lake, csv_gz(ROWS))

    landed = landing.land(FILE, any_lake, source="csv_mirror")
    second = see(any_lake, csv_gz([TRIP, *ROWS]), after=1)

    assert (landed.rows_read, landed.source_sha256) == (4, sha256(csv_gz(ROWS)))
    assert [edition.key for edition in known(any_lake).editions] == [KEY, second.key]
    assert known(any_lake).editions[0].rows == 4
    again = landing.land(FILE, any_lake, source="csv_mirror")
    assert (again.rows_read, again.edition_number) == (5, 2)
    assert known(any_lake).current.changes["added"] == 1
    assert any_lake.read(KEY) == csv_gz(ROWS)


def test_file_of_an_earlier_version_is_confirmed_by_a_request_and_not_sent_again(
    any_lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    content = csv_gz(ROWS)
    path = "/published/green_tripdata_2021-01.csv.gz"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Publisher() as publisher:
        publisher.files = {path: Published(content, MANIFEST["etag"], MANIFEST["last_modified"])}
        write_as_before(any_lake, content, url=publisher.url + path)
        fetched = download.fetch_url(
            publisher.url + path, KEY, any_lake, source="csv_mirror", known_url=publisher.url, pause=0
        )

    assert (fetched.outcome, fetched.key) == ("unchanged", KEY)
    assert publisher.asked[0].headers["If-None-Match"] == '"v1"'
    assert known(any_lake).editions == (replace(fetched.edition, last_seen=known(any_lake).checked_at),)
    assert any_lake.read(KEY) == content


@pytest.mark.parametrize(
    "other",
    [{"bytes": 5}, {"fetched_at": "then"}, {"fetched_at": None}],
    ids=["size", "time", "no time"],
)
def test_manifest_of_an_earlier_version_that_does_not_fit_counts_as_none(lake: Lake, other: dict[str, object]):
    write_as_before(lake, csv_gz(ROWS), **other)

    assert known(lake) == History()
    assert see(lake, csv_gz(ROWS), after=0).number == 1
    assert KEY in files_in(lake)


def test_manifest_of_an_earlier_version_without_time_zones_is_in_utc(lake: Lake):
    write_as_before(lake, csv_gz(ROWS), fetched_at="2021-03-01", checked_at="2021-03-02T10:00:00")

    assert known(lake).editions[0].first_seen == "2021-03-01T00:00:00+00:00"
    assert known(lake).checked_at == "2021-03-02T10:00:00+00:00"


@pytest.mark.parametrize("harm", [lambda content: content[:-1] + b"?", lambda content: content[::-1]])
def test_damaged_file_of_an_earlier_version_is_set_aside(any_lake: Lake, harm: Callable[[bytes], bytes]):
    content = csv_gz(ROWS)
    write_as_before(any_lake, content)
    put(any_lake, KEY, harm(content))

    with pytest.raises(DamagedFile, match="the next run downloads it"):
        landing.land(FILE, any_lake, source="csv_mirror")
    assert any_lake.size(KEY) is None
    see(any_lake, content, after=1)
    assert landing.land(FILE, any_lake, source="csv_mirror").rows_read == 4


@pytest.mark.parametrize("profile", ["notes", "none", "strict"])
def test_month_of_an_earlier_version_is_not_landed_and_not_loaded_again(
    lake: Lake, warehouse: str, profile: str, caplog: pytest.LogCaptureFixture
):
    write_as_before(lake, csv_gz(ROWS))
    landing.land(FILE, lake, source="csv_mirror", profile=profile)
    age(lake)
    before = lake.listed("data"), lake.listed("rejects")
    with psycopg.connect(warehouse) as connection:
        Postgres().replace_month(connection, FILE, lake)
        connection.execute("""
            ALTER TABLE load_ledger DROP COLUMN source, DROP COLUMN source_last_modified, DROP COLUMN edition_number,
            DROP COLUMN unknown_columns, DROP COLUMN asked_at, DROP COLUMN asked_for
        """)
        connection.commit()
        landed = landing.land(FILE, lake, source="csv_mirror", profile=profile)

        loaded = Postgres().replace_month(connection, FILE, lake, found=landed.claim)

        assert loaded.outcome == "unchanged"
        [load] = Postgres().loads(connection).values()
    assert (lake.listed("data"), lake.listed("rejects")) == before
    assert (load.source, load.edition_number, load.asked_for) == ("csv_mirror", None, None)


def test_newer_edition_and_another_profile_go_over_a_month_of_an_earlier_version(lake: Lake, warehouse: str):
    write_as_before(lake, csv_gz(ROWS))
    landing.land(FILE, lake, source="csv_mirror")
    age(lake)
    with psycopg.connect(warehouse) as connection:
        Postgres().replace_month(connection, FILE, lake)
        for change in (
            lambda: landing.land(FILE, lake, source="csv_mirror", profile="none"),
            lambda: landing.land(FILE, lake, source="csv_mirror", profile="notes"),
            lambda: (
                see(lake, csv_gz([TRIP, *ROWS]), after=1)
                and landing.land(FILE, lake, source="csv_mirror", profile="notes")
            ),
        ):
            landed = change()
            loaded = Postgres().replace_month(connection, FILE, lake, found=landed.claim)
            assert (loaded.outcome, loaded.landed) == ("replaced", landed)


def test_recipes_of_notes_and_none_stay_as_they_are_until_rows_change(lake: Lake):
    """Its ledgers hold these digests: others would land and load every month of every target again."""
    edition = put_raw(lake, csv_gz([TRIP]))
    schema = [f"{field.name} {field.type}" for field in arrow_schema("green")]

    descriptions = {"no_values": "no column has a value", "no_passengers": "passenger_count is 0"}

    for profile, rejecting in (("notes", ["no_values", "no_passengers"]), ("none", ["no_values"])):
        rules = [f"{name}: {descriptions[name]}" for name in rejecting]
        of_edition = [edition.sha256, edition.etag, "csv_mirror"]
        ingredients = [3, *of_edition, profile, rejecting, rules, "error", schema]
        recipe = sha256(json.dumps(ingredients).encode())[:16]
        assert landing.land(FILE, lake, source="csv_mirror", profile=profile).recipe == recipe
