"""Conditional writes: a write that names the state that it replaces is refused if another run was faster."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from threading import Event
from time import time
from uuid import uuid4

import pytest

from include.nyc_taxi.errors import LakeChanged, LakeUnavailable
from include.nyc_taxi.lake import Lake
from include.nyc_taxi.lake.folder import Folder
from tests.nyc_taxi.trips import files_in

ROOT = Path(__file__).resolve().parents[2]
KEY, OTHER, STAGED = "data/green/file", "data/green/other", ".staging/run/file"
OTHER_DISK = Path("/dev/shm")  # noqa: S108 - a file system in memory, where Linux has one
HOLDER = """
import sys, time
from include.nyc_taxi.lake.folder import Folder
folder = Folder(sys.argv[1])
with folder._lock(sys.argv[2]):
    print("locked", flush=True)
    time.sleep(600)
"""


def put(lake: Lake, key: str, content: bytes) -> None:
    with lake.staged(key) as path:
        path.write_bytes(content)


def keys(lake: Lake) -> list[str]:
    return files_in(lake) if lake.is_local else sorted(lake.listed(""))


# Writing only what was seen


def test_commit_replaces_the_state_that_it_names(any_lake: Lake):
    put(any_lake, KEY, b"first")

    with any_lake.staged(KEY, any_lake.stamp(KEY)) as path:
        path.write_bytes(b"second")

    assert any_lake.read(KEY) == b"second"


def test_commit_over_nothing_creates_the_object(any_lake: Lake):
    with any_lake.staged(KEY, None) as path:
        path.write_bytes(b"first")

    assert any_lake.read(KEY) == b"first"


@pytest.mark.parametrize("there", [None, b"first"])
def test_commit_over_what_another_run_wrote_is_refused_and_leaves_nothing(any_lake: Lake, there: bytes | None):
    if there is not None:
        put(any_lake, KEY, there)
    seen = any_lake.stamp(KEY)
    put(any_lake, KEY, b"other")

    with pytest.raises(LakeChanged, match=f"{KEY}: another run replaced"), any_lake.staged(KEY, seen) as path:
        path.write_bytes(b"third")

    assert any_lake.read(KEY) == b"other"
    assert keys(any_lake) == [KEY]


@pytest.mark.parametrize(("place", "tells_them_apart"), [("lake", True), ("bucket", True), ("s3", False)])
def test_a_state_is_told_from_another_of_the_same_bytes_except_in_s3(
    request: pytest.FixtureRequest, place: str, *, tells_them_apart: bool
):
    lake: Lake = request.getfixturevalue(place)
    put(lake, KEY, b"same!")
    seen = lake.stamp(KEY)
    put(lake, KEY, b"same!")

    with pytest.raises(LakeChanged) if tells_them_apart else nullcontext(), lake.staged(KEY, seen) as path:
        path.write_bytes(b"third")

    assert lake.read(KEY) == (b"same!" if tells_them_apart else b"third")


def test_commit_over_what_another_run_deleted_is_refused(any_lake: Lake):
    put(any_lake, KEY, b"first")
    seen = any_lake.stamp(KEY)
    any_lake.delete(KEY)

    with pytest.raises(LakeChanged), any_lake.staged(KEY, seen) as path:
        path.write_bytes(b"second")

    assert any_lake.read(KEY) is None


def test_move_replaces_the_state_that_it_names(any_lake: Lake):
    put(any_lake, KEY, b"first")
    put(any_lake, STAGED, b"second")

    any_lake.move(STAGED, KEY, any_lake.stamp(KEY))

    assert any_lake.read(KEY) == b"second"
    assert any_lake.size(STAGED) is None


@pytest.mark.parametrize("exists", [False, True])
def test_move_over_what_another_run_wrote_is_refused_and_both_stay(any_lake: Lake, *, exists: bool):
    if exists:
        put(any_lake, KEY, b"first")
    seen = any_lake.stamp(KEY)
    put(any_lake, KEY, b"other")
    put(any_lake, STAGED, b"mine")

    with pytest.raises(LakeChanged, match=f"{KEY}: another run replaced it meanwhile"):
        any_lake.move(STAGED, KEY, seen)

    assert (any_lake.read(KEY), any_lake.read(STAGED)) == (b"other", b"mine")


@pytest.mark.parametrize("replacing", [{}, {"replacing": None}])
def test_move_of_nothing_says_so_and_leaves_what_is_there(any_lake: Lake, replacing: dict[str, None]):
    with pytest.raises(FileNotFoundError):
        any_lake.move(STAGED, KEY, **replacing)

    assert any_lake.size(KEY) is None


def test_damaged_object_is_set_aside_only_in_the_state_that_was_found_damaged(any_lake: Lake):
    put(any_lake, KEY, b"damaged")
    found = any_lake.stamp(KEY)
    put(any_lake, KEY, b"anew")

    with pytest.raises(LakeChanged, match=KEY):
        any_lake.set_aside(KEY, found)
    assert any_lake.read(KEY) == b"anew"

    where = any_lake.set_aside(KEY, any_lake.stamp(KEY))
    assert where == any_lake.url(f".damaged/{KEY}")
    assert (any_lake.size(KEY), any_lake.read(f".damaged/{KEY}")) == (None, b"anew")
    with pytest.raises(FileNotFoundError):
        any_lake.set_aside(KEY)


def test_object_is_deleted_only_in_the_state_that_is_named(any_lake: Lake):
    put(any_lake, KEY, b"first")
    seen = any_lake.stamp(KEY)
    put(any_lake, KEY, b"second")

    with pytest.raises(LakeChanged, match=KEY):
        any_lake.delete(KEY, seen)
    assert any_lake.read(KEY) == b"second"

    any_lake.delete(KEY, any_lake.stamp(KEY))
    any_lake.delete(KEY)
    assert any_lake.read(KEY) is None


def test_frozen_copy_stays_while_the_object_is_replaced(any_lake: Lake):
    put(any_lake, KEY, b"first")
    seen = any_lake.stamp(KEY)

    with any_lake.frozen(KEY, seen) as url:
        put(any_lake, KEY, b"second")
        copy = url.removeprefix(any_lake.url(""))
        assert any_lake.read(copy) == b"first"

    assert any_lake.read(copy) is None
    with pytest.raises(LakeChanged, match=KEY), any_lake.frozen(KEY, seen):
        pytest.fail("a copy of another state was given")


# Updates


def test_updates_of_many_runs_at_once_are_all_kept(any_lake: Lake):
    def add(number: int) -> None:
        any_lake.update(KEY, lambda present: (present or b"") + b"%d\n" % number)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add, range(12)))

    assert sorted(map(int, any_lake.read(KEY).split())) == list(range(12))


def test_update_is_made_again_on_what_another_run_wrote(any_lake: Lake):
    put(any_lake, KEY, b"1")
    seen = []

    def change(present: bytes | None) -> bytes:
        if not seen:
            put(any_lake, KEY, b"2")
        seen.append(present)
        return present + b"!"

    assert any_lake.update(KEY, change) == b"2!"
    assert seen == [b"1", b"2"]
    assert any_lake.read(KEY) == b"2!"


@pytest.mark.parametrize("wanted", [None, b"1"])
def test_update_that_changes_nothing_writes_nothing(any_lake: Lake, wanted: bytes | None):
    put(any_lake, KEY, b"1")
    before = any_lake.stamp(KEY)

    assert any_lake.update(KEY, lambda _: wanted) == b"1"
    assert any_lake.stamp(KEY) == before


def test_update_that_is_never_faster_than_others_is_given_up(lake: Lake):
    def change(present: bytes | None) -> bytes:
        put(lake, KEY, uuid4().bytes)
        return b"mine"

    with pytest.raises(LakeChanged, match=r"other runs changed it 20 times meanwhile"):
        lake.update(KEY, change)


# Locks of a folder


def test_conditional_write_waits_for_that_of_another_process_and_then_sees_what_it_wrote(lake: Lake):
    put(lake, KEY, b"first")
    seen, has_begun = lake.stamp(KEY), Event()

    def write() -> None:
        has_begun.set()
        with lake.staged(KEY, seen) as path:
            path.write_bytes(b"second")

    with ThreadPoolExecutor(1) as threads:
        with lake._store._lock(KEY):
            writing = threads.submit(write)
            has_begun.wait()
            put(lake, KEY, b"other")
        with pytest.raises(LakeChanged):
            writing.result()
    assert lake.read(KEY) == b"other"


@pytest.fixture
def holder(lake: Lake) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of KEY."""
    command = [sys.executable, "-c", HOLDER, lake.root, KEY]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_lock_dies_with_its_process(lake: Lake, holder: subprocess.Popen[str]):
    put(lake, KEY, b"first")
    impatient = Lake.at(lake.root)
    impatient._store = Folder(lake.root, lock_patience_seconds=0.05)
    with pytest.raises(LakeUnavailable, match=f"{KEY}: another process has been writing it for 0 s"):
        impatient.update(KEY, lambda _: b"second")
    impatient.update(OTHER, lambda _: b"objects have a lock each")

    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    impatient.update(KEY, lambda _: b"second")

    assert lake.read(KEY) == b"second"


