"""A lake in S3: what its server must be able to do, and what only this kind of place does."""

import io
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from devtools.servers.s3 import LocalS3
from include.nyc_taxi import faults, landing
from include.nyc_taxi.errors import LakeChanged, LakeUnavailable, SetUpError
from include.nyc_taxi.lake import Lake, data_key, rejects_key
from include.nyc_taxi.lake import s3 as store
from tests.nyc_taxi.trips import FILE, TRIP, put_raw, write_parquet

ROOT = Path(__file__).resolve().parents[2]
KEY = "data/green/file"
KILLED = """
import os, signal, sys
from include.nyc_taxi import TripFile, landing
from include.nyc_taxi.lake import Lake
from include.nyc_taxi.lake.s3 import S3

uploads, put = [], S3._put
def put_or_die(store, body, key, *args):
    if key.startswith((".staging/green", "data/", "rejects/")):
        uploads.append(key)
    if len(uploads) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return put(store, body, key, *args)
S3._put = put_or_die
landing.land(TripFile.parse(sys.argv[3]), Lake.at(sys.argv[1]), profile="notes", force=True)
"""
WITHOUT_BOTO3 = """
import sys
sys.modules["boto3"] = None
from include.nyc_taxi import lake
lake.open("s3://trips/lake")
"""


def put(lake: Lake, content: bytes, key: str = KEY) -> None:
    with lake.staged(key) as path:
        path.write_bytes(content)


def put_on_condition(lake: Lake) -> None:
    with lake.staged(KEY, None) as path:
        path.write_bytes(b"rows")


def objects(lake: Lake) -> dict[str, int]:
    """Every object under the lake's root with its size, as the server has it."""
    found = lake.fs.entries(f"{lake.root}/")
    return {f"{entry['Bucket']}/{entry['Key']}".removeprefix(f"{lake.root}/"): entry["Size"] for entry in found}


# What the server must be able to do


@pytest.mark.parametrize(
    ("ignored", "said"), [("If-Match", "If-Match on a key without an object"), ("If-None-Match", "If-None-Match")]
)
def test_server_that_ignores_a_condition_of_uploads_is_refused_by_name(s3: Lake, ignored: str, said: str):
    with LocalS3(ignored=[("PUT", ignored)]) as server:
        lake = server.lake(s3.root)
        put(lake, b"first")  # without a condition nothing is asked of it

        with pytest.raises(SetUpError, match=f"the S3 server at {server.url} ignores {said} when an object is put"):
            lake.check()
        with pytest.raises(SetUpError, match=f"ignores {said}"):
            put_on_condition(lake)

    assert objects(s3) == {KEY: 5}


def test_server_that_knows_the_conditions_is_asked_once(s3: Lake, monkeypatch: pytest.MonkeyPatch):
    s3.check()
    assert objects(s3) == {}
    monkeypatch.setattr(s3.fs.client, "put_object", lambda **_: pytest.fail("it was asked again"))

    s3.check()


def test_server_that_ignores_the_condition_of_a_deletion_keeps_an_empty_object_that_counts_as_deleted(s3: Lake):
    with LocalS3(ignored=[("DELETE", "If-Match")]) as server:
        lake = server.lake(s3.root)
        put(lake, b"first")

        lake.delete(KEY, lake.stamp(KEY))

        assert objects(lake) == {KEY: 0}
        assert (lake.stamp(KEY), lake.read(KEY), lake.listed("data")) == (None, None, {})
        with pytest.raises(FileNotFoundError):
            lake.open(KEY)
        with pytest.raises(FileNotFoundError):
            lake.move(KEY, "elsewhere")
        put_on_condition(lake)
        assert lake.read(KEY) == b"rows"


def test_server_that_knows_the_condition_of_a_deletion_removes_the_object(s3: Lake):
    put(s3, b"first")

    s3.delete(KEY, s3.stamp(KEY))

    assert objects(s3) == {}


def test_what_another_run_writes_while_an_object_is_deleted_stays(s3: Lake, monkeypatch: pytest.MonkeyPatch):
    put(s3, b"first")
    seen, remove = s3.stamp(KEY), s3._store._remove

    def write_first(key: str, etag: str) -> None:
        put_on_condition(s3)
        remove(key, etag)

    monkeypatch.setattr(s3._store, "_remove", write_first)
    s3.delete(KEY, seen)

    assert s3.read(KEY) == b"rows"


# Whole objects


def test_an_empty_file_is_refused_as_it_would_count_as_deleted(s3: Lake):
    with pytest.raises(ValueError, match=f"{KEY}: found an empty file; expected bytes"):
        put(s3, b"")


def test_bytes_that_arrive_as_others_are_refused_and_the_old_object_stays(s3: Lake):
    put(s3, b"old rows")

    def change(request: Any, **_: object) -> None:
        request.body = io.BytesIO(b"odd rows")

    s3.fs.client.meta.events.register("before-send.s3.PutObject", change)
    with pytest.raises(LakeUnavailable, match="BadDigest"), faults.told("green"):
        put(s3, b"new rows")

    assert s3.read(KEY) == b"old rows"


