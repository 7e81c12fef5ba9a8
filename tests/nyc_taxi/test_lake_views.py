"""The lake answers SQL: of months in place, from a folder and from buckets, and nothing is written."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyarrow import parquet

from include.nyc_taxi import TripFile, catalog, landed_zones, landing
from include.nyc_taxi.lake import METADATA_KEY, Lake, data_key, rejects_key
from include.nyc_taxi.lake_views import LakeViews
from include.nyc_taxi.targets.ledger import FIELDS
from tests.nyc_taxi.test_lake_months import copy_into

JANUARY, FEBRUARY = "green_tripdata_2024-01", "green_tripdata_2024-02"

Landing = Callable[..., TripFile]
Rows = list[tuple[Any, ...]]


@pytest.fixture(params=["folder", "bucket", "s3"])
def filled(request: pytest.FixtureRequest, tmp_path: Path, landed_month: Landing, lake: Lake) -> Lake:
    """A lake with two months of green, of which one is `strict`."""
    landed_month(JANUARY, rows=400)
    landed_month(FEBRUARY, rows=400, profile="strict")
    if request.param == "folder":
        return lake
    bucket: Lake = request.getfixturevalue(request.param)
    copy_into(bucket, lake)
    return bucket


@pytest.fixture
def ask(filled: Lake) -> Iterator[Callable[[str], Rows]]:
    views = LakeViews(filled)

    def ask(statement: str) -> Rows:
        relation = views.ask(statement)
        assert relation is not None
        return relation.fetchall()

    yield ask
    views.close()


def test_trips_are_those_of_the_months_in_place(filled: Lake, ask: Callable[[str], Rows]):
    expected = [(str(month.file.month), month.description["rows_accepted"]) for month in filled.months("green")]

    found = ask("select strftime(file_month, '%Y-%m'), count(*) from green_taxi_trips group by 1 order by 1")

    assert found == expected
    assert len(found) == 2


def test_rejects_have_their_reason_and_the_month_of_their_file(filled: Lake, ask: Callable[[str], Rows]):
    found = ask("select strftime(file_month, '%Y-%m'), reason, count(*) from green_rejects group by all")

    assert {(month, reason): count for month, reason, count in found} == {
        (str(month.file.month), reason): count
        for month in filled.months("green")
        for reason, count in month.description["rejected_by_reason"].items()
    }


def test_the_ledger_has_the_columns_of_every_ledger_and_a_row_per_month(ask: Callable[[str], Rows]):
    columns = [name for name, *_ in ask("describe load_ledger")]
    rows = ask("select month, quality_profile, rows_read - rows_loaded - rows_rejected, target from load_ledger")

    assert columns == [*(field.name for field in FIELDS), "loaded_at"]
    assert sorted(rows) == [("2024-01", "notes", 0, "lake"), ("2024-02", "strict", 0, "lake")]


def test_editions_have_a_row_per_published_state(ask: Callable[[str], Rows]):
    rows = ask("select service, month, number, rows, is_kept from editions order by month")

    assert rows == [("green", "2024-01", 1, 400, True), ("green", "2024-02", 1, 400, True)]


def test_a_service_without_months_has_empty_views_with_its_columns(ask: Callable[[str], Rows]):
    assert ask("select count(*) from fhvhv_taxi_trips") == ask("select count(*) from fhvhv_rejects") == [(0,)]
    assert [name for name, *_ in ask("describe fhvhv_taxi_trips")] == [
        *(column.name for column in catalog.service("fhvhv").columns),
        "file_month",
    ]


def test_without_zones_in_the_lake_trips_have_no_names_of_zones(ask: Callable[[str], Rows]):
    assert ask("select count(*) from taxi_zones") == [(0,)]
    assert ask("select count(*) > 0, count(pickup_zone) from green_trips_with_zones") == [(True, 0)]


def test_zones_in_the_lake_are_joined(filled: Lake, ask: Callable[[str], Rows]):
    zones = [landed_zones.Zone(number, "Queens", f"zone {number}", "N/A", None, None, None) for number in range(1, 266)]
    landed_zones.write(filled, zones, "generated", None)

    assert ask("select count(*) from taxi_zones") == [(265,)]
    assert ask("""
        select count(*) > 0, count(*) = count(pickup_borough), bool_and(pickup_zone = 'zone ' || pickup_location_id)
        from green_trips_with_zones where pickup_location_id between 1 and 265
    """) == [(True, True, True)]


def test_a_question_sees_what_was_landed_since_the_one_before(lake: Lake, landed_month: Landing):
    landed_month(JANUARY)
    views = LakeViews(lake)
    counts = []
    for profile in ("notes", "none"):
        file = landed_month(FEBRUARY, rows=1_000, profile=profile)
        counts.append(views.ask("select count(*) from green_taxi_trips where file_month = '2024-02-01'").fetchall())
    lake.delete(data_key(file))

    assert counts[1] == [(1_000,)] > counts[0]
    assert views.ask("select distinct file_month::varchar from green_taxi_trips").fetchall() == [("2024-01-01",)]


def test_files_of_an_earlier_version_have_null_in_columns_that_they_lack(lake: Lake, landed_month: Landing):
    file = landed_month(JANUARY)
    landed_month(FEBRUARY)
    path = lake.path(data_key(file))
    old = parquet.read_table(path).drop_columns(["trip_distance", "request_source"])
    description = parquet.read_metadata(path).metadata[METADATA_KEY]
    parquet.write_table(old.replace_schema_metadata({METADATA_KEY: description}), path)
    views = LakeViews(lake)

    found = views.ask("select count(*), count(trip_distance) from green_taxi_trips where file_month = '2024-01-01'")

    assert found.fetchall() == [(old.num_rows, 0)]

    landing.land(file, lake, force=True)

    found = views.ask("select count(trip_distance) from green_taxi_trips where file_month = '2024-01-01'")
    assert found.fetchall() == [(parquet.read_table(path, columns=["trip_distance"])[0].drop_null().length(),)]


def test_a_folder_may_have_any_name(tmp_path: Path, lake: Lake, landed_month: Landing):
    landed_month(JANUARY)
    shutil.copytree(lake.root, tmp_path / "it's [a] l*ke?")
    views = LakeViews(Lake.at(tmp_path / "it's [a] l*ke?"))

    assert views.ask("select count(*) > 0 from green_taxi_trips").fetchall() == [(True,)]


@pytest.mark.parametrize(
    "statement",
    [
        "copy green_taxi_trips to '{}'",
        "explain analyze copy green_taxi_trips to '{}'",
        "with copied as (copy green_taxi_trips to '{}') select * from copied",
        "attach '{}'",
        "export database '{}'",
        "create table trips as select 1",
        "select 1; select 2",
        "",
    ],
)
def test_a_statement_that_writes_is_refused_in_words(lake: Lake, tmp_path: Path, statement: str):
    with pytest.raises(ValueError, match="expected"):
        LakeViews(lake).ask(statement.format(tmp_path / "written"))

    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize(
    "statement", ['select \'copy\', "insert" from (select 1 as "insert") -- delete', "explain select 1", "show tables"]
)
def test_a_statement_that_only_reads_is_not_refused(lake: Lake, statement: str):
    assert LakeViews(lake).ask(statement).fetchall()


def test_an_object_that_is_replaced_during_a_question_is_never_read_in_part(
    bucket: Lake, lake: Lake, landed_month: Landing
):
    file = landed_month(JANUARY, rows=400)
    copy_into(bucket, lake)
    views = LakeViews(bucket)
    relation = views.ask("select sum(total_amount) from green_taxi_trips")
    landing.land(file, lake, profile="none")
    for key in (data_key(file), rejects_key(file)):
        with bucket.staged(key) as path:
            shutil.copyfile(lake.path(key), path)

    with pytest.raises((duckdb.Error, FileNotFoundError)):
        relation.fetchall()
    assert views.ask("select count(*) from green_taxi_trips").fetchall() == [(400,)]
