"""lake: a folder or bucket with four zones, where an object appears under its key only when it is complete.

    raw/{source}/{service}/          the bytes as published, every edition of a file
    data/{service}/                  accepted rows, in the canonical schema
    rejects/{service}/               rejected rows, each with its reason
    zones/                           the taxi zones

The lake is a local folder, which is written without a copy, or a bucket of Google Cloud Storage or of S3. Files that
are not committed yet are in .staging/ for a day at most.

For questions by hand:

    >>> from include.nyc_taxi import lake
    >>> trips = lake.open("file:///data/lake")  # doctest: +SKIP
    >>> trips.months("green")  # doctest: +SKIP
    >>> trips.month("green", "2024-01").frame(["pickup_datetime", "tip_amount"])  # doctest: +SKIP
"""

from __future__ import annotations

import errno
import tempfile
import uuid
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from include.nyc_taxi.addresses import FOLDER, LAKE_BEGINNINGS
from include.nyc_taxi.errors import LakeChanged, LakeUnavailable
from include.nyc_taxi.lake import months
from include.nyc_taxi.lake.folder import Folder
from include.nyc_taxi.lake.keys import (
    DAMAGED,
    STAGING,
    data_key,
    edition_key,
    history_key,
    raw_key,
    rejects_key,
    staging_keys,
)
from include.nyc_taxi.lake.months import METADATA_KEY, MonthInLake
from include.nyc_taxi.lake.store import ANYTHING, Stamp, sha256_of
from include.nyc_taxi.month import Month
from include.nyc_taxi.trip_file import TripFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fsspec import AbstractFileSystem

    from include.nyc_taxi.lake.store import Replacing, Store

__all__ = [
    "ANYTHING",
    "METADATA_KEY",
    "Lake",
    "MonthInLake",
    "Stamp",
    "data_key",
    "edition_key",
    "history_key",
    "open",
    "raw_key",
    "rejects_key",
    "sha256_of",
    "staging_keys",
]

# What holds a lake, by the protocol of its URL: a module of this package and its class. `addresses` has the protocols.
_STORES = {FOLDER: ("folder", "Folder"), "gs": ("bucket", "Bucket"), "s3": ("s3", "S3")}
_UPDATES = 20


