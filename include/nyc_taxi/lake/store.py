"""store: what the lake needs of the place that holds it, with one implementation for each kind of place.

Every write is atomic, and may be conditional: it names the state that it replaces, and is refused if another run was
faster. A run that is held up between looking and writing therefore cannot overwrite what it has not seen.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime

    from fsspec import AbstractFileSystem

STAGED_FOR_SECONDS = 24 * 3600
_TEMPORARY = "nyc-taxi-lake-"
_ALIVE = ".alive"


@dataclass(frozen=True)
class Stamp:
    """Describes one state of an object, as a listing shows it: equal stamps mean equal bytes.

    `bytes` is its size. `etag` is the bucket's, and in S3 the same for the same bytes; in a local folder it is made of
    the file's inode and time, as two writes may fall into one tick of the clock. `changed_at` is when the object was
    written, in UTC. `version` is what a conditional write names, and `md5` is what the store says of the bytes, in
    base64; a folder says nothing.
    """

    bytes: int
    etag: str
    changed_at: datetime
    version: str = ""
    md5: str | None = field(default=None, compare=False)


class Anything:
    """Stands for whatever state an object is in, in a write without a condition."""


ANYTHING: Final = Anything()
Replacing = Stamp | Anything | None
"""The state that a write replaces; None if there must be no object yet."""


class Store(ABC):
    """Holds objects by key under a root."""

    root: str
    fs: AbstractFileSystem

    def objects(self) -> AbstractFileSystem | None:
        """Return a file system that opens ``{path}#{version}``: an object in the state of a stamp; None in a folder."""
        return None

    def check(self) -> None:  # noqa: B027 - most places honour every condition
        """See that the place honours the conditions of writes, if that depends on its server.

        Raises:
            SetUpError: it does not.
        """

    @abstractmethod
    def url(self, key: str) -> str:
        """Return the object's URL, for people and logs."""

    @abstractmethod
    def stamp(self, key: str) -> Stamp | None:
        """Return the object's state; None if there is no such object."""

    @abstractmethod
    def listed(self, zone: str) -> dict[str, Stamp]:
        """List the objects under a key: a stamp for each key."""

    @abstractmethod
    def open(self, key: str) -> BinaryIO:
        """Open the object for reading."""

    def read(self, key: str) -> bytes:
        """Return the bytes of a small object, all of one state of it."""
        with self.open(key) as file:
            return file.read()

    @abstractmethod
    def local(self, key: str) -> AbstractContextManager[Path]:
        """Give a local file with the object's bytes for a block."""

    @abstractmethod
    def staging_folder(self) -> AbstractContextManager[Path]:
        """Give a folder of this machine for a block, from which files are committed."""

    @abstractmethod
    def commit(self, path: Path, key: str, replacing: Replacing) -> None:
        """Make a file of a staging folder the object.

        Raises:
            LakeChanged: the object is not in the state that was to be replaced.
        """

    @abstractmethod
    def move(self, key: str, to: str, replacing: Replacing, moving: Replacing = ANYTHING) -> None:
        """Move an object to another key; `moving` is the state that it must be in.

        Raises:
            FileNotFoundError: there is no such object.
            LakeChanged: one of the two objects is in another state than it should be.
        """

    @abstractmethod
    def copy(self, key: str, to: str, copying: Replacing) -> None:
        """Copy an object, which must be in the given state, to another key.

        Raises:
            FileNotFoundError: there is no such object.
            LakeChanged: the object is in another state.
        """

    def near(self, key: str, to: str) -> str:  # noqa: ARG002 - in most stores everything is near
        """Copy an object to where a move to another key is one step, unless it is there; returns its key there."""
        return key

    @abstractmethod
    def delete(self, key: str, deleting: Replacing = ANYTHING) -> None:
        """Delete the object if there is one; `deleting` is the state that it must be in.

        Raises:
            LakeChanged: the object is in another state.
        """


def sha256_of(path: Path) -> str:
    """Return the sha256 of a local file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a folder of this machine for this block."""
    delete_old(Path(tempfile.gettempdir()).glob(f"{_TEMPORARY}*"))
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY) as folder, in_use(Path(folder)):
        yield Path(folder)


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keep `delete_old` from deleting the folder during this block, whatever the clock says."""
    with (folder / _ALIVE).open("w") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        yield


def delete_old(folders: Iterable[Path]) -> None:
    """Delete the folders that killed processes left behind."""
    for folder in folders:
        try:
            if folder.stat().st_mtime < time() - STAGED_FOR_SECONDS and not _is_in_use(folder):
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:
            continue


def locked(descriptor: int) -> bool:
    """Lock an open file, unless another process has locked it; the lock dies with this process."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_in_use(folder: Path) -> bool:
    try:
        with (folder / _ALIVE).open() as alive:
            return not locked(alive.fileno())
    except OSError:
        return False


def flush(path: Path) -> None:
    """Write the bytes to disk before a move makes them visible."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
