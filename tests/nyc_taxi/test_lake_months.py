"""Months in place are listed and read from a folder and from buckets; what is not in place is not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from include.nyc_taxi import Month, TripFile, lake, landing, targets
from include.nyc_taxi.errors import NotInLake
from include.nyc_taxi.lake import Lake, data_key, rejects_key

JANUARY, FEBRUARY = "green_tripdata_2024-01", "green_tripdata_2024-02"

Landing = Callable[..., TripFile]


def copy_into(bucket: Lake, folder: Lake) -> None:
    """Put the files of a lake in a folder into another lake."""
    for zone in ("data", "rejects", "raw"):
        for key in folder.listed(zone):
            with bucket.staged(key) as path:
                shutil.copyfile(folder.path(key), path)


@pytest.fixture(params=["folder", "bucket", "s3"])
def filled(request: pytest.FixtureRequest, lake: Lake, landed_month: Landing) -> Lake:
    """A lake with two months of green and one of yellow."""
    for name in (JANUARY, FEBRUARY, "yellow_tripdata_2024-02"):
        landed_month(name, rows=400)
    if request.param == "folder":
        return lake
    bucket: Lake = request.getfixturevalue(request.param)
    copy_into(bucket, lake)
    return bucket


def test_the_months_in_place_are_those_that_the_lake_as_a_target_has(filled: Lake):
    in_place = [month.file for month in filled.months()]

    assert [file.name for file in in_place] == [JANUARY, FEBRUARY, "yellow_tripdata_2024-02"]
    assert set(in_place) == targets.the_lake().loads(filled).keys()
    assert [month.file.name for month in filled.months("yellow")] == ["yellow_tripdata_2024-02"]
    assert filled.months("fhv") == []


def test_a_month_gives_the_columns_that_are_named_as_a_frame(filled: Lake):
    month = filled.month("green", "2024-01")

    frame = month.frame(["pickup_datetime", "payment_type"])

    assert list(frame.columns) == ["pickup_datetime", "payment_type"]
    assert str(frame.payment_type.dtype) == "Int16"  # integers, although some are null
    assert len(frame) == month.description["rows_accepted"] == month.dataset().count_rows()


def test_a_month_gives_its_rejected_rows_with_their_reasons(filled: Lake):
    month = filled.month("green", Month(2024, 1))

    assert dict(month.rejects("reason").reason.value_counts()) == month.description["rejected_by_reason"]
    assert month.description["rejected_by_reason"]


def test_a_column_that_there_is_not_is_refused_by_name(filled: Lake):
    with pytest.raises(
        ValueError, match=r"green_tripdata_2024-01 has no columns \['tips'\]; it has \['pickup_datetime'"
    ):
        filled.month("green", "2024-01").table(["tips", "fare_amount"])


def test_a_month_that_is_not_in_place_is_refused_with_those_that_are(filled: Lake):
    with pytest.raises(
        NotInLake, match=r"green_tripdata_2024-03 is not in place in .*; in place of green are \['2024-01', '2024-02'\]"
    ):
        filled.month("green", "2024-03")


def test_a_month_between_the_two_moves_of_its_commit_is_not_in_place(lake: Lake, landed_month: Landing):
    file = landed_month(JANUARY, rows=400)
    before = Path(lake.path(rejects_key(file))).read_bytes()
    landing.land(file, lake, profile="strict")
    Path(lake.path(rejects_key(file))).write_bytes(before)

    assert lake.months() == []
    assert targets.the_lake().loads(lake) == {}
    with pytest.raises(NotInLake):
        lake.month("green", "2024-01")


@pytest.mark.parametrize("key", [data_key, rejects_key])
def test_a_damaged_month_is_not_in_place(lake: Lake, landed_month: Landing, key: Callable[[TripFile], str]):
    damaged, file = landed_month(JANUARY), landed_month(FEBRUARY)
    Path(lake.path(key(damaged))).write_bytes(b"PAR1 no footer PAR1")

    assert [month.file for month in lake.months()] == [file]


def test_what_is_staged_or_named_in_another_way_is_no_month(lake: Lake, landed_month: Landing):
    file = landed_month(JANUARY)
    data = Path(lake.path(data_key(file)))
    shutil.copyfile(data, data.with_name("copy of green.parquet"))
    (data.parents[2] / ".staging" / "green_tripdata_2024-05.0").mkdir(parents=True)
    shutil.copyfile(data, data.parents[2] / ".staging" / "green_tripdata_2024-05.0" / "data.parquet")

    assert [month.file for month in lake.months()] == [file]


def test_a_lake_is_opened_by_its_address(filled: Lake):
    if filled.is_local:
        assert lake.open(f"file://{filled.root}").months("yellow") == filled.months("yellow")
        assert lake.open(filled.root).month("green", "2024-02").file.name == FEBRUARY
