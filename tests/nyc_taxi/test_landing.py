"""A raw file lands whole, once, with every row in data/ or rejects/: repeated, interrupted, replaced, on any lake."""

import gzip
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from devtools.generator import Generated, write_month
from include.nyc_taxi import catalog, landing, quality
from include.nyc_taxi.errors import CountMismatch, DamagedFile, LakeChanged, PermanentError, SchemaMismatch
from include.nyc_taxi.lake import Lake, data_key, raw_key, rejects_key, sha256_of
from include.nyc_taxi.landing import Landed
from include.nyc_taxi.reading import arrow_schema
from tests.nyc_taxi.trips import FILE, TRIP, Row, csv_gz, csv_text, files_in, put_raw, trip, write_parquet

ROOT = Path(__file__).resolve().parents[2]
DATA, REJECTS = data_key(FILE), rejects_key(FILE)

NOBODY, UNKNOWN, FAR = trip(passenger_count=0), trip(passenger_count=None), trip(trip_distance=259_777.5)
MONTH = csv_gz([TRIP, NOBODY, UNKNOWN, FAR, NOBODY])


def land(lake: Lake, **options: object) -> Landed:
    return landing.land(FILE, lake, **{"source": "csv_mirror", **options})


def table(lake: Lake, key: str) -> pa.Table:
    with lake.fs.open(lake.path(key), "rb") as file:
        return parquet.read_table(file)


def content(lake: Lake, key: str) -> bytes:
    return lake.fs.cat_file(lake.path(key))


def identity(lake: Lake, key: str) -> tuple[int, int]:
    status = Path(lake.path(key)).stat()
    return status.st_ino, status.st_mtime_ns


def assert_lies_there(lake: Lake, result: Landed) -> None:
    """What data/ and rejects/ hold is what the result says."""
    assert landing.landed(lake, FILE) == result
    assert table(lake, DATA).num_rows == result.rows_accepted
    assert table(lake, REJECTS).num_rows == result.rows_rejected
    assert result.rows_accepted + result.rows_rejected == result.rows_read
    assert sum(result.rejected_by_reason.values()) == result.rows_rejected


# What lands


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
    others = [trip(total_amount=float(row)) for row in range(1, 70_000)]  # the pair lies in batches far apart
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


def test_era_that_a_file_was_really_taken_for_is_what_it_says(lake: Lake):
    put_raw(lake, csv_gz([trip(cbd_congestion_fee=0.75)]))

    assert land(lake).schema_era == "official-2025-01"


def test_files_have_the_services_schema(lake: Lake):
    put_raw(lake, MONTH)

    land(lake)

    assert table(lake, DATA).schema.equals(arrow_schema("green").append(pa.field("file_month", pa.date32())))
    assert set(table(lake, DATA)["file_month"].to_pylist()) == {date(2021, 1, 1)}
    assert table(lake, REJECTS).schema.equals(quality.rejects_schema(arrow_schema("green")))


def test_file_says_what_it_was_made_of(any_lake: Lake):
    manifest = put_raw(any_lake, MONTH)

    result = land(any_lake, profile="strict")

    assert landing.landed(any_lake, FILE) == result
    assert (result.source, result.source_url, result.source_etag) == ("csv_mirror", manifest.url, '"v1"')
    assert (result.source_sha256, result.source_bytes) == (manifest.sha256, len(MONTH))
    assert (result.schema_era, result.quality_profile) == ("csv_mirror-2019-01", "strict")


def test_unknown_columns_land_without_themselves_where_that_is_wanted(lake: Lake):
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


# Again


def test_what_lies_there_already_is_left_alone(lake: Lake):
    put_raw(lake, MONTH)
    first = land(lake)
    before = [identity(lake, key) for key in (DATA, REJECTS)]

    second = land(lake)

    assert second == first
    assert [identity(lake, key) for key in (DATA, REJECTS)] == before