class Lake:
    """Stores objects under keys such as ``data/green/green_tripdata_2024-01.parquet``."""

    def __init__(self, fs: AbstractFileSystem | None, root: str) -> None:
        """Open the lake at a path of a file system.

        Args:
            fs: the file system: that of gcsfs, or `s3_objects.Objects`; None is this machine's own, without the cost of
                importing fsspec.
            root: the folder, or bucket and prefix, that holds every key.

        Raises:
            ValueError: the file system is of another protocol.
        """
        self.root = root.rstrip("/")
        self._store = _store(fs, self.root)
        self._footers: months.Footers = {}

    @classmethod
    def at(cls, url: str | Path) -> Lake:
        """Open the lake at a path or at a URL such as ``file:///data/lake``, ``gs://bucket/prefix`` or ``s3://bucket``.

        Raises:
            ValueError: the URL is of another protocol.
            SetUpError: the package that its protocol needs is not installed.
        """
        protocol, _, path = str(url).rpartition("://")
        return cls(*_kind(protocol or FOLDER, str(url)).opened(path))

    @property
    def fs(self) -> AbstractFileSystem:
        """The fsspec file system that holds the lake."""
        return self._store.fs

    @property
    def is_local(self) -> bool:
        """Whether the lake is a folder of this machine."""
        return isinstance(self._store, Folder)

    def objects(self) -> AbstractFileSystem | None:
        """Return a file system that opens ``{path}#{version}``: an object in the state of a stamp; None in a folder."""
        return self._store.objects()

    def check(self) -> None:
        """See that the place honours the conditions of writes, if that depends on its server.

        Raises:
            SetUpError: it does not.
        """
        self._store.check()

    def path(self, key: str) -> str:
        """Return the object's path on the lake's file system."""
        return f"{self.root}/{key}"

    def url(self, key: str) -> str:
        """Return the object's URL, for people and logs."""
        return self._store.url(key)

    def size(self, key: str) -> int | None:
        """Return the object's size in bytes; None if there is no such object."""
        stamp = self.stamp(key)
        return None if stamp is None else stamp.bytes

    def stamp(self, key: str) -> Stamp | None:
        """Return the object's state, which a later write may name as the one that it replaces; None without one."""
        return self._store.stamp(key)

    def listed(self, zone: str) -> dict[str, Stamp]:
        """List the objects of a zone such as ``data``: a stamp for each key."""
        return self._store.listed(zone)

    def trip_files(self, zone: str) -> dict[TripFile, Stamp]:
        """List the trip files of a zone such as ``data``: a stamp for each."""
        return months.trip_files(self._store, zone)

    def months(self, service: str | None = None) -> list[MonthInLake]:
        """List the months in place of a service, or of all, in order. A second look reads only what has changed."""
        return months.months(self._store, service, self._footers)

    def month(self, service: str, month: str | Month) -> MonthInLake:
        """Return a month in place, of which rows and columns can be read: see `months.MonthInLake`.

        Raises:
            NotInLake: it is not there; the message lists the months of the service that are.
            ValueError: there is no such service, or the month is not YYYY-MM.
        """
        return months.month(self._store, TripFile(service, month if isinstance(month, Month) else Month.parse(month)))

    def open(self, key: str) -> BinaryIO:
        """Open the object for reading."""
        return self._store.open(key)

    def read(self, key: str) -> bytes | None:
        """Return the bytes of a small object, all of one state of it; None if there is no such object."""
        try:
            return self._store.read(key)
        except FileNotFoundError:
            return None

    @contextmanager
    def staged(self, key: str, replacing: Replacing = ANYTHING) -> Iterator[Path]:
        """Give a local file to write, and commit it as the object in one move when the block succeeds.

        If the block fails, the file is deleted and the object stays as it was. `replacing` makes the write conditional.

        Raises:
            LakeUnavailable: the disk is full, or the bucket received other bytes than were sent.
            LakeChanged: the object is not in the state that was to be replaced.
        """
        with self.scratch(key) as path:
            yield path
            self.commit(path, key, replacing)

    @contextmanager
    def scratch(self, key: str) -> Iterator[Path]:
        """Give a local file to write, for `commit` to make an object of within this block."""
        with self._full_disk_reported(key), self._store.staging_folder() as folder:
            yield folder / PurePosixPath(key).name

    def commit(self, path: Path, key: str, replacing: Replacing = ANYTHING) -> None:
        """Make a file given by `scratch` the object, in one move."""
        self._store.commit(path, key, replacing)

    def move(self, key: str, to: str, replacing: Replacing = ANYTHING) -> None:
        """Move an object to another key in one step, replacing the object that is there.

        Raises:
            FileNotFoundError: there is no such object.
            LakeChanged: the object at the other key is not in the state that was to be replaced.
        """
        self._store.move(key, to, replacing)

    def near(self, key: str, to: str) -> str:
        """Copy an object to where a move to another key is one step, unless it is there; returns its key there."""
        return self._store.near(key, to)

    @contextmanager
    def frozen(self, key: str, state: Stamp) -> Iterator[str]:
        """Give the URL of a copy of the object for this block, which no other run replaces.

        Raises:
            LakeChanged: the object is in another state.
        """
        copy = f"{STAGING}/{uuid.uuid4().hex}/{PurePosixPath(key).name}"
        self._store.copy(key, copy, state)
        try:
            yield self.url(copy)
        finally:
            self.delete(copy)

    def update(self, key: str, change: Callable[[bytes | None], bytes | None]) -> bytes | None:
        """Change a small object by compare and set, whoever else changes it; returns what it holds then.

        `change` gets the present bytes, or None, and returns the new ones, or None to leave the object as it is. It is
        called again if another run was faster.
        """
        for _ in range(_UPDATES):
            stamp, present = self.stamp(key), self.read(key)
            wanted = change(present)
            if wanted is None or wanted == present:
                return present
            try:
                with self.staged(key, stamp) as path:
                    path.write_bytes(wanted)
            except LakeChanged:
                continue
            return wanted
        raise LakeChanged(f"{self.url(key)}: other runs changed it {_UPDATES} times meanwhile")

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        """Give a local file with the object's bytes: the object itself in a local lake, else a copy for this block."""
        with self._full_disk_reported(key), self._store.local(key) as path:
            yield path

    def delete(self, key: str, state: Replacing = ANYTHING) -> None:
        """Delete the object if there is one.

        Raises:
            LakeChanged: the object is not in the given state.
        """
        self._store.delete(key, state)

    def set_aside(self, key: str, state: Replacing = ANYTHING) -> str:
        """Move a damaged object out of its zone; returns its new URL.

        Raises:
            FileNotFoundError: there is no such object.
            LakeChanged: the object is no longer in the state in which it was found damaged.
        """
        to = f"{DAMAGED}/{key}"
        self._store.move(key, to, ANYTHING, state)
        return self.url(to)

    @contextmanager
    def _full_disk_reported(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            where = self.root if self.is_local else tempfile.gettempdir()
            raise LakeUnavailable(f"{self.url(key)}: no space is left in {where}; free some: {error}") from error


def open(url: str | Path) -> Lake:  # noqa: A001 - people write lake.open
    """Open the lake at a path, or at a URL such as ``gs://bucket/prefix`` or ``s3://bucket/prefix``: see `Lake.at`."""
    return Lake.at(url)


def _store(fs: AbstractFileSystem | None, root: str) -> Store:
    if fs is None:
        return Folder(root)
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
    protocol = next((name for name in protocols if name in _STORES), protocols[0])
    kind = _kind(protocol, f"{protocol}://{root.lstrip('/')}")
    return Folder(root) if kind is Folder else kind(fs, root)


def _kind(protocol: str, url: str) -> Any:  # noqa: ANN401 - a class of a store, which differ in what they take
    if protocol not in _STORES:
        raise ValueError(f"lake {url}: expected {LAKE_BEGINNINGS}")
    module, name = _STORES[protocol]
    return getattr(import_module(f"{__name__}.{module}"), name)
