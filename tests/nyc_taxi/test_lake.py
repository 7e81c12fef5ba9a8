import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from include.nyc_taxi import Month, TripFile
from include.nyc_taxi.errors import LakeUnavailable
from include.nyc_taxi.lake import Lake, data_key, edition_key, history_key, raw_key, rejects_key
from tests.nyc_taxi.trips import files_in

FILE = TripFile("green", Month(2021, 1))
KEY = data_key(FILE)


def put(lake: Lake, key: str, content: bytes) -> None:
    with lake.staged(key) as path:
        path.write_bytes(content)


def put_half(lake: Lake, key: str, content: bytes) -> None:
    with lake.staged(key) as path:
        path.write_bytes(content)
        raise RuntimeError("half way")


def put_on_a_full_disk(lake: Lake, key: str) -> None:
    with lake.staged(key) as path:
        path.symlink_to("/dev/full")
        path.write_bytes(b"new")


def content(lake: Lake, key: str) -> bytes:
    return lake.fs.cat_file(lake.path(key))


@pytest.fixture
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_keys_name_zone_service_and_month():
    assert raw_key(FILE, "official") == "raw/official/green/green_tripdata_2021-01.parquet"
    assert raw_key(FILE, "csv_mirror") == "raw/csv_mirror/green/green_tripdata_2021-01.csv.gz"
    assert data_key(FILE) == "data/green/green_tripdata_2021-01.parquet"
    assert rejects_key(FILE) == "rejects/green/green_tripdata_2021-01.parquet"


def test_editions_have_a_key_each_and_their_history_has_one():
    digest = "0123456789abcdef" * 4

    for source, suffix in (("official", ".parquet"), ("csv_mirror", ".csv.gz")):
        raw = f"raw/{source}/green/green_tripdata_2021-01"
        assert edition_key(f"{raw}{suffix}", digest) == f"{raw}.0123456789abcdef{suffix}"
        assert history_key(f"{raw}{suffix}") == f"{raw}{suffix}.editions.json"


@pytest.mark.parametrize("source", ["../../etc", "official'; drop table trips --", ""])
def test_key_of_an_unknown_source_is_refused(source: str):
    with pytest.raises(ValueError, match="is not one of"):
        raw_key(FILE, source)


def test_only_a_folder_is_local(any_lake: Lake, request: pytest.FixtureRequest):
    assert any_lake.is_local == (request.node.callspec.params["any_lake"] == "lake")


@pytest.mark.parametrize("address", ["{}/lake", "{}/lake/", "file://{}/lake"])
def test_path_and_file_url_name_the_same_lake(address: str, tmp_path: Path):
    lake = Lake.at(address.format(tmp_path))

    assert lake.is_local
    assert lake.path(KEY) == f"{tmp_path}/lake/{KEY}"
    assert lake.url(KEY) == f"file://{tmp_path}/lake/{KEY}"


def test_relative_path_is_below_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    put(Lake.at("my lake"), KEY, b"rows")

    assert (tmp_path / "my lake" / KEY).read_bytes() == b"rows"


@pytest.mark.parametrize("url", ["abfs://trips/lake", "memory://lake", "github://nyc:taxi@main/lake"])
def test_lake_of_another_protocol_is_refused_by_name(url: str):
    with pytest.raises(ValueError, match=f"lake {url}: expected file:///, gs:// or s3://"):
        Lake.at(url)


def test_file_system_of_another_protocol_is_refused_by_name():
    with pytest.raises(ValueError, match="lake memory://trips/lake: expected file:///, gs:// or s3://"):
        Lake(MemoryFileSystem(), "/trips/lake")


def test_listing_has_a_stamp_for_each_key_of_the_zone(any_lake: Lake):
    before = datetime.now(UTC) - timedelta(seconds=1)
    put(any_lake, KEY, b"rows")
    put(any_lake, rejects_key(FILE), b"rejected")

    listed = any_lake.listed("data")

    assert list(listed) == [KEY]
    assert listed[KEY].bytes == 4
    assert before <= listed[KEY].changed_at <= datetime.now(UTC) + timedelta(seconds=1)


