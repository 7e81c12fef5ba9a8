"""A lake in a bucket: an object is visible only when it is complete, with the bytes that were sent."""

import tempfile
from datetime import timedelta
from pathlib import Path

import pytest

from include.nyc_taxi import Month, TripFile
from include.nyc_taxi.errors import LakeUnavailable
from include.nyc_taxi.lake import Lake, data_key

KEY = data_key(TripFile("green", Month(2021, 1)))
MORE_THAN_ONE_CHUNK = b"trips" * 3_000_000


def put(lake: Lake, content: bytes) -> None:
    with lake.staged(KEY) as path:
        path.write_bytes(content)


def content(lake: Lake) -> bytes:
    with lake.open(KEY) as file:
        return file.read()


def objects(lake: Lake) -> list[str]:
    return sorted(path.removeprefix(f"{lake.root}/") for path in lake.fs.find(lake.root))


@pytest.mark.filterwarnings("ignore:Sending a large body")  # gcsfs sends a chunk as one body
@pytest.mark.parametrize("rows", [b"rows", MORE_THAN_ONE_CHUNK], ids=["one request", "resumable"])
def test_object_appears_whole_and_nothing_else_stays(bucket: Lake, rows: bytes):
    put(bucket, rows)

    assert content(bucket) == rows
    assert objects(bucket) == [KEY]


def test_upload_that_is_cut_leaves_the_old_object(bucket: Lake, monkeypatch: pytest.MonkeyPatch):
    put(bucket, b"old rows")
    whole = bucket.fs.put_file

    def cut(local: str, remote: str) -> None:
        Path(local).write_bytes(Path(local).read_bytes()[:4])
        whole(local, remote)
        Path(local).write_bytes(b"new rows")

    monkeypatch.setattr(bucket.fs, "put_file", cut)

    with pytest.raises(LakeUnavailable, match=r"\(4, .* in the bucket, expected \(8, "):
        put(bucket, b"new rows")
    assert content(bucket) == b"old rows"


def test_upload_that_arrives_as_other_bytes_leaves_the_old_object(bucket: Lake, monkeypatch: pytest.MonkeyPatch):
    put(bucket, b"old rows")
    monkeypatch.setattr(bucket.fs, "put_file", lambda _, remote: bucket.fs.pipe_file(remote, b"odd rows"))

    with pytest.raises(LakeUnavailable, match="size and md5 are"):
        put(bucket, b"new rows")
    assert content(bucket) == b"old rows"


def test_download_that_arrives_as_other_bytes_is_refused(bucket: Lake, monkeypatch: pytest.MonkeyPatch):
    put(bucket, b"rows")
    monkeypatch.setattr(bucket.fs, "get_file", lambda _, local: Path(local).write_bytes(b"odds"))

    with pytest.raises(LakeUnavailable, match="size and md5 are"), bucket.local(KEY):
        pytest.fail("a reader was given other bytes")


def test_killed_upload_is_deleted_after_a_day(bucket: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    bucket.fs.pipe_file(bucket.path(".staging/killed/part"), b"half")
    put(bucket, b"rows")
    assert objects(bucket) == [".staging/killed/part", KEY]

    modified = bucket.fs.modified
    monkeypatch.setattr(
        bucket.fs, "modified", lambda path: modified(path) - timedelta(hours=25 if path.endswith("killed/part") else 0)
    )
    put(bucket, b"rows")

    assert objects(bucket) == [KEY]


def test_object_moves_in_one_step(bucket: Lake):
    put(bucket, b"rows")

    bucket.move(KEY, "elsewhere")

    assert objects(bucket) == ["elsewhere"]


def test_missing_object_is_none_and_cannot_be_moved(bucket: Lake):
    assert bucket.size(KEY) is None
    with pytest.raises(FileNotFoundError):
        bucket.move(KEY, "elsewhere")