def test_force_lands_again_what_lies_there(lake: Lake):
    put_raw(lake, MONTH)
    first = land(lake)
    before = [identity(lake, key) for key in (DATA, REJECTS)]

    second = land(lake, force=True)

    assert second == first
    assert not set(before) & {identity(lake, key) for key in (DATA, REJECTS)}


def test_raw_file_found_unchanged_is_no_news(lake: Lake):
    manifest = put_raw(lake, MONTH)
    land(lake)
    before = identity(lake, DATA)

    lake.write_manifest(raw_key(FILE, "csv_mirror"), replace(manifest, checked_at="2022-01-01"))
    land(lake)

    assert identity(lake, DATA) == before


def test_raw_file_published_anew_with_the_same_bytes_is_landed_with_its_new_etag(lake: Lake):
    manifest = put_raw(lake, MONTH)
    first = land(lake)

    lake.write_manifest(raw_key(FILE, "csv_mirror"), replace(manifest, etag='"v2"'))
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


def test_a_count_that_differs_from_the_known_one_is_said(lake: Lake, tmp_path: Path, caplog: pytest.LogCaptureFixture):
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
    """As two runs with different profiles leave it when one dies, or overtakes the other, between its two moves."""
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


# What does not land

HEADER = csv_text([TRIP]).splitlines()[0]


def put_raw_csv(lake: Lake, *lines: str) -> None:
    put_raw(lake, gzip.compress("".join(lines).encode()))


@pytest.mark.parametrize(
    ("lines", "error", "word"),
    [
        ([HEADER], DamagedFile, "the file has a header and no rows"),
        ([HEADER, "\n"], DamagedFile, "the file has a header and no rows"),
        ([HEADER, "\n\n"], DamagedFile, "the file has a header and no rows"),
        ([*csv_text([TRIP] * 20_000), "CMT,late\n"], SchemaMismatch, "row 20,001: Expected 20 columns, got 2"),
        (["VendorID\n", "1\n"], SchemaMismatch, "missing"),
    ],
    ids=["header", "header line", "blank line", "late misfit", "other columns"],
)
def test_file_that_cannot_be_landed_leaves_what_was_there(
    lake: Lake, lines: list[str], error: type[Exception], word: str
):
    put_raw(lake, MONTH)
    first = land(lake)
    put_raw_csv(lake, *lines)

    with pytest.raises(error, match=word):
        land(lake)

    assert_lies_there(lake, first)
    assert not any(Path(lake.root, ".staging").iterdir())


def test_first_landing_that_fails_leaves_nothing(lake: Lake):
    put_raw_csv(lake, HEADER)
    before = files_in(lake)

    with pytest.raises(DamagedFile):
        land(lake)

    assert files_in(lake) == before
    assert landing.landed(lake, FILE) is None


@pytest.mark.parametrize("profile", ["none", "notes"])
def test_row_that_gets_lost_on_the_way_is_noticed(lake: Lake, monkeypatch: pytest.MonkeyPatch, profile: str):
    put_raw(lake, MONTH)
    first = land(lake, profile="strict")
    whole_split = quality.split

    def split(*args: object) -> tuple[pa.RecordBatch, dict[str, pa.RecordBatch]]:
        accepted, rejected = whole_split(*args)
        return accepted.slice(1), rejected

    monkeypatch.setattr(quality, "split", split)

    with pytest.raises(CountMismatch, match=r"the file has 5 rows, but 5 were read, \d accepted and \d rejected$"):
        land(lake, profile=profile)
    assert_lies_there(lake, first)


def test_file_that_was_not_fetched_is_asked_for(lake: Lake):
    with pytest.raises(PermanentError, match=r"raw/csv_mirror/green/green_tripdata_2021-01.csv.gz .*: fetch it first"):
        land(lake)