def test_lock_of_a_process_that_is_stopped_holds(lake: Lake, holder: subprocess.Popen[str]):
    os.kill(holder.pid, signal.SIGSTOP)
    lake._store.lock_patience_seconds = 0.05

    with pytest.raises(LakeUnavailable, match="another process has been writing it"):
        lake.update(KEY, lambda _: b"second")


# Two disks


@pytest.fixture
def other_disk(lake: Lake) -> Iterator[Path]:
    """A folder on another file system than the lake."""
    Path(lake.root).mkdir()
    if not OTHER_DISK.is_dir() or OTHER_DISK.stat().st_dev == Path(lake.root).stat().st_dev:
        pytest.skip("this machine has no second file system")
    with tempfile.TemporaryDirectory(dir=OTHER_DISK) as folder:
        yield Path(folder)


def test_object_moves_to_another_disk_in_one_step(lake: Lake, other_disk: Path):
    Path(lake.root, "data").symlink_to(other_disk)
    put(lake, KEY, b"first")
    put(lake, STAGED, b"second")

    lake.move(STAGED, KEY, lake.stamp(KEY))

    assert Path(other_disk, "green", "file").read_bytes() == b"second"
    assert lake.size(STAGED) is None
    assert [path.name for path in Path(other_disk, "green").iterdir()] == ["file"]


