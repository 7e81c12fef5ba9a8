"""What the publisher publishes: sources, services, their columns and the eras of their files, read from rows of data.

The rows are in the ``.toml`` files beside this module. A new column, alias, era, service or source is a new row there.
"""

from __future__ import annotations

import csv
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeVar

from include.nyc_taxi.errors import PermanentError
from include.nyc_taxi.month import Month

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.nyc_taxi.trip_file import TripFile

_Row = TypeVar("_Row")


@dataclass(frozen=True)
class Column:
    """A canonical column: the same name and meaning in the lake and in every warehouse.

    `type` is int16, int32, float64, timestamp (naive, microseconds) or text; each place spells it in its own way.
    `codes` says what words of the files stand for, "" being null; `values` are those that the publisher's dictionary
    explains, where it lists them.
    """

    name: str
    type: str
    description: str
    services: tuple[str, ...]
    published_as: tuple[str, ...]
    codes: Mapping[str, str] = field(default_factory=dict, hash=False)
    values: tuple[int | str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All names that it has or had, the canonical one first."""
        return (self.name, *self.published_as)

    def is_published_as(self, name: str) -> bool:
        """Whether this is the column's name in some file, whatever its case and the spaces around it."""
        return _folded(name) in map(_folded, self.names)


@dataclass(frozen=True)
class Era:
    """A span of months whose files share one list of columns; it ends where the next era of its source begins.

    `padding` is how many empty fields the rows of its CSV files have beyond the header; `worded` says that they have
    words where today's have codes; `encoding` is that of their text; `ignored` columns mean nothing; `renamed` gives
    the canonical columns behind names that meant something else in this era.
    """

    source: str
    since: Month
    columns: tuple[str, ...]
    padding: int = 0
    worded: bool = False
    encoding: str = "utf8"
    ignored: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """How manifests and ledgers call it."""
        return f"{self.source}-{self.since}"


@dataclass(frozen=True)
class Source:
    """A publisher of trip files: where a file lies under its base URL, and a month known to be there."""

    name: str
    connection: str
    description: str
    base_url: str
    path: str
    known: str

    def url(self, file: TripFile, base_url: str | None = None) -> str:
        """Where this source publishes the file; another base URL serves a mirror or a test."""
        return f"{(base_url or self.base_url).rstrip('/')}/{self.path_of(file)}"

    def path_of(self, file: TripFile) -> str:
        """The file's path under the base URL."""
        return self.path.format(service=file.service, month=file.month)

    def known_url(self, service: str, base_url: str | None = None) -> str:
        """A file of the service that has been published for years."""
        path = self.path.format(service=service, month=self.known)
        return f"{(base_url or self.base_url).rstrip('/')}/{path}"


@dataclass(frozen=True)
class Service:
    """A kind of taxi or car service whose trip records are published month by month."""

    name: str
    description: str
    columns: tuple[Column, ...]
    eras: Mapping[str, tuple[Era, ...]]
    last: Mapping[str, Month]

    def column_published_as(self, name: str, era: Era | None = None) -> Column | None:
        """The canonical column behind a published name, whatever its case and the spaces around it."""
        if era is not None:
            name = era.renamed.get(_folded(name), name)
        return self._by_published_name.get(_folded(name))

    def era(self, source: str, month: Month) -> Era:
        """The era of the file that this source publishes for the month."""
        eras = self.eras.get(source, ())
        if not eras:
            raise PermanentError(f"{self.name}: source {source!r} does not publish it; sources are {sorted(self.eras)}")
        last = self.last.get(source)
        if month < eras[0].since or (last is not None and month > last):
            span = f"from {eras[0].since} to {last}" if last else f"from {eras[0].since} on"
            raise PermanentError(f"{self.name} {month}: source {source!r} has {self.name} {span}")
        return max((era for era in eras if era.since <= month), key=lambda era: era.since)

    @property
    def _by_published_name(self) -> dict[str, Column]:
        return _names(self.columns)


@cache
def _names(columns: tuple[Column, ...]) -> dict[str, Column]:
    names: dict[str, Column] = {}
    for column in columns:
        for name in column.names:
            if names.setdefault(_folded(name), column) is not column:
                raise ValueError(f"published name {name!r} stands for {names[_folded(name)].name} and {column.name}")
    return names


def _folded(name: str) -> str:
    return name.strip().lower()


@dataclass(frozen=True)
class Expected:
    """What was once seen of a published file: its rows, its size in bytes and the day of its last change."""

    rows: int
    bytes: int
    last_modified: str


def expected(file: TripFile, source: str) -> Expected | None:
    """What is known of a published file; None for the many of which nothing is."""
    return expectations().get((source, file.service, str(file.month)))


@cache
def expectations() -> dict[tuple[str, str, str], Expected]:
    """What is known of published files, by source, service and month."""
    lines = _data("published_files.csv").splitlines()
    return {
        (row["source"], row["service"], row["month"]): Expected(
            int(row["rows"]), int(row["bytes"]), row["last_modified"]
        )
        for row in csv.DictReader(lines)
    }


def service(name: str) -> Service:
    """The service of that name; an unknown one is a ValueError that lists the known."""
    return _row(services(), "service", name)


def source(name: str) -> Source:
    """The source of that name; an unknown one is a ValueError that lists the known."""
    return _row(sources(), "source", name)


@cache
def sources() -> dict[str, Source]:
    """Every source, by name."""
    return {row["name"]: Source(**row) for row in _rows("sources", "source")}


@cache
def columns() -> tuple[Column, ...]:
    """Every canonical column, in the order of the tables."""
    return tuple(_column(row) for row in _rows("columns", "column"))


@cache
def services() -> dict[str, Service]:
    """Every service, by name."""
    return {row["name"]: _service(row) for row in _rows("services", "service")}


def _service(row: dict[str, Any]) -> Service:
    eras: dict[str, list[Era]] = {}
    for era in row["era"]:
        since = Month.parse(era["since"])
        named = Era(
            source=era["source"],
            since=since,
            columns=tuple(era["columns"].split() if isinstance(era["columns"], str) else era["columns"]),
            padding=era.get("padding", 0),
            worded=era.get("worded", False),
            encoding=era.get("encoding", "utf8"),
            ignored=tuple(era.get("ignored", ())),
            renamed={_folded(name): column for name, column in era.get("renamed", {}).items()},
        )
        eras.setdefault(era["source"], []).append(named)
    return Service(
        name=row["name"],
        description=row["description"],
        columns=tuple(column for column in columns() if row["name"] in column.services),
        eras={source: tuple(sorted(of_source, key=lambda era: era.since)) for source, of_source in eras.items()},
        last={source: Month.parse(month) for source, month in row.get("last", {}).items()},
    )


def _row(rows: Mapping[str, _Row], kind: str, name: str) -> _Row:
    try:
        return rows[name]
    except KeyError:
        raise ValueError(f"{kind} {name!r} is not one of {sorted(rows)}") from None


def _rows(file: str, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tomllib.loads(_data(f"{file}.toml"))[table]
    return rows


def _data(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _column(row: dict[str, Any]) -> Column:
    codes = {_folded(word): str(value) for word, value in row.get("codes", {}).items()}
    lists = {key: tuple(value) for key, value in row.items() if isinstance(value, list)}
    return Column(**row | lists | {"codes": codes})