def test_raw_file_that_is_not_what_its_manifest_says_is_being_replaced(any_lake: Lake):
    put_raw(any_lake, MONTH)
    first = land(any_lake)
    manifest = put_raw(any_lake, csv_gz([TRIP]))
    put_raw(any_lake, csv_gz([TRIP, TRIP]))
    any_lake.write_manifest(raw_key(FILE, "csv_mirror"), manifest)

    with pytest.raises(LakeChanged, match="is not what its manifest describes"):
        land(any_lake)
    assert_lies_there(any_lake, first)


def test_raw_file_that_another_run_replaces_while_it_is_read_is_not_landed(lake: Lake, monkeypatch: pytest.MonkeyPatch):
    put_raw(lake, MONTH)

    def hash_and_be_replaced(path: Path) -> str:
        digest = sha256_of(path)
        put_raw(lake, csv_gz([TRIP]))
        return digest

    monkeypatch.setattr(landing, "sha256_of", hash_and_be_replaced)

    with pytest.raises(LakeChanged, match=r"another run replaced .* while this run read it"):
        land(lake)
    assert landing.landed(lake, FILE) is None


@pytest.mark.parametrize("name", ["../../etc", "notes'; drop table trips --", ""])
@pytest.mark.parametrize("option", ["profile", "source"])
def test_unknown_names_are_refused(lake: Lake, option: str, name: str):
    put_raw(lake, MONTH)
    before = files_in(lake)

    with pytest.raises(ValueError, match="is not one of") as refusal:
        land(lake, **{option: name})

    assert repr(name) in str(refusal.value)
    assert files_in(lake) == before


# Killed, and watched

KILLED = """
import os, signal, sys
from pathlib import Path
from include.nyc_taxi import TripFile, landing, quality
from include.nyc_taxi.lake import Lake

def die(*_): os.kill(os.getpid(), signal.SIGKILL)
def later(number, do, calls=[]): return lambda *args: die() if calls.append(0) or len(calls) == number else do(*args)

{}
landing.land(TripFile.parse(sys.argv[2]), Lake.at(sys.argv[1]), profile="notes", force=True)
"""


@pytest.fixture(scope="module")
def big_month(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Generated]:
    path = tmp_path_factory.mktemp("big") / "file"
    promised = write_month(FILE, path, rows=200_000)
    return path.read_bytes(), promised


@pytest.mark.parametrize(
    "moment",
    [
        "quality.split = later(3, quality.split)",
        "Path.replace = later(1, Path.replace)",
        "Path.replace = later(2, Path.replace)",
        "Path.replace = later(3, Path.replace)",
        "Path.replace = later(4, Path.replace)",
    ],
    ids=[
        "while it writes",
        "before both are staged",
        "between both",
        "before both are committed",
        "between both moves",
    ],
)
def test_killed_landing_leaves_whole_data_and_the_next_one_is_right(
    lake: Lake, big_month: tuple[bytes, Generated], moment: str
):
    raw, promised = big_month
    put_raw(lake, raw, source="official")
    landing.land(FILE, lake, profile="none")
    old = content(lake, DATA)

    command = [sys.executable, "-c", KILLED.format(moment), lake.root, FILE.name]
    killed = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)

    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert content(lake, DATA) == old
    for profile, rejected in (("none", 0), ("notes", promised.without_passengers)):
        result = landing.land(FILE, lake, profile=profile)
        assert_lies_there(lake, result)
        assert (result.rows_read, result.rows_rejected) == (promised.rows, rejected)


def test_reader_sees_the_old_or_the_new_month_whole(lake: Lake):
    put_raw(lake, MONTH)
    land(lake)
    has_ended = Event()

    def read_until_the_end() -> set[int]:
        seen = set()
        while not has_ended.is_set():
            with parquet.ParquetFile(lake.path(DATA)) as file:
                promised = json.loads(file.metadata.metadata[b"nyc_taxi"])["rows_accepted"]
                assert file.read().num_rows == promised
                seen.add(promised)
                if len(seen) == 2:
                    both_were_seen.set()
        return seen

    both_were_seen = Event()
    with ThreadPoolExecutor() as threads:
        reader = threads.submit(read_until_the_end)
        for profile in islice(cycle(["none", "notes"]), 1_000):
            land(lake, profile=profile)
            if both_were_seen.is_set() or reader.done():
                break
        has_ended.set()

    assert reader.result() == {3, 5}


