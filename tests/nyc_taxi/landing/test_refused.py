"""A file that cannot be landed is an error that names the reason, and data/ stays as it was."""

import gzip
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from include.nyc_taxi import editions, landing, quality
from include.nyc_taxi.errors import CountMismatch, DamagedFile, NotInLake, PermanentError, SchemaMismatch
from include.nyc_taxi.lake import Lake, raw_key, sha256_of
from tests.nyc_taxi.landing.landed import MONTH, assert_lies_there, land
from tests.nyc_taxi.trips import FILE, TRIP, csv_gz, csv_text, files_in, put_raw

RAW = raw_key(FILE, "csv_mirror")
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
    put_raw_csv(lake, "VendorID\n", "1\n")
    before = files_in(lake)

    with pytest.raises(SchemaMismatch):
        land(lake)

    assert files_in(lake) == before
    assert landing.landed(lake, FILE) is None


def test_damaged_raw_file_is_set_aside_and_the_first_landing_leaves_nothing(any_lake: Lake):
    put_raw_csv(any_lake, HEADER)
    [edition] = editions.history(any_lake, RAW).editions
    content = any_lake.read(edition.key)

    with pytest.raises(DamagedFile, match=r"no rows. It was set aside: the next run downloads it$"):
        land(any_lake)

    assert any_lake.size(edition.key) is None
    assert any_lake.read(f".damaged/{edition.key}") == content
    assert editions.history(any_lake, RAW).editions == (replace(edition, is_kept=False),)
    assert any_lake.listed("data") == any_lake.listed("rejects") == {}
    with pytest.raises(NotInLake, match=f"the bytes of edition {edition.id} are not kept: fetch it"):
        land(any_lake)


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


def test_file_that_is_not_in_raw_must_be_fetched_first(lake: Lake):
    with pytest.raises(PermanentError, match=r"raw/csv_mirror/green/green_tripdata_2021-01.csv.gz .*: fetch it first"):
        land(lake)


def test_raw_file_with_other_bytes_than_its_edition_is_set_aside_and_data_stays(any_lake: Lake):
    put_raw(any_lake, MONTH)
    first = land(any_lake)
    edition = put_raw(any_lake, csv_gz([TRIP]))
    with any_lake.staged(edition.key) as path:
        path.write_bytes(csv_gz([TRIP, TRIP]))

    with pytest.raises(DamagedFile, match=f"is not edition {edition.id}. It was set aside: the next run downloads it$"):
        land(any_lake)
    assert_lies_there(any_lake, first)
    assert any_lake.size(edition.key) is None


def test_edition_that_another_one_follows_while_it_is_read_lands_whole_and_the_other_after_it(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    first = put_raw(lake, MONTH)

    def hash_and_be_followed(path: Path) -> str:
        digest = sha256_of(path)
        put_raw(lake, csv_gz([TRIP]))
        return digest

    with monkeypatch.context() as patched:
        patched.setattr(landing, "sha256_of", hash_and_be_followed)
        landed = land(lake)

    assert (landed.source_sha256, landed.rows_read) == (first.sha256, 5)
    assert_lies_there(lake, landed)
    second = land(lake)
    assert (second.edition_number, second.rows_read) == (2, 1)
    assert_lies_there(lake, second)


@pytest.mark.parametrize("name", ["../../etc", "notes'; drop table trips --", ""])
@pytest.mark.parametrize("option", ["profile", "source"])
def test_unknown_names_are_refused(lake: Lake, option: str, name: str):
    put_raw(lake, MONTH)
    before = files_in(lake)

    with pytest.raises(ValueError, match="is not one of") as refusal:
        land(lake, **{option: name})

    assert repr(name) in str(refusal.value)
    assert files_in(lake) == before
