"""The lake: a folder or bucket with three zones, where an object appears under its name only when it is whole.

    raw/{source}/{service}/          the bytes as published, each with a manifest
    data/{service}/                  accepted rows, canonical schema
    rejects/{service}/               rejected rows, a reason each

Any fsspec file system will do; a local folder is written without a copy. What is on its way lies in .staging/ for a day
at most.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from time import time
from typing import TYPE_CHECKING, BinaryIO, cast

from include.nyc_taxi import catalog
from include.nyc_taxi.errors import LakeUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fsspec import AbstractFileSystem

    from include.nyc_taxi.trip_file import TripFile

_STAGING = ".staging"
_STAGED_FOR_SECONDS = 24 * 3600
_TEMPORARY = "nyc-taxi-lake-"


@dataclass(frozen=True)
class Manifest:
    """What lies in raw/ and where it came from.

    `bytes` is the size; `fetched_at` is when the bytes came, `checked_at` when the publisher last said that they are
    still the current ones, both ISO 8601 in UTC. `schema_era` is the era of a trip file's month; by which era it was
    read in the end, its columns decide, and data/ and the ledger say.
    """

    source: str
    url: str
    etag: str | None
    last_modified: str | None
    bytes: int
    sha256: str
    fetched_at: str
    checked_at: str
    schema_era: str | None = None


def raw_key(file: TripFile, source: str) -> str:
    """Where the bytes of a published file lie in the lake."""
    name = PurePosixPath(catalog.source(source).path_of(file)).name
    return f"raw/{source}/{file.service}/{name}"


def source_of(raw_key: str) -> str:
    """The source that a raw key speaks of."""
    _zone, source, *_rest = raw_key.split("/")
    return source


def data_key(file: TripFile) -> str:
    """Where the accepted rows of a trip file lie in the lake."""
    return f"data/{file.service}/{file.name}.parquet"


def rejects_key(file: TripFile) -> str:
    """Where the rejected rows of a trip file lie in the lake."""
    return f"rejects/{file.service}/{file.name}.parquet"


def staging_keys(file: TripFile, recipe: str) -> dict[str, str]:
    """Where the rows of one pass wait to be published, by the key under which they will be; rejected ones first."""
    folder = f"{_STAGING}/{file.name}.{recipe}"
    return {rejects_key(file): f"{folder}/rejects.parquet", data_key(file): f"{folder}/data.parquet"}


def sha256_of(path: Path) -> str:
    """The sha256 of a local file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _md5_of(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
    return base64.b64encode(digest).decode()


class Lake:
    """A place for objects under keys like ``data/green/green_tripdata_2024-01.parquet``."""

    def __init__(self, fs: AbstractFileSystem | None, root: str) -> None:
        """`fs` is any fsspec file system; None stands for this machine's own, without the cost of importing fsspec."""
        self.root = root.rstrip("/")
        self._fs = fs
        self._local = Path(self.root) if fs is None or "file" in fs.protocol else None

    @classmethod
    def at(cls, url: str | Path) -> Lake:
        """The lake at a path or an fsspec URL such as ``file:///data/lake`` or ``gs://bucket/prefix``."""
        protocol, _, path = str(url).rpartition("://")
        if protocol in ("", "file"):
            return cls(None, str(Path(path).absolute()))
        from fsspec.core import url_to_fs

        return cls(*url_to_fs(str(url)))

    @property
    def fs(self) -> AbstractFileSystem:
        """The file system, for whatever else one wants to do in the lake."""
        if self._fs is None:
            from fsspec.implementations.local import LocalFileSystem

            self._fs = LocalFileSystem()
        return self._fs

    @property
    def is_local(self) -> bool:
        """Whether the lake is a folder of this machine."""
        return self._local is not None

    def path(self, key: str) -> str:
        """The object's path on the lake's file system."""
        return f"{self.root}/{key}"

    def url(self, key: str) -> str:
        """The object's address, for people and logs."""
        return f"file://{self.path(key)}" if self._local else str(self.fs.unstrip_protocol(self.path(key)))

    def size(self, key: str) -> int | None:
        """The object's size in bytes; None if there is no such object."""
        try:
            return (self._local / key).stat().st_size if self._local else int(self.fs.info(self.path(key))["size"])
        except FileNotFoundError:
            return None

    def open(self, key: str) -> BinaryIO:
        """The object, opened to read."""
        return (self._local / key).open("rb") if self._local else cast("BinaryIO", self.fs.open(self.path(key), "rb"))

    @contextmanager
    def staged(self, key: str) -> Iterator[Path]:
        """A local file to write; it becomes the object when the block ends well, in one move, and else vanishes."""
        with self._full_disk_told(key), self._staging_folder() as folder:
            path = folder / PurePosixPath(key).name
            yield path
            if self._local is None:
                self._upload(path, key)
            else:
                _flush(path)
                target = self._local / key
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)

    def move(self, key: str, to: str) -> None:
        """Put an object under another key in one move, also over another object."""
        if self._local is None:
            self.fs.cp_file(self.path(key), self.path(to))
            self.fs.rm_file(self.path(key))
            return
        source, target = self._local / key, self._local / to
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
        with suppress(OSError):
            source.parent.rmdir()

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        """A local file with the object's bytes: the object itself in a local lake, else a copy for this block."""
        if self._local is not None:
            yield self._local / key
            return
        with _temporary_folder() as folder:
            path = folder / PurePosixPath(key).name
            with self._full_disk_told(key):
                self.fs.get_file(self.path(key), str(path))
            self._check_same(path, key)
            yield path

    def manifest(self, key: str) -> Manifest | None:
        """What is known of a raw object; None where there is none, or a manifest that cannot be read."""
        try:
            with self.open(f"{key}.manifest.json") as file:
                return Manifest(**json.load(file))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write_manifest(self, key: str, manifest: Manifest) -> None:
        """Say what lies under a raw key. Write it after the object: it is what makes the object count."""
        with self.staged(f"{key}.manifest.json") as path:
            path.write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")

    def forget_manifest(self, key: str) -> None:
        """Let a raw object no longer count, as other bytes are about to take its place."""
        with suppress(FileNotFoundError):
            if self._local is None:
                self.fs.rm_file(self.path(f"{key}.manifest.json"))
            else:
                (self._local / f"{key}.manifest.json").unlink()

    @contextmanager
    def _full_disk_told(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            where = self._local or tempfile.gettempdir()
            raise LakeUnavailable(f"{self.url(key)}: no space is left in {where}: {error}") from error

    def _upload(self, path: Path, key: str) -> None:
        """Send the file to a key of its own, and move it to its name when it is there whole."""
        staging = f"{self.root}/{_STAGING}"
        self._forget_uploads(staging)
        parts = f"{_STAGING}/{uuid.uuid4().hex}/{path.name}"
        self.fs.put_file(str(path), self.path(parts))
        self._check_same(path, parts)
        self.move(parts, key)

    def _check_same(self, path: Path, key: str) -> None:
        """See that a file and an object are the same by size, and by md5 where the store tells it as GCS does."""
        info = self.fs.info(self.path(key))
        there = info["size"], info.get("md5Hash")
        here = path.stat().st_size, _md5_of(path) if there[1] else None
        if there != here:
            raise LakeUnavailable(f"{self.url(key)}: bytes and md5 are {there} there and {here} here")

    def _forget_uploads(self, staging: str) -> None:
        before = datetime.now(UTC) - timedelta(seconds=_STAGED_FOR_SECONDS)
        for path in self.fs.find(staging):
            with suppress(FileNotFoundError):
                if self.fs.modified(path) < before:
                    self.fs.rm_file(path)

    @contextmanager
    def _staging_folder(self) -> Iterator[Path]:
        if self._local is None:
            with _temporary_folder() as temporary:
                yield temporary
            return
        staging = self._local / _STAGING
        _forget_old(staging.glob("*"))
        folder = staging / uuid.uuid4().hex
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder of this machine, for this block."""
    _forget_old(Path(tempfile.gettempdir()).glob(f"{_TEMPORARY}*"))
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY) as folder:
        yield Path(folder)


def _forget_old(folders: Iterable[Path]) -> None:
    """Remove what killed processes have left."""
    for folder in folders:
        try:
            if folder.stat().st_mtime < time() - _STAGED_FOR_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:
            continue


def _flush(path: Path) -> None:
    """Make the bytes durable before the name shows them."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
