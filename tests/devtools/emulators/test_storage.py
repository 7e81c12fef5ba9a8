"""GCS: objects by Google's client and by gcsfs, as the lake uses them."""

import gcsfs
import pyarrow as pa
import pytest
from google.api_core import exceptions
from pyarrow import parquet


@pytest.fixture
def filesystem(place):
    endpoint = place.environment.get("STORAGE_EMULATOR_HOST")
    settings = {"endpoint_url": endpoint, "token": "anon"} if endpoint else {}
    return gcsfs.GCSFileSystem(project=place.project, skip_instance_cache=True, **settings)


def test_an_object_comes_back_with_its_checksum(bucket, prefix):
    blob = bucket.blob(f"{prefix}a folder/é.bin")
    blob.metadata = {"etag": "x"}
    blob.upload_from_string(b"\x00\xff" * 1000, checksum="crc32c")

    found = bucket.get_blob(blob.name)

    assert found.download_as_bytes(checksum="md5") == b"\x00\xff" * 1000
    assert (found.size, found.metadata, found.md5_hash) == (2000, {"etag": "x"}, blob.md5_hash)
    assert found.download_as_bytes(start=1, end=2) == b"\xff\x00"


def test_an_object_that_is_not_there_is_said(bucket, prefix):
    assert bucket.get_blob(f"{prefix}nothing") is None
    with pytest.raises(exceptions.NotFound):
        bucket.blob(f"{prefix}nothing").download_as_bytes()
    with pytest.raises(exceptions.NotFound):
        bucket.blob(f"{prefix}nothing").delete()


def test_a_wrong_checksum_is_refused(bucket, prefix):
    blob = bucket.blob(f"{prefix}x")
    blob.md5_hash = "1B2M2Y8AsgTpgAmY7PhCfg=="  # of nothing

    with pytest.raises(exceptions.BadRequest):
        blob.upload_from_string(b"something")

    assert not blob.exists()


def test_objects_are_listed_by_prefix_and_folder(bucket, prefix):
    for name in ("data/green/1", "data/green/2", "data/yellow/1"):
        bucket.blob(prefix + name).upload_from_string(b"")

    folders = bucket.list_blobs(prefix=f"{prefix}data/", delimiter="/")

    assert [blob.name for blob in bucket.list_blobs(prefix=f"{prefix}data/green/")] == [
        f"{prefix}data/green/1",
        f"{prefix}data/green/2",
    ]
    assert (list(folders), folders.prefixes) == ([], {f"{prefix}data/green/", f"{prefix}data/yellow/"})


def test_an_object_is_replaced_only_when_the_new_one_is_whole(bucket, prefix):
    bucket.blob(f"{prefix}x").upload_from_string(b"old")

    writer = bucket.blob(f"{prefix}x").open("wb", chunk_size=1 << 18)
    writer.write(b"n" * (1 << 19))
    seen = bucket.blob(f"{prefix}x").download_as_bytes()
    writer.close()

    assert seen == b"old"
    assert bucket.blob(f"{prefix}x").download_as_bytes() == b"n" * (1 << 19)


def test_parquet_travels_through_gcsfs(place, filesystem, prefix):
    path, table = f"{place.bucket}/{prefix}x.parquet", pa.table({"a": range(100_000)})
    with filesystem.open(path, "wb") as file:
        parquet.write_table(table, file)

    with filesystem.open(path, "rb") as file:
        assert parquet.read_table(file) == table
    assert filesystem.ls(f"{place.bucket}/{prefix}") == [path]

    filesystem.cp_file(path, f"{path}.new")
    filesystem.rm(path)
    assert filesystem.exists(f"{path}.new")
    assert not filesystem.exists(path)
