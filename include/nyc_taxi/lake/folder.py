"""folder: the lake in a folder of this machine. A lock that dies with its process makes conditional writes safe."""

from __future__ import annotations

import errno
import shutil
import uuid
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, BinaryIO

from include.nyc_taxi.errors import LakeChanged, LakeUnavailable
from include.nyc_taxi.lake.keys import STAGING
from include.nyc_taxi.lake.store import ANYTHING, Anything, Stamp, Store, delete_old, flush, in_use, locked

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from fsspec import AbstractFileSystem

    from include.nyc_taxi.lake.store import Replacing

_LOCKS = ".locks"
_NEAR = ".near"
_RENAMES = 5
_LOCK_PATIENCE_SECONDS = 60.0


class Folder(Store):
    """Objects are files. A write without a condition takes no lock."""

    def __init__(self, root: str, lock_patience_seconds: float = _LOCK_PATIENCE_SECONDS) -> None:
        """Hold objects under `root`, and wait for another process that writes an object for the given time."""
        self.root = root
        self.lock_patience_seconds = lock_patience_seconds
        self._root = Path(root)

    @staticmethod
    def opened(path: str) -> tuple[None, str]:
        """Return the folder as `Lake` takes it."""
        return None, str(Path(path).absolute())

    @cached_property
    def fs(self) -> AbstractFileSystem:
        """The fsspec file system of this machine."""
        from fsspec.implementations.local import LocalFileSystem

        return LocalFileSystem()

    def url(self, key: str) -> str:
        return f"file://{self.root}/{key}"

    def stamp(self, key: str) -> Stamp | None:
        try:
            return _stamp_of((self._root / key).stat())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def listed(self, zone: str) -> dict[str, Stamp]:
        stamps = {}
        for path in (self._root / zone).rglob("*"):
            with suppress(FileNotFoundError):  # another run has replaced it meanwhile
                if path.is_file():
                    stamps[path.relative_to(self._root).as_posix()] = _stamp_of(path.stat())
        return stamps

    def open(self, key: str) -> BinaryIO:
        return (self._root / key).open("rb")

    def local(self, key: str) -> AbstractContextManager[Path]:
        return nullcontext(self._root / key)

    @contextmanager
    def staging_folder(self) -> Iterator[Path]:
        staging = self._root / STAGING
        delete_old(staging.glob("*"))
        folder = staging / uuid.uuid4().hex
        folder.mkdir(parents=True)
        with in_use(folder):
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def commit(self, path: Path, key: str, replacing: Replacing) -> None:
        flush(path)
        with self._unchanged(key, replacing):
            _replace(path, self._root / key)

    def move(self, key: str, to: str, replacing: Replacing, moving: Replacing = ANYTHING) -> None:
        source = self._root / key
        with self._unchanged(key, moving), self._unchanged(to, replacing):
            _replace(source, self._root / to)
        if _NEAR in source.parts or key.startswith(STAGING):
            with suppress(OSError):
                source.parent.rmdir()

    def copy(self, key: str, to: str, copying: Replacing) -> None:
        target = self._root / to
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._unchanged(key, copying):
            shutil.copyfile(self._root / key, target)
        flush(target)

    def near(self, key: str, to: str) -> str:
        folder = (self._root / to).parent
        folder.mkdir(parents=True, exist_ok=True)
        if (self._root / key).stat().st_dev == folder.stat().st_dev:
            return key
        delete_old((folder / _NEAR).glob("*"))
        beside = (folder / _NEAR / uuid.uuid4().hex / Path(to).name).relative_to(self._root).as_posix()
        self.copy(key, beside, ANYTHING)
        return beside

    def delete(self, key: str, deleting: Replacing = ANYTHING) -> None:
        with self._unchanged(key, deleting), suppress(FileNotFoundError):
            (self._root / key).unlink()

    @contextmanager
    def _unchanged(self, key: str, state: Replacing) -> Iterator[None]:
        """Hold the object in that state for this block."""
        if isinstance(state, Anything):
            yield
            return
        with self._lock(key):
            if self.stamp(key) != state:
                raise LakeChanged(f"{self.url(key)}: another run replaced it meanwhile")
            yield

    @contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        path = self._root / _LOCKS / key.replace("/", "~")
        path.parent.mkdir(parents=True, exist_ok=True)
        started = monotonic()
        with path.open("a") as file:
            while not locked(file.fileno()):
                if monotonic() - started > self.lock_patience_seconds:
                    raise LakeUnavailable(
                        f"{self.url(key)}: another process has been writing it for {self.lock_patience_seconds:.0f} s"
                    )
                sleep(0.01)
            yield


def _stamp_of(state: os.stat_result) -> Stamp:
    etag = f"{state.st_ino:x}-{state.st_mtime_ns:x}"
    return Stamp(state.st_size, etag, datetime.fromtimestamp(state.st_mtime, UTC), etag)


def _replace(source: Path, target: Path) -> None:
    """Move a file in one step, also from another disk."""
    try:
        _rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            shutil.copyfile(source, beside)
            flush(beside)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
        source.unlink()


def _rename(source: Path, target: Path) -> None:
    for attempts_left in reversed(range(_RENAMES)):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
        except FileNotFoundError:  # another run may just have deleted the folder, as it was empty
            if not attempts_left or not source.exists():
                raise
        else:
            return
