"""lake: a folder or bucket with three zones, where an object appears under its key only when it is complete.

    raw/{source}/{service}/          the bytes as published, each with a manifest
    data/{service}/                  accepted rows, in the canonical schema
    rejects/{service}/               rejected rows, each with its reason

The lake is a local folder, which is written without a copy, or a bucket of Google Cloud Storage. Files that are not
committed yet are in .staging/ for a day at most.
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
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from include.nyc_taxi import catalog
from include.nyc_taxi.errors import LakeUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fsspec import AbstractFileSystem

    from include.nyc_taxi.trip_file import TripFile

_STAGING = ".staging"
_STAGED_FOR_SECONDS = 24 * 3600
_TEMPORARY = "nyc-taxi-lake-"
_LOCAL_PROTOCOL, _BUCKET_PROTOCOL = "file", "gs"


@dataclass(frozen=True)
class Manifest:
    """Describes an object of raw/ and where it came from.

    `bytes` is its size. It was downloaded at `fetched_at`, and at `checked_at` the publisher last confirmed that it is
    current; both are ISO 8601 in UTC. `schema_era` is the era of the trip file's month. Reading may find that the
    columns are those of another era; data/ and the ledger record the era that was used.
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


@dataclass(frozen=True)
class Stamp:
    """Describes one state of an object, as a listing shows it: equal stamps mean equal bytes.

    `bytes` is its size. `etag` is the bucket's; in a local folder it is made of the file's inode and time, as two
    writes may fall into one tick of the clock. `changed_at` is when the object was written, in UTC.
    """

    bytes: int
    etag: str
    changed_at: datetime


def raw_key(file: TripFile, source: str) -> str:
    """Return the key of a published file's bytes."""
    name = PurePosixPath(catalog.source(source).path_of(file)).name
    return f"raw/{source}/{file.service}/{name}"


def source_of(raw_key: str) -> str:
    """Return the source that a raw key names."""
    _zone, source, *_rest = raw_key.split("/")
    return source


def data_key(file: TripFile) -> str:
    """Return the key of a trip file's accepted rows."""
    return f"data/{file.service}/{file.name}.parquet"


def rejects_key(file: TripFile) -> str:
    """Return the key of a trip file's rejected rows."""
    return f"rejects/{file.service}/{file.name}.parquet"


def staging_keys(file: TripFile, recipe: str) -> dict[str, str]:
    """Return where the rows of one pass are staged, by the key that they will get; the rejected rows come first."""
    folder = f"{_STAGING}/{file.name}.{recipe}"
    return {rejects_key(file): f"{folder}/rejects.parquet", data_key(file): f"{folder}/data.parquet"}


