"""Which of two runs' rows go over the other's, whichever of them comes first."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.nyc_taxi.errors import PermanentError, Superseded, TransientError
from include.nyc_taxi.order import Order
from include.nyc_taxi.precedence import Claim, Wish, claim_of, pin_of
from include.nyc_taxi.targets.bigquery.jobs import claim_of_labels, labels_of

URL = "https://publisher/file.parquet"
START = datetime(2024, 1, 1, tzinfo=UTC)
NOTES, STRICT, MIRROR = (
    ("official", "notes", "error"),
    ("official", "strict", "error"),
    ("csv_mirror", "notes", "error"),
)


def order(number: int, published_on: int | None = None, url: str = URL) -> Order:
    return Order(url, published_on and format_datetime(START + timedelta(published_on), usegmt=True), number)


def claim(
    number: int,
    asked_on: int,
    asked_for: str | None = None,
    terms: tuple[str, ...] = NOTES,
    *,
    recipe: str | None = None,
    published_on: int | None = None,
) -> Claim:
    wish = Wish((START + timedelta(asked_on)).isoformat(), asked_for)
    return Claim(recipe or f"{number}{terms}", str(number) * 8, order(number, published_on), terms, wish)


def applied(there: Claim | None, mine: Claim) -> Claim:
    """What is in place after a run has compared and set."""
    if there is not None and mine.is_met_by(there):
        return there
    try:
        mine.check(there, "here")
    except Superseded:
        return there
    return mine


# Editions


@pytest.mark.parametrize(
    ("one", "other", "is_after"),
    [
        (order(2), order(1), True),
        (order(1), order(2), False),
        (order(1), order(1), False),
        (order(1, 9), order(2, 8), True),
        (order(2, 8), order(1, 9), False),
        (order(2, 9), order(1, 9), True),
        (order(2), order(1, 9), True),
        (order(1, 9), order(2), False),
        (order(2, 8), order(1, 9, "https://mirror/file.parquet"), True),
        (replace(order(2), last_modified="yesterday"), order(1, 9), True),
        (replace(order(2), last_modified="Mon, 01 Jan 2024 00:00:00 -0000"), order(1, 9), False),
        (replace(order(1), last_modified="Mon, 01 Jan 99999 00:00:00 GMT"), order(2, 9), False),
        (replace(order(1), last_modified="Fri, 12 Jan 2024 01:00:00 +0100"), order(2, 10), True),
    ],
    ids=[
        "later number",
        "earlier number",
        "same",
        "later date, earlier number",
        "earlier date, later number",
        "same date",
        "no date",
        "other without a date",
        "another server's date",
        "date that is none",
        "date without a zone",
        "date beyond all years",
        "date of another zone",
    ],
)
def test_editions_are_ordered_by_last_modified_and_then_by_number(one: Order, other: Order, *, is_after: bool):
    assert one.is_after(other) is is_after


# Cases


@pytest.mark.parametrize(
    ("first", "second", "wins"),
    [
        (claim(1, 1), claim(2, 2), "second"),
        (claim(2, 1), claim(1, 2), "first"),
        (claim(2, 2), claim(1, 1), "first"),
        (claim(1, 2, published_on=9), claim(2, 1, published_on=8), "first"),
        (claim(1, 1, recipe="old rules"), claim(1, 2), "second"),
        (claim(2, 1), claim(1, 2, "force"), "second"),
        (claim(2, 2), claim(1, 1, "force"), "first"),
        (claim(1, 2), claim(2, 1, "force"), "second"),
        (claim(2, 1), claim(1, 2, "edition=1"), "second"),
        (claim(1, 2, "edition=1"), claim(2, 1), "first"),
        (claim(1, 2, "edition=1"), claim(2, 3), "second"),
        (claim(2, 2, "edition=2"), claim(1, 3), "first"),
        (claim(2, 2, "edition=2"), claim(1, 3, "edition=1"), "second"),
        (claim(2, 3, "edition=2"), claim(1, 2, "force"), "first"),
        (claim(2, 1), claim(1, 2, terms=STRICT), "second"),
        (claim(2, 2), claim(1, 1, terms=STRICT), "first"),
        (claim(2, 2, terms=STRICT), claim(3, 1, terms=MIRROR), "first"),
        (claim(1, 1, recipe="same"), claim(1, 2, "edition=1", recipe="same"), "second"),
        (claim(1, 3, recipe="same"), claim(1, 2, "edition=1", recipe="same"), "first"),
        (claim(1, 2, "edition=1", recipe="same"), claim(1, 3, recipe="same"), "second"),
        (claim(1, 1, recipe="same"), claim(3, 2, recipe="same"), "second"),
    ],
    ids=[
        "newer edition",
        "older edition that was asked for later",
        "older edition",
        "date before number",
        "same edition by other rules",
        "force goes over a newer edition",
        "force that was asked for before",
        "newer edition that force brings late",
        "older edition by name",
        "edition by name that was asked for later",
        "the current edition is asked for again",
        "held-up run with an older edition than the named one",
        "another edition by name",
        "edition by name after force",
        "another profile",
        "another profile that was asked for before",
        "another source that was asked for before",
        "the current edition by name",
        "the current edition by name, asked for before",
        "the named edition is let go",
        "the same bytes once more",
    ],
)
def test_one_of_two_wins_whichever_comes_first(first: Claim, second: Claim, wins: str):
    winner = first if wins == "first" else second

    assert applied(first, second) == winner
    assert applied(second, first) == winner
    assert applied(None, first) == first


def test_rows_that_are_in_place_are_not_written_again():
    there = claim(1, 1)

    assert claim(1, 2).is_met_by(there)
    assert claim(1, 2, "force").is_met_by(there)
    assert not claim(1, 2, "edition=1").is_met_by(there)
    assert not claim(1, 2, terms=STRICT).is_met_by(there)
    assert not claim(2, 2, recipe=there.recipe).is_met_by(there)
    assert claim(1, 2, recipe=there.recipe).is_met_by(replace(there, order=order(2)))


def test_rows_of_an_earlier_version_are_in_place_whatever_their_edition():
    there = claim_of(
        {
            "recipe": "same",
            "source": None,
            "source_url": URL,
            "source_sha256": "ab" * 32,
            "source_last_modified": None,
            "edition_number": None,
            "quality_profile": "notes",
            "unknown_columns": None,
            "asked_at": None,
            "asked_for": None,
        }
    )

    assert claim(1, 1, recipe="same", published_on=9).is_met_by(there)
    assert applied(there, claim(1, 1, published_on=9)) == claim(1, 1, published_on=9)


def test_superseded_names_both_and_is_neither_transient_nor_permanent():
    mine, there = claim(1, 1), claim(2, 2, "edition=2")

    with pytest.raises(Superseded) as refusal:
        mine.check(there, "green 2024-01: data/")

    assert str(refusal.value) == (
        "green 2024-01: data/: edition 11111111 (official notes error, asked for at 2024-01-02T00:00:00+00:00) is "
        "superseded by edition 22222222 (official notes error, edition=2, asked for at 2024-01-03T00:00:00+00:00)"
    )
    assert not isinstance(refusal.value, (TransientError, PermanentError))


# Any claims


def in_any_order(claims: list[Claim]) -> set[str]:
    """The recipes that are in place in the end, over all orders in which the runs can come."""
    ends = set()
    for arrival in permutations(claims):
        there = None
        for mine in arrival:
            there = applied(there, mine)
        ends.add(there.recipe)
    return ends


numbers = st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True)
dates = st.none() | st.integers(1, 4)


@given(numbers=numbers, published=st.data(), asked=st.data())
def test_of_current_editions_on_the_same_terms_the_newest_wins_in_any_order(
    numbers: list[int], published: st.DataObject, asked: st.DataObject
):
    with_dates = published.draw(st.booleans())
    claims = [
        claim(
            number,
            asked.draw(st.integers(0, 9)),
            published_on=published.draw(st.integers(1, 4)) if with_dates else None,
            recipe=str(number),
        )
        for number in numbers
    ]

    (end,) = in_any_order(claims)

    newest = next(each for each in claims if not any(other.order.is_after(each.order) for other in claims))
    assert end == newest.recipe


@given(
    wishes=st.lists(st.sampled_from(["force", "edition=1", "edition=2"]), min_size=1, max_size=4),
    drawn=st.data(),
)
def test_of_wishes_the_last_that_was_asked_for_wins_in_any_order(wishes: list[str], drawn: st.DataObject):
    claims = [
        claim(
            drawn.draw(st.integers(1, 3)),
            day,
            wish,
            drawn.draw(st.sampled_from([NOTES, STRICT, MIRROR])),
            recipe=f"rows {day}",
        )
        for day, wish in enumerate(wishes)
    ]

    assert in_any_order(claims) == {claims[-1].recipe}


@given(
    kinds=st.lists(st.sampled_from(["current", "force", "edition=1", "another profile"]), min_size=1, max_size=4),
    drawn=st.data(),
)
def test_runs_that_saw_all_editions_of_their_time_end_as_the_last_was_asked_in_any_order(
    kinds: list[str], drawn: st.DataObject
):
    """A run that is not held up brings the newest edition of its time, unless somebody names another one."""
    claims, newest = [], 1
    for day, kind in enumerate(kinds):
        newest += kind in ("current", "force")
        number = drawn.draw(st.integers(1, newest)) if kind == "edition=1" else newest
        asked_for = kind if kind in ("force", "edition=1") else None
        claims.append(
            claim(number, day, asked_for, STRICT if kind == "another profile" else NOTES, recipe=f"rows {day}")
        )

    assert in_any_order(claims) == {claims[-1].recipe}


@given(
    one=st.builds(
        claim,
        st.integers(1, 3),
        st.integers(0, 3),
        st.sampled_from([None, "force", "edition=1"]),
        st.sampled_from([NOTES, STRICT]),
        published_on=dates,
    ),
    other=st.builds(
        claim,
        st.integers(1, 3),
        st.integers(0, 3),
        st.sampled_from([None, "force", "edition=1"]),
        st.sampled_from([NOTES, STRICT]),
        published_on=dates,
    ),
)
def test_never_do_both_of_two_come_after_the_other(one: Claim, other: Claim):
    assert not (one.comes_after(other) and other.comes_after(one))
    assert not one.comes_after(one)


# Wishes, and how they are written down


@pytest.mark.parametrize(
    ("asked_at", "written"),
    [
        ("2024-02-01T10:30:00+00:00", "2024-02-01T10:30:00.000000+00:00"),
        ("2024-02-01T11:30:00.5+01:00", "2024-02-01T10:30:00.500000+00:00"),
        ("2024-02-01T10:30:00Z", "2024-02-01T10:30:00.000000+00:00"),
        ("2024-02-01T10:30:00", "2024-02-01T10:30:00.000000+00:00"),
    ],
)
def test_times_are_written_alike_so_that_they_are_in_order_as_texts(asked_at: str, written: str):
    assert Wish.of(asked_at).asked_at == written


def test_wish_without_a_time_is_of_now():
    before, now, after = datetime.now(UTC), Wish.of().asked_at, datetime.now(UTC)

    assert before <= datetime.fromisoformat(now) <= after


@pytest.mark.parametrize(
    ("options", "asked_for", "pin"),
    [
        ({}, None, None),
        ({"force": True}, "force", None),
        ({"edition": "2024-01-05"}, "edition=2024-01-05", "edition=2024-01-05"),
        ({"edition": "05e25395", "force": True}, "edition=05e25395", "edition=05e25395"),
        ({"edition": ""}, None, None),
    ],
)
def test_what_was_asked_for_is_one_word(options: dict[str, object], asked_for: str | None, pin: str | None):
    wish = Wish.of(**options)

    assert (wish.asked_for, pin_of(wish.asked_for)) == (asked_for, pin)


@given(
    drawn=st.builds(
        claim,
        st.integers(0, 3),
        st.integers(0, 3),
        st.sampled_from([None, "force", "edition=2024-01-05", "edition=05e25395"]),
        st.sampled_from([NOTES, STRICT, MIRROR]),
        published_on=dates,
    ),
    other=st.builds(claim, st.integers(0, 3), st.integers(0, 3), st.sampled_from([None, "force"]), published_on=dates),
)
def test_labels_of_a_job_keep_everything_that_decides(drawn: Claim, other: Claim):
    spelled, against = (
        claim_of_labels(labels_of(replace(each, recipe=str(abs(hash(each.recipe)))))) for each in (drawn, other)
    )

    assert spelled.comes_after(against) is drawn.comes_after(other)
    assert spelled.is_met_by(against) is drawn.is_met_by(other)
    assert (spelled.edition, spelled.terms, spelled.pin) == (drawn.edition, drawn.terms, drawn.pin)
    assert datetime.fromisoformat(spelled.wish.asked_at) == datetime.fromisoformat(drawn.wish.asked_at)


def test_label_of_an_earlier_version_has_no_time():
    old = replace(claim(0, 1), wish=Wish(""))

    assert claim_of_labels(labels_of(old)).wish == Wish("")
