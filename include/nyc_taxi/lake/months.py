"""months: the months in place in the lake, for whoever reads them: which there are, and their rows.

    >>> from include.nyc_taxi import lake
    >>> january = lake.open("file:///data/lake").month("green", "2024-01")  # doctest: +SKIP
    >>> january.frame(["pickup_datetime", "tip_amount"])  # doctest: +SKIP

A month is in place if data/ and rejects/ hold it with the same recipe; between the two moves of a commit it is not.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from include.nyc_taxi.errors import NotInLake
from include.nyc_taxi.lake.keys import data_key, rejects_key
from include.nyc_taxi.trip_file import TripFile

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping, Sequence

    import pandas as pd
    import pyarrow as pa
    from pyarrow import dataset

    from include.nyc_taxi.lake.store import Stamp, Store

    Footers = MutableMapping[tuple[str, Stamp], "Footer | None"]

METADATA_KEY = b"nyc_taxi"
"""The key in the metadata of a file of data/ or rejects/ under which the pass that wrote it is described, as JSON."""
_FOOTERS_AT_A_TIME = 16


@dataclass(frozen=True)
class Footer:
    """What a file of data/ or rejects/ says of itself: its columns, and the pass that wrote it."""

    columns: tuple[str, ...]
    description: Mapping[str, Any]


@dataclass(frozen=True)
class MonthInLake:
    """A month in place. Its rows are read when they are asked for, and only the columns that are named.

    `description` has the fields of `landed_rows.Landed`: `rows_read`, `rejected_by_reason`, `source_url` and so on.
    """

    file: TripFile
    store: Store = field(repr=False, compare=False)
    accepted: Stamp = field(repr=False)
    rejected: Stamp = field(repr=False)
    columns: tuple[str, ...] = field(repr=False)
    rejects_columns: tuple[str, ...] = field(repr=False)
    description: Mapping[str, Any] = field(repr=False, compare=False)

    def dataset(self) -> dataset.Dataset:
        """Return the accepted rows as a pyarrow dataset, of which nothing is read yet."""
        return _dataset(self.store, data_key(self.file), self.accepted)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the accepted rows, or only these columns of them.

        Raises:
            ValueError: the month has no such column; the message lists those it has.
        """
        return self.dataset().to_table(columns=self._known(columns, self.columns))

    def frame(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read the accepted rows, or only these columns of them, as a pandas frame; integers stay integers."""
        return _frame(self.table(columns))

    def rejects(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read the rejected rows, each with its `reason`, as a pandas frame."""
        known = self._known(columns, self.rejects_columns)
        return _frame(_dataset(self.store, rejects_key(self.file), self.rejected).to_table(columns=known))

    def _known(self, columns: Sequence[str] | None, there: Sequence[str]) -> list[str]:
        wanted = list(there if columns is None else [columns] if isinstance(columns, str) else columns)
        if unknown := [name for name in wanted if name not in there]:
            raise ValueError(f"{self.file} has no columns {unknown}; it has {list(there)}")
        return wanted


def months(store: Store, service: str | None, footers: Footers) -> list[MonthInLake]:
    """List the months in place of a service, or of all, in order.

    `footers` keeps what was read of files, so that a second look reads only those that have changed since.
    """
    under = f"/{service}" if service else ""
    accepted, rejected = (trip_files(store, f"{zone}{under}") for zone in ("data", "rejects"))
    both = sorted(accepted.keys() & rejected.keys())
    states = [(data_key(file), accepted[file]) for file in both] + [
        (rejects_key(file), rejected[file]) for file in both
    ]
    unread = [state for state in states if state not in footers]
    with ThreadPoolExecutor(_FOOTERS_AT_A_TIME) as pool:
        footers.update(zip(unread, pool.map(lambda state: footer(store, state[0]), unread), strict=True))
    found = (_month(store, file, accepted[file], rejected[file], footers) for file in both)
    return [month for month in found if month is not None]


def month(store: Store, file: TripFile) -> MonthInLake:
    """Return a month in place.

    Raises:
        NotInLake: it is not there; or another run is just committing it.
    """
    stamps = {key: store.stamp(key) for key in (data_key(file), rejects_key(file))}
    there = {key: stamp for key, stamp in stamps.items() if stamp is not None}
    footers = {(key, stamp): footer(store, key) for key, stamp in there.items()}
    if len(there) == len(stamps):
        found = _month(store, file, there[data_key(file)], there[rejects_key(file)], footers)
        if found is not None:
            return found
    others = [str(other.file.month) for other in months(store, file.service, {})]
    raise NotInLake(f"{file} is not in place in {store.url('')}; in place of {file.service} are {others}")


def footer(store: Store, key: str) -> Footer | None:
    """Read what an object of data/ or rejects/ says of itself; None if it is gone, or says nothing that can be read."""
    import pyarrow as pa
    from pyarrow import parquet

    with suppress(FileNotFoundError, pa.ArrowException, KeyError, ValueError), store.open(key) as opened:
        metadata = parquet.read_metadata(opened)
        return Footer(tuple(metadata.schema.to_arrow_schema().names), json.loads(metadata.metadata[METADATA_KEY]))
    return None


def _month(store: Store, file: TripFile, accepted: Stamp, rejected: Stamp, footers: Footers) -> MonthInLake | None:
    """The month if its two files are of one recipe."""
    data, rejects = footers[data_key(file), accepted], footers[rejects_key(file), rejected]
    if data is None or rejects is None or data.description.get("recipe") != rejects.description.get("recipe"):
        return None
    return MonthInLake(file, store, accepted, rejected, data.columns, rejects.columns, data.description)


def trip_files(store: Store, under: str) -> dict[TripFile, Stamp]:
    """List the trip files under a key: a stamp for each."""
    stamps = {}
    for key, stamp in store.listed(under).items():
        with suppress(ValueError):  # a file of another name is not ours
            stamps[TripFile.parse_key(key)] = stamp
    return stamps


def _dataset(store: Store, key: str, stamp: Stamp) -> dataset.Dataset:
    from pyarrow import dataset, fs

    path, objects = f"{store.root}/{key}", store.objects()
    if objects is None:
        return dataset.dataset(path, filesystem=fs.LocalFileSystem(), format="parquet")
    system = fs.PyFileSystem(fs.FSSpecHandler(objects))
    return dataset.dataset(f"{path}#{stamp.version}", filesystem=system, format="parquet")


def _frame(table: pa.Table) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    # Without these, a column of integers with nulls would become one of floats.
    integers = {pa.int16(): pd.Int16Dtype(), pa.int32(): pd.Int32Dtype()}
    return table.to_pandas(types_mapper=integers.get)
