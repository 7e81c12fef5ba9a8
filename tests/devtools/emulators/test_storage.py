"""GCS: objects through Google's client and through gcsfs, as the lake uses them."""

import gcsfs
import pyarrow as pa
import pytest
from google.api_core import exceptions
from google.cloud.storage.exceptions import InvalidResponse
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
    with pytest.raises(exceptions.NotFound, match="No such object"):  # words that Airflow's upload of logs looks for
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


# Preconditions: a write names the generation that it replaces; 0 stands for none.


@pytest.fixture
def put(bucket, prefix):
    """Writes an object, and returns it."""

    def put(content, name="x", **preconditions):
        blob = bucket.blob(prefix + name)
        blob.upload_from_string(content, **preconditions)
        return blob

    return put


def content(bucket, blob):
    return bucket.blob(blob.name).download_as_bytes()


def test_every_write_gives_an_object_a_higher_generation(bucket, put):
    generations = [put(content).generation for content in (b"1", b"2", b"2")]

    assert generations == sorted(set(generations))
    assert bucket.get_blob(put(b"3").name).generation > generations[-1]


def test_a_generation_is_that_of_the_end_of_an_upload_not_of_its_start(bucket, put, prefix):
    slow = bucket.blob(f"{prefix}x").open("wb", chunk_size=1 << 18)
    slow.write(b"s" * (1 << 19))
    fast = put(b"fast")

    slow.close()

    assert bucket.get_blob(fast.name).generation > fast.generation


def test_generation_zero_creates_an_object_and_replaces_none(bucket, put):
    first = put(b"first", if_generation_match=0)

    with pytest.raises(exceptions.PreconditionFailed, match="pre-conditions"):
        put(b"second", if_generation_match=0)

    assert content(bucket, first) == b"first"


def test_only_the_generation_that_is_named_is_replaced(bucket, put):
    first = put(b"first").generation
    second = put(b"second", if_generation_match=first)

    with pytest.raises(exceptions.PreconditionFailed):
        put(b"third", if_generation_match=first)

    assert content(bucket, second) == b"second"


def test_an_object_that_is_not_there_has_no_generation_to_match(bucket, put, prefix):
    with pytest.raises(exceptions.PreconditionFailed):
        put(b"x", if_generation_match=1)

    assert bucket.get_blob(f"{prefix}x") is None


def test_of_two_resumable_uploads_from_one_generation_the_first_to_end_wins(bucket, put):
    before = put(b"before")
    writers = [
        bucket.blob(before.name).open("wb", chunk_size=1 << 18, if_generation_match=before.generation) for _ in range(2)
    ]
    for writer, letter in zip(writers, (b"a", b"b"), strict=True):
        writer.write(letter * (1 << 19))
    writers[1].close()

    with pytest.raises(InvalidResponse, match="412"):
        writers[0].close()

    assert content(bucket, before) == b"b" * (1 << 19)


def test_a_copy_asks_for_generations_of_both_ends(bucket, put, prefix):
    source, old, name = put(b"new", "source"), put(b"old", "target"), f"{prefix}target"

    for wrong in ({"if_generation_match": 0}, {"if_source_generation_match": old.generation}):
        with pytest.raises(exceptions.PreconditionFailed):
            bucket.copy_blob(source, bucket, name, **wrong)
    assert content(bucket, old) == b"old"
    bucket.copy_blob(
        source, bucket, name, if_generation_match=old.generation, if_source_generation_match=source.generation
    )

    assert content(bucket, old) == b"new"


def test_a_rewrite_asks_for_the_generation_that_it_replaces(bucket, put):
    source, old = put(b"new", "source"), put(b"old", "target")

    with pytest.raises(exceptions.PreconditionFailed):
        old.rewrite(source, if_generation_match=0)
    old.rewrite(source, if_generation_match=old.generation)

    assert content(bucket, old) == b"new"


def test_a_compose_asks_for_the_generation_that_it_replaces(bucket, put):
    parts, whole = [put(b"a", "a"), put(b"b", "b")], put(b"old", "whole")

    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob(whole.name).compose(parts, if_generation_match=0)
    bucket.blob(whole.name).compose(parts, if_generation_match=whole.generation)

    assert content(bucket, whole) == b"ab"


def test_only_the_generation_that_is_named_is_deleted(bucket, put):
    first, second = put(b"1").generation, put(b"2")

    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob(second.name).delete(if_generation_match=first)
    assert second.exists()
    bucket.blob(second.name).delete(if_generation_match=second.generation)

    assert not second.exists()


def test_a_reader_gets_the_generation_that_it_asks_for_or_none(bucket, put):
    first, second = put(b"1").generation, put(b"2")

    assert second.download_as_bytes(if_generation_match=second.generation) == b"2"
    with pytest.raises(exceptions.PreconditionFailed):
        second.download_as_bytes(if_generation_match=first)
    with pytest.raises(exceptions.NotFound):
        bucket.blob(second.name, generation=first).download_as_bytes()


def test_gcsfs_creates_an_object_and_replaces_none(place, filesystem, prefix):
    path = f"{place.bucket}/{prefix}x"
    filesystem.pipe_file(path, b"first", mode="create")

    with pytest.raises(FileExistsError):
        filesystem.pipe_file(path, b"second", mode="create")

    assert filesystem.cat_file(path) == b"first"
