"""Every row of a raw file lands in data/ or in rejects/, with its values and its reason."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from devtools.generator import write_month
from include.nyc_taxi import landing, quality
from include.nyc_taxi.errors import SchemaMismatch
from include.nyc_taxi.lake import Lake
from include.nyc_taxi.reading import arrow_schema
from tests.nyc_taxi.landing.landed import DATA, MONTH, REJECTS, assert_lies_there, land, table
from tests.nyc_taxi.trips import FILE, TRIP, csv_gz, put_raw, trip, write_parquet


def test_every_row_lands_in_data_or_in_rejects_with_its_reason(any_lake: Lake):
    put_raw(any_lake, MONTH)

    result = land(any_lake)

    assert_lies_there(any_lake, result)
    assert (result.rows_read, result.rows_accepted, result.rows_rejected) == (5, 3, 2)
    assert result.rejected_by_reason == {"no_passengers": 2}
    assert (result.without_passengers_read, result.without_passengers_kept) == (2, 0)
    assert table(any_lake, DATA)["passenger_count"].to_pylist() == [1, None, 1]
    assert table(any_lake, DATA)["trip_distance"].to_pylist() == [2.31, 2.31, 259_777.5]
    assert (
        table(any_lake, REJECTS).select(["passenger_count", "reason"]).to_pylist()
        == [{"passenger_count": 0, "reason": "no_passengers"}] * 2
    )


@pytest.mark.parametrize(
    ("profile", "reasons"),
    [("none", {}), ("notes", {"no_passengers": 2}), ("strict", {"no_passengers": 2, "absurd_distance": 1})],
)
def test_profile_decides_what_is_rejected(lake: Lake, profile: str, reasons: dict[str, int]):
    put_raw(lake, MONTH)

    result = land(lake, profile=profile)

    assert_lies_there(lake, result)
    assert result.rejected_by_reason == reasons
    assert result.rows_read == 5
    assert result.without_passengers_kept == (2 if profile == "none" else 0)


@pytest.mark.parametrize("source", ["official", "csv_mirror"])
def test_reversal_stays_with_its_charge_and_a_lone_negative_is_rejected(lake: Lake, source: str, tmp_path: Path):
    paid_back, lone = trip(total_amount=-18.51), trip(total_amount=-6.55)
    others = [trip(total_amount=float(row)) for row in range(1, 70_000)]  # the pair is in two batches
    rows = [paid_back, lone, *others, TRIP]
    content = csv_gz(rows) if source == "csv_mirror" else write_parquet(tmp_path / "file", rows).read_bytes()
    put_raw(lake, content, source=source)

    strict = land(lake, source=source, profile="strict")

    assert_lies_there(lake, strict)
    assert strict.rejected_by_reason == {"absurd_amount": 64_999, "lone_negative_amount": 1}
    assert strict.rule_hits == strict.rejected_by_reason | {"negative_amount": 2}
    kept = table(lake, DATA)["total_amount"].to_pylist()
    assert (kept[0], kept[-1], min(kept[1:])) == (-18.51, 18.51, 1.0)
    assert table(lake, REJECTS)["total_amount"].to_pylist().count(-6.55) == 1
    assert land(lake, source=source).rule_hits == {"absurd_amount": 64_999, "negative_amount": 2}


@pytest.mark.parametrize("profile", ["none", "strict"])
def test_row_with_a_value_that_does_not_fit_is_rejected_with_it_by_any_profile(lake: Lake, profile: str):
    put_raw(lake, csv_gz([TRIP] * 1_200 + [trip(passenger_count=40_000, RatecodeID=98)] + [TRIP] * 1_200))

    result = land(lake, profile=profile)

    assert_lies_there(lake, result)
    assert (result.rows_read, result.rejected_by_reason) == (2_401, {"does_not_fit": 1})
    assert result.rule_hits == {"does_not_fit": 1}
    [row] = table(lake, REJECTS).to_pylist()
    assert (row["reason"], row["misfit"]) == ("does_not_fit", "column 'passenger_count': 40000.0")
    assert (row["passenger_count"], row["rate_code_id"]) == (None, 98)


def test_file_records_the_era_that_it_was_read_as(lake: Lake):
    put_raw(lake, csv_gz([trip(cbd_congestion_fee=0.75)]))

    assert land(lake).schema_era == "official-2025-01"


def test_files_have_the_services_schema(lake: Lake):
    put_raw(lake, MONTH)

    land(lake)

    assert table(lake, DATA).schema.equals(arrow_schema("green").append(pa.field("file_month", pa.date32())))
    assert set(table(lake, DATA)["file_month"].to_pylist()) == {date(2021, 1, 1)}
    assert table(lake, REJECTS).schema.equals(quality.rejects_schema(arrow_schema("green")))


def test_file_records_what_it_was_made_of(any_lake: Lake):
    edition = put_raw(any_lake, MONTH)

    result = land(any_lake, profile="strict")

    assert landing.landed(any_lake, FILE) == result
    assert (result.source, result.source_url, result.source_etag) == ("csv_mirror", edition.url, '"v1"')
    assert (result.source_sha256, result.source_bytes) == (edition.sha256, len(MONTH))
    assert (result.edition_number, result.source_last_modified) == (1, None)
    assert (result.schema_era, result.quality_profile) == ("csv_mirror-2019-01", "strict")


def test_unknown_columns_are_dropped_on_request(lake: Lake):
    put_raw(lake, csv_gz([trip(surprise=1)]))

    with pytest.raises(SchemaMismatch, match="surprise"):
        land(lake)
    result = land(lake, unknown_columns="drop")

    assert_lies_there(lake, result)
    assert result.rows_accepted == 1


@pytest.mark.parametrize("source", ["official", "csv_mirror"])
def test_file_of_many_row_groups_lands_with_the_counts_it_was_made_with(lake: Lake, source: str, tmp_path: Path):
    promised = write_month(FILE, tmp_path / "file", source=source, rows=200_000)
    put_raw(lake, (tmp_path / "file").read_bytes(), source=source)

    result = land(lake, source=source)

    assert_lies_there(lake, result)
    assert (result.rows_read, result.rows_rejected) == (promised.rows, promised.without_passengers)
    assert table(lake, DATA)["passenger_count"].null_count == promised.null_block
    assert parquet.read_metadata(lake.path(DATA)).num_row_groups > 1


def test_outcome_is_logged(lake: Lake, caplog: pytest.LogCaptureFixture):
    put_raw(lake, MONTH)

    with caplog.at_level("INFO"):
        land(lake)
        land(lake)

    landed, committed, repeated = (record.getMessage() for record in caplog.records)
    assert landed.startswith("green_tripdata_2021-01: accepted 3 of 5 rows in ")
    assert committed == f"green_tripdata_2021-01: committed to {lake.url(DATA)}"
    assert "rejected {'no_passengers': 2}" in landed
    assert repeated == "green_tripdata_2021-01: data/ is up to date with 3 rows"