def test_stamp_changes_with_the_bytes_only(any_lake: Lake):
    put(any_lake, KEY, b"rows")
    first = any_lake.listed("data")

    assert any_lake.listed("data") == first
    put(any_lake, KEY, b"wors")
    assert any_lake.listed("data") != first


def test_zone_without_objects_lists_nothing(any_lake: Lake):
    assert any_lake.listed("data") == {}


def test_object_appears_when_its_block_ends(any_lake: Lake):
    with any_lake.staged(KEY) as path:
        path.write_bytes(b"rows")
        assert any_lake.size(KEY) is None

    assert content(any_lake, KEY) == b"rows"
    assert any_lake.size(KEY) == 4


def test_object_is_replaced_when_its_block_ends(any_lake: Lake):
    put(any_lake, KEY, b"old")

    with any_lake.staged(KEY) as path:
        path.write_bytes(b"new rows")
        assert content(any_lake, KEY) == b"old"

    assert content(any_lake, KEY) == b"new rows"


def test_open_file_keeps_the_old_bytes_while_the_object_is_replaced(lake: Lake):
    put(lake, KEY, b"old")

    with lake.local(KEY) as path, path.open("rb") as reader:
        put(lake, KEY, b"new")

        assert reader.read() == b"old"


def test_failed_block_leaves_the_old_object_and_nothing_else(any_lake: Lake, own_temporary_folder: Path):
    put(any_lake, KEY, b"old")

    with pytest.raises(RuntimeError, match="half way"):
        put_half(any_lake, KEY, b"new")

    assert content(any_lake, KEY) == b"old"
    assert not any(own_temporary_folder.iterdir())


def test_full_disk_is_reported_with_the_place(any_lake: Lake):
    put(any_lake, KEY, b"old")

    with pytest.raises(LakeUnavailable, match=rf"{KEY}: no space is left in /.*: .*No space left"):
        put_on_a_full_disk(any_lake, KEY)

    assert content(any_lake, KEY) == b"old"


def test_failed_first_block_leaves_no_file(lake: Lake):
    with pytest.raises(RuntimeError, match="half way"):
        put_half(lake, KEY, b"rows")

    assert files_in(lake) == []


def test_two_blocks_for_one_object_do_not_meet(any_lake: Lake):
    with any_lake.staged(KEY) as first, any_lake.staged(KEY) as second:
        first.write_bytes(b"first")
        second.write_bytes(b"second")

    assert content(any_lake, KEY) == b"first"


def leave_parts(folder: Path, prefix: str = "") -> None:
    for name, hours in (("yesterday", 25), ("today", 23)):
        left = folder / f"{prefix}{name}"
        left.mkdir(parents=True)
        (left / "part").write_bytes(b"rows")
        os.utime(left, (time() - hours * 3600,) * 2)


def test_folder_that_a_killed_process_staged_is_deleted_after_a_day(lake: Lake):
    staging = Path(lake.root) / ".staging"
    leave_parts(staging)

    put(lake, KEY, b"rows")

    assert [path.name for path in staging.iterdir()] == ["today"]


def test_copy_that_a_killed_process_had_of_a_bucket_is_deleted_after_a_day(
    any_bucket: Lake, own_temporary_folder: Path
):
    leave_parts(own_temporary_folder, "nyc-taxi-lake-")
    leave_parts(own_temporary_folder, "of-others-")

    put(any_bucket, KEY, b"rows")

    left = sorted(path.name for path in own_temporary_folder.iterdir())
    assert left == ["nyc-taxi-lake-today", "of-others-today", "of-others-yesterday"]


def test_local_file_has_the_objects_bytes_for_its_block(any_lake: Lake, own_temporary_folder: Path):
    put(any_lake, KEY, b"rows")

    with any_lake.local(KEY) as path:
        assert path.read_bytes() == b"rows"
        assert path.name == "green_tripdata_2021-01.parquet"

    assert path.exists() == any_lake.is_local
    assert not any(own_temporary_folder.iterdir())


def test_local_lake_gives_the_object_itself(lake: Lake):
    put(lake, KEY, b"rows")

    with lake.local(KEY) as path:
        assert str(path) == lake.path(KEY)


def test_object_that_is_not_there_has_no_size(any_lake: Lake):
    assert any_lake.size(KEY) is None
