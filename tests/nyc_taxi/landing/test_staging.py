"""One task stages rows and another commits them, whatever happens between the two."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace

import pyarrow as pa
import pytest
from pyarrow import parquet

from include.nyc_taxi import landing
from include.nyc_taxi.errors import CountMismatch, LakeChanged, NotInLake
from include.nyc_taxi.lake import Lake, data_key, rejects_key, staging_keys
from include.nyc_taxi.landing import Landed
from tests.nyc_taxi.trips import FILE, TRIP, csv_gz, files_in, put_raw, trip

MONTH = csv_gz([TRIP, trip(passenger_count=0), trip(passenger_count=""), trip(trip_distance=259_777.5)])
DATA, REJECTS = data_key(FILE), rejects_key(FILE)


def stage(lake: Lake, **options: object) -> Landed:
    return landing.stage(FILE, lake, **{"source": "csv_mirror", **options})


def other_month() -> bytes:
    return csv_gz([trip(trip_distance=9.0)])


def test_staged_rows_are_not_seen_until_they_are_published(any_lake: Lake):
    put_raw(any_lake, MONTH)

    staged = stage(any_lake)

    assert landing.landed(any_lake, FILE) is None
    assert landing.publish(FILE, any_lake, staged.recipe) == staged
    assert landing.landed(any_lake, FILE) == staged
    assert [any_lake.size(key) for key in staging_keys(FILE, staged.recipe).values()] == [None, None]


def test_publishing_twice_is_publishing_once(any_lake: Lake):
    put_raw(any_lake, MONTH)
    staged = stage(any_lake)
    landing.publish(FILE, any_lake, staged.recipe)

    assert landing.publish(FILE, any_lake, staged.recipe) == staged


def test_publishing_that_died_between_its_two_moves_is_ended_by_the_next(any_lake: Lake):
    put_raw(any_lake, other_month())
    landing.publish(FILE, any_lake, stage(any_lake).recipe)
    put_raw(any_lake, MONTH)
    staged = stage(any_lake)
    any_lake.move(staging_keys(FILE, staged.recipe)[DATA], DATA)
    assert landing.landed(any_lake, FILE) is None

    landing.publish(FILE, any_lake, staged.recipe)

    assert landing.landed(any_lake, FILE) == staged


def test_rows_that_are_neither_staged_nor_committed_were_landed_again_meanwhile(lake: Lake):
    put_raw(lake, MONTH)
    staged = stage(lake)
    landing.publish(FILE, lake, staged.recipe)
    put_raw(lake, other_month())
    landing.land(FILE, lake, source="csv_mirror")

    with pytest.raises(LakeChanged, match="another run landed the month meanwhile"):
        landing.publish(FILE, lake, staged.recipe)
    with pytest.raises(LakeChanged, match="another run landed the month meanwhile"):
        landing.check(FILE, lake, staged.recipe)


def test_rows_that_were_staged_too_long_ago_are_gone(any_lake: Lake):
    put_raw(any_lake, MONTH)

    with pytest.raises(LakeChanged, match="the staged rows are gone"):
        landing.check(FILE, any_lake, "a recipe")


def test_two_runs_that_stage_the_same_month_publish_it_once_each(any_lake: Lake):
    put_raw(any_lake, MONTH)
    first, second = stage(any_lake), stage(any_lake)

    assert first == second
    assert landing.publish(FILE, any_lake, first.recipe) == landing.publish(FILE, any_lake, second.recipe)


def test_what_was_staged_can_be_read_to_its_end(any_lake: Lake):
    put_raw(any_lake, MONTH)
    staged = stage(any_lake)

    size = landing.check(FILE, any_lake, staged.recipe)
    landing.publish(FILE, any_lake, staged.recipe)

    assert size == any_lake.size(DATA)
    assert landing.check(FILE, any_lake, staged.recipe) == size


def test_staged_file_with_other_rows_than_it_states_is_refused(lake: Lake):
    put_raw(lake, MONTH)
    staged = stage(lake)
    path = lake.path(staging_keys(FILE, staged.recipe)[DATA])
    stated = {"nyc_taxi": parquet.read_metadata(path).metadata[b"nyc_taxi"]}
    parquet.write_table(parquet.read_table(path).slice(1).replace_schema_metadata(stated), path)

    with pytest.raises(CountMismatch, match="2 rows can be read, expected 3 accepted rows"):
        landing.check(FILE, lake, staged.recipe)


def test_staged_rows_are_checked_without_being_held_whole(lake: Lake):
    put_raw(lake, MONTH)
    staged = replace(stage(lake), rows_accepted=20 << 17)
    noise = pa.array(memoryview(os.urandom(staged.rows_accepted * 8)).cast("d"), pa.float64())
    parquet.write_table(
        pa.table({"noise": noise}, metadata={"nyc_taxi": json.dumps(asdict(staged))}),
        lake.path(staging_keys(FILE, staged.recipe)[DATA]),
        row_group_size=1 << 17,
        use_dictionary=False,
    )
    program = (
        "import sys, pyarrow as pa\n"
        "from include.nyc_taxi import TripFile, landing\n"
        "from include.nyc_taxi.lake import Lake\n"
        "landing.check(TripFile.parse(sys.argv[1]), Lake.at(sys.argv[2]), sys.argv[3])\n"
        "print(pa.default_memory_pool().max_memory())\n"
    )

    command = [sys.executable, "-c", program, FILE.name, lake.root, staged.recipe]
    held = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert held < 10 << 20


def test_preview_shows_the_first_accepted_rows(any_lake: Lake):
    put_raw(any_lake, MONTH)
    staged = stage(any_lake)

    assert landing.preview(FILE, any_lake, staged.recipe, 2)["trip_distance"].to_pylist() == [2.31, 2.31]


def test_nulls_are_counted_by_column(any_lake: Lake):
    put_raw(any_lake, MONTH)
    landing.land(FILE, any_lake, source="csv_mirror")

    nulls = landing.nulls(FILE, any_lake)

    assert (nulls["passenger_count"], nulls["pickup_datetime"], nulls["pickup_latitude"]) == (1, 0, 3)


def test_month_that_is_not_in_the_lake_must_be_landed_first(lake: Lake):
    with pytest.raises(NotInLake, match="land it first"):
        landing.whole(FILE, lake)


def test_raw_file_of_which_nothing_is_known_must_be_fetched_and_stays(any_lake: Lake):
    edition = put_raw(any_lake, MONTH)
    any_lake.delete("raw/csv_mirror/green/green_tripdata_2021-01.csv.gz.editions.json")

    with pytest.raises(NotInLake, match="fetch it first"):
        stage(any_lake)
    assert any_lake.read(edition.key) == MONTH


def test_landing_leaves_nothing_in_staging(lake: Lake):
    put_raw(lake, MONTH)

    landing.land(FILE, lake, source="csv_mirror")

    assert [path for path in files_in(lake) if ".staging" in path] == []