def test_two_landings_of_one_month_at_once_leave_one_month(lake: Lake):
    put_raw(lake, MONTH)

    with ThreadPoolExecutor() as threads:
        first, second = threads.map(lambda _: land(lake, force=True), range(2))

    assert first == second
    assert_lies_there(lake, first)


# Any rows

IDS = st.none() | st.integers(-(2**15), 2**15 - 1)
AMOUNTS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2999, 12, 31)).map(lambda time: time.replace(fold=0))
# In CSV, a value with a line end and a comma is taken for swallowed rows.
WORDS = st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).filter(
    lambda word: not {"\n", ","} <= set(word)
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "VendorID": IDS,
            "lpep_pickup_datetime": TIMES,
            "lpep_dropoff_datetime": TIMES,
            "store_and_fwd_flag": WORDS,
            "passenger_count": st.sampled_from([0, None]) | IDS,
            "PULocationID": IDS,
            "trip_distance": AMOUNTS,
            "total_amount": AMOUNTS,
        }
    ).map(lambda values: trip(**values)),
    min_size=1,
    max_size=8,
)
FLAGS = catalog.service("green").column_published_as("store_and_fwd_flag").codes
CANONICAL = {
    "VendorID": "vendor_id",
    "lpep_pickup_datetime": "pickup_datetime",
    "lpep_dropoff_datetime": "dropoff_datetime",
    "PULocationID": "pickup_location_id",
}


@settings(max_examples=25, deadline=None)
@example(rows=[trip(store_and_fwd_flag="\r")], source="csv_mirror", profile="none")
@example(rows=[trip(store_and_fwd_flag="\r")], source="official", profile="none")
@example(rows=[trip(store_and_fwd_flag=" \u2003y\n")], source="csv_mirror", profile="none")
@given(rows=ROWS, source=st.sampled_from(["official", "csv_mirror"]), profile=st.sampled_from(list(quality.PROFILES)))
def test_whatever_the_rows_each_lands_once_and_with_its_values(rows: list[Row], source: str, profile: str):
    with TemporaryDirectory() as folder:
        lake = Lake.at(folder)
        official = source == "official"
        published = write_parquet(Path(folder) / "published", rows).read_bytes() if official else csv_gz(rows, "\r\n")
        put_raw(lake, published, source=source)

        result = land(lake, source=source, profile=profile)

        assert_lies_there(lake, result)
        assert result.rows_read == len(rows)
        accepted, rejected = table(lake, DATA).to_pylist(), table(lake, REJECTS).to_pylist()
        assert _sorted(accepted + rejected) == _sorted(map(_read_as, rows))
        assert profile == "none" or all(row["passenger_count"] != 0 for row in accepted)
        assert profile == "strict" or all(row["passenger_count"] == 0 for row in rejected)


def _read_as(row: Row) -> Row:
    """The drawn values under their canonical names, and the flag as what the catalogue says that it stands for."""
    flag = row["store_and_fwd_flag"]
    if flag is not None:
        flag = FLAGS.get(flag.strip().lower(), flag) or None
    names = ["VendorID", "lpep_pickup_datetime", "lpep_dropoff_datetime", "PULocationID"]
    names += ["passenger_count", "trip_distance", "total_amount"]
    return {CANONICAL.get(name, name): row[name] for name in names} | {"store_and_fwd_flag": flag}


def _sorted(rows: object) -> list[str]:
    """Rows by the columns that were drawn, in an order of their own."""
    drawn = sorted(_read_as(TRIP))
    return sorted(repr([row[name] for name in drawn]) for row in rows)
