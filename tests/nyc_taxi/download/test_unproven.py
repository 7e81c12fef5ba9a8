"""Without a length, and in a format that does not show its end, a file is complete only if a second look proves it."""

import pytest

from devtools.servers.misbehaving import Fault, Published, Publisher
from include.nyc_taxi import Month, TripFile, catalog, download
from include.nyc_taxi.download import Fetched
from include.nyc_taxi.errors import SourceUnavailable
from include.nyc_taxi.lake import Lake
from tests.nyc_taxi.download.served import LATER, NOW, assert_lake_is_empty
from tests.nyc_taxi.trips import TRIP, csv_text

FILE = TripFile("green", Month(2013, 8))
PATH = f"/{catalog.source('csv_archive').path_of(FILE)}".replace(" ", "%20")
CSV = csv_text([TRIP] * 50).encode()
CUT = CSV.index(b"\n", len(CSV) // 2) + 1  # at the end of a row, where nothing in the bytes tells


@pytest.fixture
def closing(publisher: Publisher) -> Publisher:
    """A publisher that marks the end of a file by closing the connection."""
    publisher.files = {PATH: Published(CSV)}
    publisher.framing = "close"
    return publisher


def fetch(publisher: Publisher, lake: Lake, **options: object) -> Fetched:
    return download.fetch_url(
        publisher.url + PATH,
        "raw/csv_archive/green/file.csv",
        lake,
        **{"source": "csv_archive", "known_url": publisher.url, "pause": 0, "timeout": 5, **options},
    )


@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize(
    "proof", ["head", "head by get", "range", "known size"], ids=["HEAD", "no HEAD", "range", "known size"]
)
def test_file_is_complete_by_the_second_look(closing: Publisher, lake: Lake, proof: str, *, is_cut: bool):
    closing.head_has_length = proof == "head"
    closing.head = 405 if proof == "head by get" else None
    closing.knows_ranges = proof in ("range", "head by get")
    closing.faults = [Fault(cut_at=CUT)] if is_cut else []

    fetched = fetch(closing, lake, known_bytes=len(CSV) if proof == "known size" else None)

    assert lake.read(fetched.key) == CSV
    assert (fetched.outcome, fetched.edition.bytes) == ("downloaded", len(CSV))


@pytest.mark.parametrize("known_bytes", [None, len(CSV) + 1])
def test_file_of_which_nothing_shows_that_it_is_complete_is_not_taken(
    closing: Publisher, lake: Lake, known_bytes: int | None
):
    closing.head_has_length = closing.knows_ranges = False

    with pytest.raises(
        SourceUnavailable,
        match=r"gave up after 5 attempts: .*the answer has no Content-Length, and nothing shows that the file is compl",
    ):
        fetch(closing, lake, known_bytes=known_bytes)

    assert_lake_is_empty(lake)


@pytest.mark.parametrize("status", [403, 500])
def test_length_of_a_refusal_proves_nothing(closing: Publisher, lake: Lake, status: int):
    closing.head, closing.knows_ranges = status, False

    with pytest.raises(SourceUnavailable, match="nothing shows that the file is complete"):
        fetch(closing, lake)

    assert_lake_is_empty(lake)


def test_file_that_is_cut_again_and_again_is_never_taken(closing: Publisher, lake: Lake):
    closing.files[PATH] = Published(CSV, None, None)
    closing.always = Fault(cut_at=CUT)

    with pytest.raises(SourceUnavailable, match=rf"received {CUT:,} of {len(CSV):,} bytes"):
        fetch(closing, lake)

    assert_lake_is_empty(lake)


def test_cut_update_leaves_the_edition_that_was_there(closing: Publisher, lake: Lake):
    first = fetch(closing, lake)
    closing.files[PATH] = Published(CSV.replace(b"18.51", b"20.01"), '"v2"', LATER)
    closing.always = Fault(cut_at=CUT)
    closing.knows_ranges = closing.head_has_length = False

    with pytest.raises(SourceUnavailable):
        fetch(closing, lake, cache_ttl=NOW)

    assert fetch(closing, lake).edition == first.edition


def test_chunked_file_that_ends_early_is_resumed(closing: Publisher, lake: Lake):
    closing.framing = "chunked"
    closing.faults = [Fault(cut_at=CUT)]

    assert lake.read(fetch(closing, lake).key) == CSV