def test_object_is_copied_near_before_it_is_moved_to_another_disk(lake: Lake, other_disk: Path):
    Path(lake.root, "data").symlink_to(other_disk)
    put(lake, STAGED, b"staged")

    near = lake.near(STAGED, KEY)

    assert (lake.read(near), lake.read(STAGED)) == (b"staged", b"staged")
    assert Path(lake.path(near)).stat().st_dev == other_disk.stat().st_dev
    lake.move(near, KEY, None)
    assert lake.read(KEY) == b"staged"
    left = [path for path in other_disk.rglob("*") if path.is_file()]
    assert left == [other_disk / "green" / "file"]


def test_copy_that_a_killed_process_left_near_is_deleted_after_a_day(lake: Lake, other_disk: Path):
    Path(lake.root, "data").symlink_to(other_disk)
    put(lake, STAGED, b"staged")
    left = Path(lake.path(lake.near(STAGED, KEY))).parent
    os.utime(left, (time() - 25 * 3600,) * 2)

    lake.near(STAGED, KEY)

    assert not left.exists()


def test_object_of_the_same_disk_is_near(any_lake: Lake):
    put(any_lake, STAGED, b"staged")

    assert any_lake.near(STAGED, KEY) == STAGED


def test_full_disk_leaves_what_was_there_on_another_disk(lake: Lake, other_disk: Path, monkeypatch: pytest.MonkeyPatch):
    Path(lake.root, "data").symlink_to(other_disk)
    put(lake, KEY, b"first")
    put(lake, STAGED, b"second")

    def fill(_source: object, target: Path) -> None:
        target.write_bytes(b"sec")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", fill)
    with pytest.raises(OSError, match="No space left"):
        lake.move(STAGED, KEY, lake.stamp(KEY))

    assert (lake.read(KEY), lake.read(STAGED)) == (b"first", b"second")
    assert [path.name for path in Path(other_disk, "green").iterdir()] == ["file"]


