"""seal: a digest in a Parquet file of all of its other bytes, so that no damaged byte is read as another value.

Parquet's own checksums protect the values in its pages, but not the headers of pages and not the footer, which has the
statistics, the names and types of columns, and the places of their pages.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa

from include.nyc_taxi.errors import DamagedData, LakeChanged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from include.nyc_taxi.lake import Lake, Stamp

_DIGITS = 64
UNSEALED = {b"nyc_taxi_sha256": b"0" * _DIGITS}
"""The metadata that a file must have before it can be sealed."""
_MARK = b"nyc_taxi_sha256\x18\x40"  # as Thrift writes a key whose value has 64 bytes
_TAIL_BYTES = 8
_LARGEST_FOOTER_BYTES = 16 << 20
_CHUNK_BYTES = 1 << 20


def seal(path: Path) -> None:
    """Write the digest into a complete Parquet file that has the metadata `UNSEALED`.

    Raises:
        ValueError: it does not have it.
    """
    with path.open("rb+") as file:
        place = _place(file)
        if place is None:
            raise ValueError(f"{path}: found no metadata for its digest, expected {list(UNSEALED)}")
        digest = _digest(file, place)
        file.seek(place)
        file.write(digest)


@contextmanager
def intact(lake: Lake, key: str) -> Iterator[BinaryIO]:
    """Open an object of data/ or rejects/ after reading it once to check it; a damaged one is set aside.

    Files of an earlier version have no digest: if the block cannot read one, it counts as damaged.

    Raises:
        FileNotFoundError: there is no such object.
        DamagedData: it is damaged.
    """
    state = lake.stamp(key)
    with lake.local(key) as path, path.open("rb") as file:
        place = _place(file)
        if place is not None and not _fits(file, place):
            raise _damaged(lake, key, state, "its bytes do not fit its digest")
        file.seek(0)
        try:
            yield file
        except (pa.ArrowException, OSError) as error:
            if place is not None or not is_unreadable(error):
                raise
            raise _damaged(lake, key, state, str(error)) from error


def is_unreadable(error: Exception) -> bool:
    """Whether an error of Arrow is about what a file holds, and not of the disk, network or memory that it needs."""
    if isinstance(error, MemoryError):
        return False
    return isinstance(error, pa.ArrowException) or (type(error) is OSError and error.errno is None)


def _damaged(lake: Lake, key: str, state: Stamp | None, reason: str) -> DamagedData:
    """Set the object aside, unless another run has replaced it, and return the error that says so."""
    try:
        where = lake.set_aside(key, state)
    except (FileNotFoundError, LakeChanged):
        return DamagedData(f"{lake.url(key)} was damaged: {reason}. Another run has replaced it meanwhile")
    return DamagedData(f"{lake.url(key)} was damaged: {reason}. It was moved to {where}: the next run lands it again")


def _place(file: BinaryIO) -> int | None:
    """Return where the digest is; None if the file has none."""
    end = file.seek(0, 2)
    file.seek(max(0, end - _TAIL_BYTES))
    footer_bytes = int.from_bytes(file.read(_TAIL_BYTES)[:4], "little")
    start = end - _TAIL_BYTES - min(footer_bytes, _LARGEST_FOOTER_BYTES)
    if start < 0:
        return None
    file.seek(start)
    found = file.read().rfind(_MARK)
    return None if found < 0 else start + found + len(_MARK)


def _fits(file: BinaryIO, place: int) -> bool:
    digest = _digest(file, place)
    file.seek(place)
    return file.read(_DIGITS) == digest


def _digest(file: BinaryIO, place: int) -> bytes:
    """Return the sha256 of all bytes but those of the digest itself, in hex."""
    sha256 = hashlib.sha256()
    file.seek(0)
    left = place
    while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
        sha256.update(chunk)
        left -= len(chunk)
    file.seek(place + _DIGITS)
    sha256.update(file.read())
    return sha256.hexdigest().encode()