def sha256_of(path: Path) -> str:
    """Return the sha256 of a local file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _md5_of(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
    return base64.b64encode(digest).decode()


class Lake:
    """Stores objects under keys such as ``data/green/green_tripdata_2024-01.parquet``."""

    def __init__(self, fs: AbstractFileSystem | None, root: str) -> None:
        """Open the lake at a path of a local file system or of gcsfs.

        Args:
            fs: the file system; None is this machine's own, without the cost of importing fsspec.
            root: the folder, or bucket and prefix, that holds every key.

        Raises:
            ValueError: the file system is of another protocol.
        """
        self.root = root.rstrip("/")
        self._fs = fs
        protocols = _protocols(fs)
        if not {_LOCAL_PROTOCOL, _BUCKET_PROTOCOL} & set(protocols):
            raise _unsupported(f"{protocols[0]}://{self.root.lstrip('/')}")
        self._local = Path(self.root) if _LOCAL_PROTOCOL in protocols else None

    @classmethod
    def at(cls, url: str | Path) -> Lake:
        """Open the lake at a path or at a URL such as ``file:///data/lake`` or ``gs://bucket/prefix``.

        Raises:
            ValueError: the URL is of another protocol.
        """
        protocol, _, path = str(url).rpartition("://")
        if protocol in ("", _LOCAL_PROTOCOL):
            return cls(None, str(Path(path).absolute()))
        if protocol != _BUCKET_PROTOCOL:
            raise _unsupported(str(url))
        from fsspec.core import url_to_fs

        return cls(*url_to_fs(str(url)))

    @property
    def fs(self) -> AbstractFileSystem:
        """The fsspec file system that holds the lake."""
        if self._fs is None:
            from fsspec.implementations.local import LocalFileSystem

            self._fs = LocalFileSystem()
        return self._fs

    @property
    def is_local(self) -> bool:
        """Whether the lake is a folder of this machine."""
        return self._local is not None

    def path(self, key: str) -> str:
        """Return the object's path on the lake's file system."""
        return f"{self.root}/{key}"

    def url(self, key: str) -> str:
        """Return the object's URL, for people and logs."""
        return f"file://{self.path(key)}" if self._local else str(self.fs.unstrip_protocol(self.path(key)))

    def size(self, key: str) -> int | None:
        """Return the object's size in bytes; None if there is no such object."""
        try:
            return (self._local / key).stat().st_size if self._local else int(self.fs.info(self.path(key))["size"])
        except FileNotFoundError:
            return None

    def listed(self, zone: str) -> dict[str, Stamp]:
        """List the objects of a zone such as ``data``: a stamp for each key."""
        if self._local is not None:
            return _listed_folder(self._local, zone)
        self.fs.invalidate_cache()
        found = self.fs.find(self.path(zone), detail=True)
        return {path.removeprefix(f"{self.root}/"): _bucket_stamp(info) for path, info in found.items()}

    def open(self, key: str) -> BinaryIO:
        """Open the object for reading."""
        return (self._local / key).open("rb") if self._local else cast("BinaryIO", self.fs.open(self.path(key), "rb"))

    @contextmanager
    def staged(self, key: str) -> Iterator[Path]:
        """Give a local file to write, and commit it as the object in one move when the block succeeds.

        If the block fails, the file is deleted and the object stays as it was.

        Raises:
            LakeUnavailable: the disk is full, or the bucket received other bytes than were sent.
        """
        with self._full_disk_reported(key), self._staging_folder() as folder:
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
        """Move an object to another key in one step, replacing the object that is there."""
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
        """Give a local file with the object's bytes: the object itself in a local lake, else a copy for this block."""
        if self._local is not None:
            yield self._local / key
            return
        with _temporary_folder() as folder:
            path = folder / PurePosixPath(key).name
            with self._full_disk_reported(key):
                self.fs.get_file(self.path(key), str(path))
            self._check_same(path, key)
            yield path

    def manifest(self, key: str) -> Manifest | None:
        """Read the manifest of a raw object; None if there is none or it cannot be read."""
        try:
            with self.open(f"{key}.manifest.json") as file:
                return Manifest(**json.load(file))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write_manifest(self, key: str, manifest: Manifest) -> None:
        """Write the manifest of a raw object. Write it after the object, which counts only with its manifest."""
        with self.staged(f"{key}.manifest.json") as path:
            path.write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")

    def forget_manifest(self, key: str) -> None:
        """Delete the manifest of a raw object before its bytes are replaced, so that it no longer counts."""
        with suppress(FileNotFoundError):
            if self._local is None:
                self.fs.rm_file(self.path(f"{key}.manifest.json"))
            else:
                (self._local / f"{key}.manifest.json").unlink()

    @contextmanager
    def _full_disk_reported(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            where = self._local or tempfile.gettempdir()
            raise LakeUnavailable(f"{self.url(key)}: no space is left in {where}; free some: {error}") from error

    def _upload(self, path: Path, key: str) -> None:
        """Upload the file to a staging key, and move it to its own key when the upload is complete."""
        staging = f"{self.root}/{_STAGING}"
        self._delete_old_uploads(staging)
        parts = f"{_STAGING}/{uuid.uuid4().hex}/{path.name}"
        self.fs.put_file(str(path), self.path(parts))
        self._check_same(path, parts)
        self.move(parts, key)

    def _check_same(self, path: Path, key: str) -> None:
        """Check that a file and an object have the same size and the same md5."""
        info = self.fs.info(self.path(key))
        there = info["size"], info.get("md5Hash")
        here = path.stat().st_size, _md5_of(path) if there[1] else None
        if there != here:
            raise LakeUnavailable(f"{self.url(key)}: size and md5 are {there} in the bucket, expected {here}")

    def _delete_old_uploads(self, staging: str) -> None:
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
        _delete_old(staging.glob("*"))
        folder = staging / uuid.uuid4().hex
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _protocols(fs: AbstractFileSystem | None) -> tuple[str, ...]:
    if fs is None:
        return (_LOCAL_PROTOCOL,)
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _unsupported(url: str) -> ValueError:
    return ValueError(f"lake {url}: expected file:/// or gs://")


def _listed_folder(root: Path, zone: str) -> dict[str, Stamp]:
    stamps = {}
    for path in (root / zone).rglob("*"):
        with suppress(FileNotFoundError):  # another run has replaced it meanwhile
            if path.is_file():
                state = path.stat()
                etag, changed_at = (
                    f"{state.st_ino:x}-{state.st_mtime_ns:x}",
                    datetime.fromtimestamp(state.st_mtime, UTC),
                )
                stamps[path.relative_to(root).as_posix()] = Stamp(state.st_size, etag, changed_at)
    return stamps


def _bucket_stamp(info: Mapping[str, Any]) -> Stamp:
    return Stamp(int(info["size"]), info["etag"], info["mtime"])


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Give a folder of this machine for this block."""
    _delete_old(Path(tempfile.gettempdir()).glob(f"{_TEMPORARY}*"))
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY) as folder:
        yield Path(folder)


def _delete_old(folders: Iterable[Path]) -> None:
    """Delete the folders that killed processes left behind."""
    for folder in folders:
        try:
            if folder.stat().st_mtime < time() - _STAGED_FOR_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:
            continue


def _flush(path: Path) -> None:
    """Write the bytes to disk before the move makes them visible."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
