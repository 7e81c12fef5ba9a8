"""No damaged byte of data/ or rejects/ is read as another value: the file is set aside, and lands again."""

import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from devtools.faults.damage import KINDS, flipped, places
from include.nyc_taxi import landing, seal
from include.nyc_taxi.errors import DamagedData, LakeChanged, NotInLake, TransientError
from include.nyc_taxi.lake import Lake, staging_keys
from tests.nyc_taxi.landing.landed import DATA, MONTH, REJECTS, assert_lies_there, content, land
from tests.nyc_taxi.trips import FILE, put_raw


@pytest.fixture
def landed(any_lake: Lake) -> Lake:
    """A lake with a landed month."""
    put_raw(any_lake, MONTH)
    land(any_lake)
    return any_lake


def put(lake: Lake, key: str, content: bytes) -> None:
    with lake.staged(key) as path:
        path.write_bytes(content)


def read(lake: Lake, key: str) -> tuple[pa.Table, landing.Landed | None]:
    with seal.intact(lake, key) as opened, landing.reader(opened) as data:
        return data.read(), landing.described(data)


def test_every_flipped_byte_is_found_or_changes_nothing(lake: Lake):
    put_raw(lake, MONTH)
    land(lake)
    for key in (DATA, REJECTS):
        whole, values = content(lake, key), read(lake, key)
        path, name = Path(lake.path(key)), whole.rindex(b"nyc_taxi_sha256")
        unnoticed = []

        for at in range(0, len(whole), 5):
            path.write_bytes(flipped(whole, at, 1 << at % 8))
            try:
                assert read(lake, key) == values, at
                unnoticed.append(at)
            except DamagedData:
                assert not path.exists()

        # Without the name of its digest, a file is one of an earlier version; its values are as they were.
        assert set(unnoticed) <= set(range(name, name + 17))
        path.write_bytes(whole)
        assert read(lake, key) == values


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_data_is_named_and_set_aside_and_lands_again(landed: Lake, kind: str):
    whole, before = content(landed, DATA), landing.landed(landed, FILE)
    damaged = flipped(whole, places(whole)[kind])
    put(landed, DATA, damaged)

    with pytest.raises(DamagedData, match=f"{DATA} was damaged: .* It was moved to .*.damaged/{DATA}: the next run"):
        landing.check(FILE, landed, before.recipe)

    assert landed.size(DATA) is None
    assert landed.read(f".damaged/{DATA}") == damaged
    assert landing.landed(landed, FILE) is None
    with pytest.raises(NotInLake, match="land it first"):
        landing.whole(FILE, landed)
    again = land(landed)
    assert again == before
    assert_lies_there(landed, again)
    assert landing.check(FILE, landed, before.recipe) == len(content(landed, DATA))


@pytest.mark.parametrize("kind", ["start of the footer", "description", "last magic"])
@pytest.mark.parametrize("key", [DATA, REJECTS])
def test_damage_is_not_taken_for_another_run_that_lands_the_month(landed: Lake, key: str, kind: str):
    whole, before = content(landed, key), landing.landed(landed, FILE)
    put(landed, key, flipped(whole, places(whole)[kind]))

    assert landing.landed(landed, FILE) is None
    with pytest.raises(DamagedData, match=f"{key} was damaged: .*: the next run lands it again"):
        landing.whole(FILE, landed)

    assert landed.size(key) is None
    assert land(landed) == before
    assert landing.whole(FILE, landed) == before


def test_data_between_two_moves_of_another_run_is_not_damaged(landed: Lake):
    data = content(landed, DATA)
    land(landed, profile="none")
    put(landed, DATA, data)

    with pytest.raises(LakeChanged, match="another run is landing it"):
        landing.whole(FILE, landed)
    assert landed.read(DATA) == data


def test_damaged_staged_rows_are_set_aside_and_staged_again(landed: Lake):
    staged = landing.stage(FILE, landed, source="csv_mirror", profile="strict")
    key = staging_keys(FILE, staged.recipe)[DATA]
    whole = landed.read(key)
    put(landed, key, flipped(whole, places(whole)["values of a page"]))

    with pytest.raises(DamagedData, match=f"{key} was damaged"):
        landing.check(FILE, landed, staged.recipe)

    assert landed.size(key) is None
    assert landing.stage(FILE, landed, source="csv_mirror", profile="strict") == staged
    assert landing.check(FILE, landed, staged.recipe) == landed.size(key)


@pytest.mark.parametrize("cut", [0, 1, 4, 12, 1_000])
def test_cut_data_is_damaged(lake: Lake, cut: int):
    put_raw(lake, MONTH)
    recipe = land(lake).recipe
    os.truncate(lake.path(DATA), cut)

    with pytest.raises(DamagedData):
        landing.check(FILE, lake, recipe)
    assert land(lake).recipe == recipe


def test_file_that_another_run_has_replaced_meanwhile_is_not_set_aside(lake: Lake):
    put_raw(lake, MONTH)
    land(lake)
    whole = content(lake, DATA)

    class Faster(Lake):
        """Another run lands the month just before the damaged file is moved away."""

        def set_aside(self, key: str, *state: object) -> str:
            put(lake, key, whole)
            return super().set_aside(key, *state)

    put(lake, DATA, flipped(whole, 100))

    with (
        pytest.raises(DamagedData, match=f"{DATA} was damaged: .*. Another run has replaced it meanwhile$"),
        seal.intact(Faster(None, lake.root), DATA),
    ):
        pytest.fail("damaged bytes were given")
    assert content(lake, DATA) == whole


def test_error_of_the_disk_is_no_damage(lake: Lake):
    put_raw(lake, MONTH)
    land(lake)

    with pytest.raises(OSError, match="Input/output error"), seal.intact(lake, DATA):
        raise OSError(errno.EIO, "Input/output error")

    assert lake.size(DATA) is not None


def test_file_that_is_not_there_is_no_damage(any_lake: Lake):
    with pytest.raises(FileNotFoundError), seal.intact(any_lake, DATA):
        pytest.fail("there is no such file")


@pytest.mark.parametrize("has_checksums", [False, True])
def test_file_of_an_earlier_version_is_read_and_its_damaged_pages_are_found(lake: Lake, *, has_checksums: bool):
    Path(lake.path(DATA)).parent.mkdir(parents=True)
    table = pa.table({"trip_distance": [float(row) for row in range(1_000)]})
    parquet.write_table(table, lake.path(DATA), write_page_checksum=has_checksums, compression="none")
    with seal.intact(lake, DATA) as opened:
        assert landing.reader(opened).read() == table

    put(lake, DATA, flipped(content(lake, DATA), 2_000))

    if has_checksums:
        with pytest.raises(DamagedData, match="CRC checksum verification failed"), seal.intact(lake, DATA) as opened:
            landing.reader(opened).read()
        assert lake.size(DATA) is None


def test_file_without_a_place_for_its_digest_is_not_sealed(tmp_path: Path):
    parquet.write_table(pa.table({"a": [1]}), tmp_path / "file")
    before = (tmp_path / "file").read_bytes()

    with pytest.raises(ValueError, match="found no metadata for its digest, expected"):
        seal.seal(tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == before


def test_damaged_data_is_worth_another_try():
    assert issubclass(DamagedData, TransientError)
