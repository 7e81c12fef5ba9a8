"""changes: compare two editions of a trip file row by row, in bounded memory.

Editions are compared as multisets of canonical rows. Each row becomes a hash of 64 bits, and the hashes of both
editions are spilled into buckets on disk by their first bits, so that only one bucket is in memory at a time.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter, defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from include.nyc_taxi import catalog
from include.nyc_taxi.buffers import numbers, valid
from include.nyc_taxi.reading import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import BinaryIO

    from numpy.typing import NDArray

    from include.nyc_taxi.reading import Reading
    from include.nyc_taxi.trip_file import TripFile

    Hashes = NDArray[np.uint64]

_BUCKET_BITS = 6
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIXER = np.uint64(0xBF58476D1CE4E5B9)
_NULL = np.uint64(0x94D049BB133111EB)
_CENTS = 2
_LARGEST_SUM = 1e15  # beyond it a sum has no cents, and may be infinite, which JSON cannot say
_CHARGES = tuple(service.charge for service in catalog.services().values() if service.charge)


@dataclass(frozen=True)
class Changes:
    """What a republished file has changed.

    `before` and `after` name the two editions. `added`, `removed` and `equal` count rows. `sums` are the sums of the
    amounts before and after, in the units of their columns, where they differ. `columns_came` and `columns_went` are
    published names.
    """

    before: str
    after: str
    added: int
    removed: int
    equal: int
    sums: Mapping[str, Sequence[float]] = field(default_factory=dict)
    columns_came: Sequence[str] = ()
    columns_went: Sequence[str] = ()

    def __str__(self) -> str:
        told = [f"{self.added:,} {'row' if self.added == 1 else 'rows'} added", f"{self.removed:,} removed"]
        told += [f"{name} {after - before:+,.2f}" for name, (before, after) in self.sums.items() if name in _CHARGES]
        told += [f"new columns {', '.join(self.columns_came)}"] if self.columns_came else []
        told += [f"dropped columns {', '.join(self.columns_went)}"] if self.columns_went else []
        return ", ".join(told)


def compare(file: TripFile, old: Path, new: Path, *, before: str, after: str, source: str = "official") -> Changes:
    """Compare two published files of one month, of which `before` and `after` are the names.

    Raises:
        SchemaMismatch, DamagedFile: a file cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="nyc-taxi-changes-") as folder:
        first = _spilled(file, old, Path(folder, "old"), source)
        second = _spilled(file, new, Path(folder, "new"), source)
        counts: Counter[str] = Counter()
        for number in range(1 << _BUCKET_BITS):
            counts.update(_compared(*(np.fromfile(part.bucket(number), np.uint64) for part in (first, second))))
    sums = {name: (_rounded(first.sums[name]), _rounded(second.sums[name])) for name in first.sums}
    return Changes(
        before,
        after,
        counts["added"],
        counts["removed"],
        counts["equal"],
        {name: pair for name, pair in sums.items() if pair[0] != pair[1]},
        tuple(name for name in second.names if name not in first.names),
        tuple(name for name in first.names if name not in second.names),
    )


def _rounded(amount: float) -> float:
    return round(max(-_LARGEST_SUM, min(amount, _LARGEST_SUM)), _CENTS)


def _compared(before: Hashes, after: Hashes) -> dict[str, int]:
    """Count the rows of two multisets that are only in one of them, and those in both."""
    values, codes = np.unique(np.concatenate([before, after]), return_inverse=True)
    old = np.bincount(codes[: len(before)], minlength=len(values))
    new = np.bincount(codes[len(before) :], minlength=len(values))
    equal = int(np.minimum(old, new).sum())
    return {"added": len(after) - equal, "removed": len(before) - equal, "equal": equal}


class _Spill:
    """The hashes of a file's rows in a folder, a bucket each by their first bits, and the sums of its amounts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sums: dict[str, float] = defaultdict(float)
        self.names: Sequence[str] = ()
        folder.mkdir()

    def bucket(self, number: int) -> Path:
        return self.folder / str(number)

    def write(self, batches: Iterator[tuple[pa.RecordBatch, Hashes]]) -> None:
        with ExitStack() as stack:
            buckets: list[BinaryIO] = [
                stack.enter_context(self.bucket(number).open("wb")) for number in range(1 << _BUCKET_BITS)
            ]
            for rows, hashes in batches:
                self._sum(rows)
                buckets_of_rows = (hashes >> np.uint64(64 - _BUCKET_BITS)).astype(np.int64)
                for number in np.unique(buckets_of_rows):
                    hashes[buckets_of_rows == number].tofile(buckets[number])

    def _sum(self, rows: pa.RecordBatch) -> None:
        for name, column in zip(rows.schema.names, rows.columns, strict=True):
            if pa.types.is_floating(column.type):
                values = numbers(column, np.float64, null=0.0)
                with np.errstate(over="ignore"):
                    self.sums[name] += float(values[np.isfinite(values)].sum())


def _spilled(file: TripFile, path: Path, folder: Path, source: str) -> _Spill:
    spill = _Spill(folder)
    with read(path, file, source=source, unknown_columns="drop") as reading:
        spill.names = reading.names
        spill.write(_every_row(reading))
    return spill


def _every_row(reading: Reading) -> Iterator[tuple[pa.RecordBatch, Hashes]]:
    """Every row and its hash; that of a misfit is also of the value that its row could not hold."""
    for rows in reading.batches:
        yield rows, hashes_of(rows)
    for rows, values in reading.misfits.rows:
        words = np.array([_word_hash(value.encode()) for value in values], np.uint64)
        yield rows, _mixed(hashes_of(rows) + words)


def hashes_of(rows: pa.RecordBatch) -> Hashes:
    """Return a hash of 64 bits for each row: equal rows have equal hashes, whatever batch they come in."""
    hashes = np.zeros(rows.num_rows, np.uint64)
    with np.errstate(over="ignore"):
        for column in rows.columns:
            hashes = _mixed(hashes * _MULTIPLIER + _column_hashes(column))
    return hashes


def _column_hashes(column: pa.Array) -> Hashes:
    if pa.types.is_string(column.type):
        return _text_hashes(column)
    if pa.types.is_floating(column.type):
        values = numbers(column, np.float64, null=np.nan) + 0.0  # -0.0 is 0.0
        values[np.isnan(values)] = np.nan  # not a number is one value, whatever its bits
        hashes = _mixed(values.view(np.uint64))
    else:
        width = np.dtype(f"i{column.type.bit_width // 8}").type
        hashes = _mixed(numbers(column, width, null=0).astype(np.int64).view(np.uint64))
    return _with_nulls(column, hashes)


def _text_hashes(column: pa.Array) -> Hashes:
    words = column.dictionary_encode()
    known = [_word_hash(word) for word in words.dictionary.cast(pa.binary()).to_pylist()] or [0]
    codes = numbers(words.indices, np.int32, null=0)
    hashes = np.array(known, np.uint64)[codes]
    return _with_nulls(column, hashes)


def _with_nulls(column: pa.Array, hashes: Hashes) -> Hashes:
    present = valid(column)
    return hashes if present is None else np.where(present, hashes, _NULL)


def _word_hash(word: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(word, digest_size=8).digest(), "little")


def _mixed(values: Hashes) -> Hashes:
    """Spread every bit of the values over all bits."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * _MIXER
        return values ^ (values >> np.uint64(27))