# Answers that are lost


def lose_the_answer_to_the_next_write(lake: Lake, then: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the bucket do what it is asked, and the client learn that its precondition failed when it asks again."""
    client, name = (lake.fs, "call") if hasattr(lake.fs, "call") else (lake.fs.client, "put_object")
    call, lost = getattr(client, name), []

    def call_twice(*args: object, **options: object) -> object:
        is_write = "rewriteTo" in args[1] if args else KEY in options["Key"] and len(options) > 5
        if is_write and not lost:
            lost.append(call(*args, **options))
            then()
            if "Body" in options:
                options["Body"].seek(0)
        return call(*args, **options)

    monkeypatch.setattr(client, name, call_twice)


@pytest.mark.parametrize("before", [None, b"first"])
def test_write_whose_answer_was_lost_has_succeeded(
    any_bucket: Lake, monkeypatch: pytest.MonkeyPatch, before: bytes | None
):
    if before is not None:
        put(any_bucket, KEY, before)
    lose_the_answer_to_the_next_write(any_bucket, lambda: None, monkeypatch)

    with any_bucket.staged(KEY, any_bucket.stamp(KEY)) as path:
        path.write_bytes(b"second")

    assert any_bucket.read(KEY) == b"second"
    assert keys(any_bucket) == [KEY]


def test_update_whose_answer_was_lost_is_made_once(any_bucket: Lake, monkeypatch: pytest.MonkeyPatch):
    put(any_bucket, KEY, b"1")
    lose_the_answer_to_the_next_write(any_bucket, lambda: None, monkeypatch)

    assert any_bucket.update(KEY, lambda present: present + b"!") == b"1!"
    assert any_bucket.read(KEY) == b"1!"


def test_write_whose_answer_was_lost_and_which_another_run_replaced_is_told_as_changed(
    any_bucket: Lake, monkeypatch: pytest.MonkeyPatch
):
    put(any_bucket, KEY, b"first")
    other = Lake(any_bucket.fs, any_bucket.root)
    seen = any_bucket.stamp(KEY)
    lose_the_answer_to_the_next_write(any_bucket, lambda: put(other, KEY, b"other"), monkeypatch)

    with pytest.raises(LakeChanged), any_bucket.staged(KEY, seen) as path:
        path.write_bytes(b"second")

    assert any_bucket.read(KEY) == b"other"
    assert keys(any_bucket) == [KEY]


# Staging


def test_folder_in_use_is_not_deleted_whatever_the_clock_says(lake: Lake):
    with lake.scratch(KEY) as path:
        path.write_bytes(b"rows")
        os.utime(path.parent, (0, 0))
        put(lake, OTHER, b"another run")
        assert path.read_bytes() == b"rows"


def test_copy_in_use_of_a_bucket_is_not_deleted_whatever_the_clock_says(
    any_bucket: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    put(any_bucket, KEY, b"rows")
    with any_bucket.local(KEY) as path:
        os.utime(path.parent, (0, 0))
        put(any_bucket, OTHER, b"another run")
        assert path.read_bytes() == b"rows"
