"""A file of another month, or of which nothing is accepted, replaces nothing unless somebody accepts it."""

from datetime import datetime

import pytest

from include.nyc_taxi import landing, quality
from include.nyc_taxi.errors import Implausible
from include.nyc_taxi.lake import Lake
from tests.nyc_taxi.landing.landed import DATA, MONTH, REJECTS, assert_lies_there, land, table
from tests.nyc_taxi.trips import FILE, NOTHING, TRIP, csv_gz, put_raw, trip

ELSEWHERE = trip(lpep_pickup_datetime=datetime(2023, 1, 5, 8), lpep_dropoff_datetime=datetime(2023, 1, 5, 9))
EARLIER = trip(lpep_pickup_datetime=datetime(2008, 12, 31, 8), lpep_dropoff_datetime=datetime(2008, 12, 31, 9))
NEXT_MONTH = trip(lpep_pickup_datetime=datetime(2021, 2, 5, 8), lpep_dropoff_datetime=datetime(2021, 2, 5, 9))
NOBODY = trip(passenger_count=0)
WITHOUT_PICKUP = trip(lpep_pickup_datetime=None)


@pytest.mark.parametrize(
    ("rows", "profile", "figures"),
    [
        (
            [ELSEWHERE] * 60 + [EARLIER] * 10 + [TRIP] * 30,
            "notes",
            r"70 of 100 pickups \(70%\) lie outside of 2021-01, and 60 of them in 2023-01; to load the file anyway",
        ),
        ([ELSEWHERE] * 60, "strict", r"60 of 60 pickups \(100%\) lie outside of 2021-01, and 60 of them in 2023-01"),
        ([ELSEWHERE] * 30 + [WITHOUT_PICKUP] * 90, "none", r"30 of 30 pickups \(100%\)"),
        ([NOBODY] * 3, "notes", r"profile notes accepts none of its 3 rows \(rejected: 3 no_passengers\)"),
        ([NOTHING] * 3, "none", r"profile none accepts none of its 3 rows \(rejected: 3 no_values\)"),
    ],
    ids=["another month", "strict", "few pickups", "nothing accepted", "nothing there"],
)
def test_implausible_file_leaves_what_was_there(lake: Lake, rows: list, profile: str, figures: str):
    put_raw(lake, MONTH)
    first = land(lake)
    put_raw(lake, csv_gz(rows))

    with pytest.raises(Implausible, match=f"green_tripdata_2021-01: {figures}.*set the param accept_implausible"):
        land(lake, profile=profile)

    assert_lies_there(lake, first)
    accepted = land(lake, profile=profile, accept_implausible=True)
    assert accepted.rows_read == len(rows)
    assert_lies_there(lake, accepted)


@pytest.mark.parametrize("elsewhere", [ELSEWHERE, NEXT_MONTH], ids=["accepted", "of a neighbour month"])
def test_edition_that_is_in_place_lands_again(lake: Lake, elsewhere: dict):
    put_raw(lake, csv_gz([elsewhere] * 60))
    first = land(lake, accept_implausible=elsewhere is ELSEWHERE)

    assert land(lake, force=True).rows_accepted == first.rows_accepted

    put_raw(lake, csv_gz([elsewhere] * 61))
    with pytest.raises(Implausible):
        land(lake)


@pytest.mark.parametrize(
    "rows",
    [
        [EARLIER] * 50 + [TRIP] * 50,
        [WITHOUT_PICKUP] * 100,
        [EARLIER] * 5 + [TRIP] * 3,
    ],
    ids=["half", "no pickup times", "the head of a file"],
)
def test_plausible_file_lands(lake: Lake, rows: list):
    put_raw(lake, csv_gz(rows))

    assert land(lake).rows_accepted == len(rows)


@pytest.mark.parametrize("profile", list(quality.PROFILES))
def test_row_without_any_value_is_rejected_with_a_reason_of_its_own(lake: Lake, profile: str):
    put_raw(lake, csv_gz([TRIP, NOTHING, TRIP]))

    result = land(lake, profile=profile)

    assert result.rejected_by_reason == {"no_values": 1}
    assert table(lake, DATA).num_rows == 2
    assert table(lake, REJECTS)["reason"].to_pylist() == ["no_values"]
    assert landing.landed(lake, FILE) == result


def test_nan_is_in_no_sum(lake: Lake):
    put_raw(lake, csv_gz([trip(tip_amount="NaN"), trip(tip_amount=1.5)]))

    land(lake)

    assert table(lake, DATA)["tip_amount"].to_pylist() == [None, 1.5]


def test_infinite_amount_is_rejected(lake: Lake):
    put_raw(lake, csv_gz([TRIP] * 2_000 + [trip(tip_amount="inf")]))

    assert land(lake, profile="none").rejected_by_reason == {"does_not_fit": 1}
    assert table(lake, REJECTS)["misfit"].to_pylist() == ["column 'tip_amount': inf"]