def test_download_that_arrives_as_other_bytes_is_refused(s3: Lake):
    place = s3.fs.place_of(s3.path(KEY))
    s3.fs.client.put_object(**place, Body=b"odds", Metadata={store._MD5: "rL0Y20zC+Fzt72VPzMSk2A=="})

    with pytest.raises(LakeUnavailable, match="the md5 of the bytes that came is"), s3.local(KEY):
        pytest.fail("a reader was given other bytes")


def test_reader_of_an_object_that_is_replaced_never_gets_a_mixture(s3: Lake):
    put(s3, b"first" * 4_000_000)

    with s3.open(KEY) as reader:
        assert reader.read(5) == b"first"
        put(s3, b"other" * 4_000_000)
        with pytest.raises(FileNotFoundError, match="another run replaced it meanwhile"):
            reader.read()


def test_object_that_another_run_creates_while_it_is_read_was_not_there(s3: Lake):
    events = s3.fs.client.meta.events

    def create(**_: Any) -> None:
        events.unregister("after-call.s3.GetObject", create)
        put(s3, b"rows")

    events.register("after-call.s3.GetObject", create)

    assert s3.read(KEY) is None
    assert s3.read(KEY) == b"rows"


def test_what_a_killed_process_staged_is_deleted_after_a_day(s3: Lake, monkeypatch: pytest.MonkeyPatch):
    put(s3, b"half", ".staging/killed/part")
    put(s3, b"rows", ".staging/alive/part")
    entries = s3.fs.entries

    def aged(path: str) -> Any:
        for entry in entries(path):
            hours = 25 if "/killed/" in entry["Key"] else 23
            yield {**entry, "LastModified": entry["LastModified"] - timedelta(hours=hours)}

    monkeypatch.setattr(s3.fs, "entries", aged)
    put(s3, b"rows", ".staging/new/part")

    monkeypatch.undo()
    assert list(objects(s3)) == [".staging/alive/part", ".staging/new/part"]


@pytest.mark.parametrize("upload", [1, 2, 3, 4])
def test_killed_landing_leaves_whole_data_and_the_next_one_is_right(
    s3: Lake, s3_server: LocalS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, upload: int
):
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    rows = [TRIP | {"passenger_count": count} for count in (1, 2, None)]
    put_raw(s3, write_parquet(tmp_path / "file", rows).read_bytes(), source="official")
    old = landing.land(FILE, s3, profile="none")

    command = [sys.executable, "-c", KILLED, f"s3://{s3.root}", str(upload), FILE.name]
    killed = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)

    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with s3.open(data_key(FILE)) as opened, parquet.ParquetFile(opened) as data:
        there = landing.described(data)
        assert data.read().num_rows == there.rows_accepted
    assert (there != old) == (upload == 4)
    after = landing.land(FILE, s3, profile="notes")
    assert landing.landed(s3, FILE) == after
    assert set(s3.listed("data") | s3.listed("rejects")) == {data_key(FILE), rejects_key(FILE)}


# What is said


def test_a_lake_without_its_package_says_what_to_install():
    ran = subprocess.run([sys.executable, "-c", WITHOUT_BOTO3], cwd=ROOT, check=False, capture_output=True, text=True)

    assert ran.stderr.splitlines()[-1].endswith(
        "SetUpError: lake s3://trips/lake: needs the package boto3, which is not installed; install it: pip install -r "
        "requirements-extra.txt, or build the image with TAXI_REQUIREMENTS=requirements-extra.txt"
    )


def test_a_lake_is_opened_by_its_address(s3: Lake, s3_server: LocalS3, monkeypatch: pytest.MonkeyPatch):
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    put(s3, b"rows")

    assert Lake.at(f"s3://{s3.root}").read(KEY) == b"rows"


def test_a_missing_bucket_is_named(s3_server: LocalS3):
    with pytest.raises(SetUpError, match=r"NoSuchBucket.*create the bucket"), faults.told("green"):
        s3_server.lake("no-such-bucket/lake").read(KEY)


@pytest.mark.parametrize(
    ("code", "status", "expected", "advice"),
    [
        ("SlowDown", 503, LakeUnavailable, ""),
        ("InternalError", 500, LakeUnavailable, ""),
        ("AccessDenied", 403, SetUpError, "s3:PutObject"),
        ("403", 403, SetUpError, "s3:ListBucket"),
        ("InvalidAccessKeyId", 403, SetUpError, "correct login and password"),
        ("SomethingNew", 403, SetUpError, "a right is missing"),
        ("PreconditionFailed", 412, LakeChanged, "another run"),
        ("NotImplemented", 501, SetUpError, "another place"),
    ],
)
def test_what_s3_refuses_is_told_by_its_code(code: str, status: int, expected: type, advice: str):
    from botocore.exceptions import ClientError

    answer = {"Error": {"Code": code, "Message": "x"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    fault = faults.of(ClientError(answer, "PutObject"))

    assert fault is not None
    assert fault.error is expected
    assert advice in fault.advice


def test_a_server_that_does_not_answer_may_do_so_later_and_one_without_keys_does_not():
    from botocore.exceptions import EndpointConnectionError, NoCredentialsError

    assert faults.of(EndpointConnectionError(endpoint_url="http://127.0.0.1:9")).error is LakeUnavailable
    assert faults.of(NoCredentialsError()).error is SetUpError
