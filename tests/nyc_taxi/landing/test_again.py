"""A month lands again if its bytes, source, profile or rules changed or its files are damaged, and otherwise not."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from include.nyc_taxi import catalog, editions, landing, quality
from include.nyc_taxi.lake import Lake, raw_key
from tests.nyc_taxi.landing.landed import DATA, MONTH, REJECTS, assert_lies_there, content, identity, land
from tests.nyc_taxi.trips import FILE, TRIP, csv_gz, put_raw, write_parquet


def test_month_that_is_up_to_date_is_not_written_again(lake: Lake):
    put_raw(lake, MONTH)
    first = land(lake)
    before = [identity(lake, key) for key in (DATA, REJECTS)]

    second = land(lake)

    assert second == first
    assert [identity(lake, key) for key in (DATA, REJECTS)] == before


def test_force_lands_again_what_is_up_to_date(lake: Lake):
    put_raw(lake, MONTH)
    first = land(lake)
    before = [identity(lake, key) for key in (DATA, REJECTS)]

    second = land(lake, force=True)

    assert second == replace(first, asked_for="force")
    assert not set(before) & {identity(lake, key) for key in (DATA, REJECTS)}


def test_raw_file_that_was_found_unchanged_does_not_land_again(lake: Lake):
    edition = put_raw(lake, MONTH)
    land(lake)
    before = identity(lake, DATA)

    editions.confirm(lake, raw_key(FILE, "csv_mirror"), edition, datetime(2022, 1, 1, tzinfo=UTC))
    land(lake)

    assert identity(lake, DATA) == before


def test_raw_file_republished_with_the_same_bytes_lands_with_its_new_etag(lake: Lake):
    put_raw(lake, MONTH)
    first = land(lake)

    put_raw(lake, MONTH, etag='"v2"')
    second = land(lake)

    assert (first.source_etag, second.source_etag) == ('"v1"', '"v2"')
    assert second == replace(first, source_etag='"v2"', recipe=second.recipe)
    assert landing.landed(lake, FILE) == second


def test_other_raw_bytes_replace_the_month(any_lake: Lake):
    put_raw(any_lake, MONTH)
    first = land(any_lake)

    put_raw(any_lake, csv_gz([TRIP, TRIP]))
    second = land(any_lake)

    assert_lies_there(any_lake, second)
    assert second.recipe != first.recipe
    assert second.rows_read == 2


def test_a_count_that_differs_from_the_known_one_is_logged(
    lake: Lake, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    put_raw(lake, write_parquet(tmp_path / "published", [TRIP]).read_bytes(), source="official")

    result = land(lake, source="official")

    expected = catalog.expected(FILE, "official")
    assert (result.rows_expected, result.rows_read) == (expected.rows, 1)
    assert f"read 1 rows, expected the {expected.rows:,} of {expected.last_modified}" in caplog.text


def test_another_profile_replaces_the_month(any_lake: Lake):
    put_raw(any_lake, MONTH)

    for profile, accepted in [("notes", 3), ("none", 5), ("strict", 2), ("notes", 3)]:
        result = land(any_lake, profile=profile)

        assert_lies_there(any_lake, result)
        assert (result.quality_profile, result.rows_accepted) == (profile, accepted)


def test_another_source_replaces_the_month(lake: Lake, tmp_path: Path):
    put_raw(lake, MONTH)
    put_raw(lake, write_parquet(tmp_path / "file", [TRIP]).read_bytes(), source="official")
    land(lake)

    result = land(lake, source="official")

    assert_lies_there(lake, result)
    assert (result.source, result.rows_read) == ("official", 1)


def test_rule_that_changed_lands_the_month_again(lake: Lake, monkeypatch: pytest.MonkeyPatch):
    put_raw(lake, MONTH)
    land(lake)

    monkeypatch.setitem(quality.PROFILES, "notes", ("no_passengers", "absurd_distance"))
    result = land(lake)

    assert_lies_there(lake, result)
    assert result.rejected_by_reason == {"no_passengers": 2, "absurd_distance": 1}


@pytest.mark.parametrize(("profile", "again"), [("none", False), ("notes", False), ("strict", True)])
def test_rule_that_a_profile_does_not_reject_by_does_not_land_the_month_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, profile: str, *, again: bool
):
    put_raw(lake, MONTH)
    first = land(lake, profile=profile)

    changed = tuple(
        replace(rule, description="other") if rule.name == "unknown_zone" else rule for rule in quality.RULES
    )
    monkeypatch.setattr(quality, "RULES", changed)

    assert (land(lake, profile=profile).recipe != first.recipe) is again


def lose_rejects(lake: Lake) -> None:
    Path(lake.path(REJECTS)).unlink()


def cut_data(lake: Lake) -> None:
    os.truncate(lake.path(DATA), 1_000)


def replace_data_by_a_stranger(lake: Lake) -> None:
    parquet.write_table(pa.table({"a": [1]}), lake.path(DATA))


def empty_data(lake: Lake) -> None:
    os.truncate(lake.path(DATA), 0)


def take_rejects_of_another_pass(lake: Lake) -> None:
    """Leave what two runs with different profiles leave if one dies or overtakes the other between its two moves."""
    land(lake, profile="none")
    rejects = content(lake, REJECTS)
    land(lake)
    Path(lake.path(REJECTS)).write_bytes(rejects)


@pytest.mark.parametrize(
    "harm", [lose_rejects, cut_data, empty_data, replace_data_by_a_stranger, take_rejects_of_another_pass]
)
def test_month_that_is_not_whole_does_not_count_and_lands_again(lake: Lake, harm):
    put_raw(lake, MONTH)
    first = land(lake)
    harm(lake)

    assert landing.landed(lake, FILE) is None
    result = land(lake)

    assert result == first
    assert_lies_there(lake, result)


def test_nothing_landed_is_none(any_lake: Lake):
    assert landing.landed(any_lake, FILE) is None
