"""catalog: the sources, the services, their columns and the eras of their files, read from rows of data.

The rows are in the ``.toml`` files beside this module. A new column, alias, era, service or source is a new row there,
and so is a trait of a service: no other module compares a service's name.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import tomllib
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from include.nyc_taxi.addresses import Address, under
from include.nyc_taxi.errors import PermanentError
from include.nyc_taxi.month import Month

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).parent
PUBLISHED_FILES_VARIABLE = "TAXI_PUBLISHED_FILES"

_Row = TypeVar("_Row")

_PUBLISHER = "official"
_WHOLE_NUMBERS = ("int16", "int32")
_ELSEWHERE = re.compile(r"elsewhere\.[0-9a-f]{8}")


class MonthOfService(Protocol):
    """Names a published file by its service and its month, as ``TripFile`` does."""

    @property
    def service(self) -> str:
        """The name of the service."""

    @property
    def month(self) -> Month:
        """The month of the file."""


@dataclass(frozen=True)
class Column:
    """Describes a canonical column, which has the same name and meaning in the lake and in every target.

    `type` is int16, int32, float64, timestamp (naive, microseconds) or text; each target has its own name for it.
    `codes` translates words of the files into values; "" is null. `values` are the values that the publisher's
    dictionary explains, if it lists them. `published_types` are the types of whole numbers in today's Parquet files, by
    service, where it is not int64.
    """

    name: str
    type: str
    description: str
    services: tuple[str, ...]
    published_as: tuple[str, ...]
    codes: Mapping[str, str] = field(default_factory=dict, hash=False)
    values: tuple[int | str, ...] = ()
    published_types: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name of the column, past and present, the canonical one first."""
        return (self.name, *self.published_as)

    def is_published_as(self, name: str) -> bool:
        """Whether some file has the column under this name, ignoring case and surrounding spaces."""
        return _folded(name) in map(_folded, self.names)

    def published_type(self, service: str) -> str:
        """Return its type in today's Parquet files of a service: int32, int64, float64, timestamp or text."""
        return self.published_types.get(service, "int64") if self.type in _WHOLE_NUMBERS else self.type


@dataclass(frozen=True)
class PublishedColumn:
    """Describes a column of today's files: its published name and type, and the canonical column that it is."""

    name: str
    type: str
    column: Column


@dataclass(frozen=True)
class Era:
    """Describes a span of months whose files share one list of columns; it ends when its source's next era begins.

    Rows of its CSV files have `padding` empty fields after those of the header. `worded` CSV files have words where
    today's files have codes. `encoding` is the encoding of their text. `ignored` columns have no meaning. `renamed`
    maps published names that meant something else in this era to their canonical columns.
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
        """The era's name in manifests and ledgers, such as ``official-2014-01``."""
        return f"{self.source}-{self.since}"


@dataclass(frozen=True)
class Source:
    """Describes a publisher of trip files.

    A file is at `path` under `base_url`, which the orchestrator's connection named `connection` may replace. `known` is
    a month, YYYY-MM, that every service of the source has had for years. `redirect_hosts` are other hosts that it may
    redirect a request to.
    """

    name: str
    connection: str
    description: str
    base_url: str
    path: str
    known: str
    redirect_hosts: tuple[str, ...] = ()

    def url(self, file: MonthOfService, base_url: str | None = None) -> str:
        """Return the file's URL, under another base URL if one is given, such as a mirror's."""
        return self._under(base_url, self.path_of(file))

    def path_of(self, file: MonthOfService) -> str:
        """Return the file's path under the base URL."""
        return self.path.format(service=file.service, month=file.month)

    def known_url(self, service: str | None = None, base_url: str | None = None) -> str:
        """Return the URL of a file that has been published for years: one of the service if a service is given."""
        service = service or next(name for name, row in services().items() if self.name in row.eras)
        return self._under(base_url, self.path.format(service=service, month=self.known))

    def _under(self, base_url: str | None, path: str) -> str:
        return under(base_url or self.base_url, path)


@dataclass(frozen=True)
class Service:
    """Describes a taxi or car service whose trip records are published month by month, and its traits.

    `title` is the name for people. `colour` and `dark_colour` are CSS colours for a light and a dark page, and `dashes`
    are the lengths of dash and gap, in pixels, of its line in a chart; () is a solid line. Trips of services that
    `has_meter` have a passenger count, unless no meter recorded them; trips of services that `has_zones` have taxi
    zones at both ends. `charge` is the column with the whole amount that a passenger was charged, `fare` that with the
    fare alone; None if the service publishes neither. `eras` are by source, in order of time. `last` is the last month
    of each source that has ended.
    """

    name: str
    title: str
    description: str
    colour: str
    dark_colour: str
    dashes: tuple[int, ...]
    has_meter: bool
    has_zones: bool
    charge: str | None
    fare: str | None
    columns: tuple[Column, ...]
    eras: Mapping[str, tuple[Era, ...]]
    last: Mapping[str, Month]

    def __post_init__(self) -> None:
        names = {column.name for column in self.columns}
        for trait in ("charge", "fare"):
            if getattr(self, trait) not in {None, *names}:
                raise ValueError(f"service {self.name!r}: {trait} {getattr(self, trait)!r} is not one of its columns")

    def column_published_as(self, name: str, era: Era | None = None) -> Column | None:
        """Return the canonical column of a published name, ignoring case and surrounding spaces; None if unknown."""
        if era is not None:
            name = era.renamed.get(_folded(name), name)
        return self._by_published_name.get(_folded(name))

    def era(self, source: str, month: Month) -> Era:
        """Return the era of the source's file for the month.

        Raises:
            PermanentError: the source does not publish the service, or not that month.
        """
        eras = self.eras.get(_PUBLISHER if is_elsewhere(source) else source, ())
        if not eras:
            raise PermanentError(
                f"{self.name}: source {source!r} does not publish it; expected one of {sorted(self.eras)}"
            )
        last = self.last.get(source)
        if month < eras[0].since or (last is not None and month > last):
            span = f"from {eras[0].since} to {last}" if last else f"from {eras[0].since} on"
            raise PermanentError(f"{self.name} {month}: source {source!r} has {self.name} {span}")
        return max((era for era in eras if era.since <= month), key=lambda era: era.since)

    @cached_property
    def published(self) -> tuple[PublishedColumn, ...]:
        """The columns of the newest files in their order: the publisher's, then those that only another source has."""
        found: dict[Column, PublishedColumn] = {}
        for source in sorted(self.eras, key=lambda source: source != _PUBLISHER):
            era = self.eras[source][-1]
            for name in era.columns:
                if column := self.column_published_as(name, era):
                    found.setdefault(column, PublishedColumn(name, column.published_type(self.name), column))
        return tuple(found.values())

    @cached_property
    def _by_published_name(self) -> dict[str, Column]:
        names: dict[str, Column] = {}
        for column in self.columns:
            for name in column.names:
                if names.setdefault(_folded(name), column) is not column:
                    raise ValueError(
                        f"published name {name!r} stands for {names[_folded(name)].name} and {column.name}"
                    )
        return names


def _folded(name: str) -> str:
    return name.strip().lower()


class Expected(NamedTuple):
    """Describes a published file as it was once seen: its rows, its size in bytes, and when it last changed.

    `last_modified` is a date, YYYY-MM-DD.
    """

    rows: int
    bytes: int
    last_modified: str


def expected(file: MonthOfService, source: str) -> Expected | None:
    """Return what is known of a published file; None for most files, of which nothing is known."""
    return expectations().get((source, file.service, str(file.month)))


@cache
def expectations() -> dict[tuple[str, str, str], Expected]:
    """Return what is known of published files, by source, service and month (YYYY-MM).

    Rows of the file that TAXI_PUBLISHED_FILES names override those of the catalogue.
    """
    known = _expectations(_data("published_files.csv"))
    if other := os.environ.get("TAXI_PUBLISHED_FILES"):
        known |= _expectations(Path(other).read_text(encoding="utf-8"))
    return known


def _expectations(text: str) -> dict[tuple[str, str, str], Expected]:
    return {
        (row["source"], row["service"], row["month"]): Expected(
            int(row["rows"]), int(row["bytes"]), row["last_modified"]
        )
        for row in csv.DictReader(text.splitlines())
    }


def service(name: str) -> Service:
    """Return the service of that name.

    Raises:
        ValueError: there is none; the message lists the names.
    """
    return _row(services(), "service", name)


def source(name: str) -> Source:
    """Return the source of that name.

    Raises:
        ValueError: there is none; the message lists the names.
    """
    return _elsewhere(name) if is_elsewhere(name) else _row(sources(), "source", name)


def elsewhere(url: str) -> Source:
    """Return the source that a URL of no publisher is by itself: its file has editions of its own.

    A login is no part of it, but a query is: it may choose the file.

    >>> elsewhere("https://example.org/january.parquet").name
    'elsewhere.559fef4c'
    """
    digest = hashlib.sha256(Address.parse(url).url.encode()).hexdigest()
    return _elsewhere(f"elsewhere.{digest[:8]}")


def is_elsewhere(source: str) -> bool:
    """Whether the name is that of a URL of no publisher."""
    return _ELSEWHERE.fullmatch(source) is not None


def _elsewhere(name: str) -> Source:
    # Without a suffix in its key, a file is read as what its first bytes say.
    return Source(name, connection="", description="", base_url="", path="{service}_tripdata_{month}", known="")


@cache
def sources() -> dict[str, Source]:
    """Return every source that publishes files, by name."""
    found = (Source(**row) for row in _rows("sources", "source"))
    return {source.name: replace(source, redirect_hosts=tuple(source.redirect_hosts)) for source in found}


@cache
def columns() -> tuple[Column, ...]:
    """Return every canonical column, in the order of the tables."""
    return tuple(column_of(row) for row in _rows("columns", "column"))


@cache
def services() -> dict[str, Service]:
    """Return every service, by name."""
    return {row["name"]: _service(row) for row in _rows("services", "service")}


def _service(row: dict[str, Any]) -> Service:
    eras: dict[str, list[Era]] = {}
    for era in map(era_of, row["era"]):
        eras.setdefault(era.source, []).append(era)
    traits = {"charge": None, "fare": None} | {key: value for key, value in row.items() if key != "era"}
    return Service(
        **traits
        | {
            "dashes": tuple(row["dashes"]),
            "columns": tuple(column for column in columns() if row["name"] in column.services),
            "eras": {source: tuple(sorted(some, key=lambda era: era.since)) for source, some in eras.items()},
            "last": {source: Month.parse(month) for source, month in row.get("last", {}).items()},
        }
    )


def era_of(row: dict[str, Any]) -> Era:
    """Return the era that a row of services.toml describes."""
    names = row["columns"].split() if isinstance(row["columns"], str) else row["columns"]
    return Era(
        **row
        | {
            "since": Month.parse(row["since"]),
            "columns": tuple(names),
            "ignored": tuple(row.get("ignored", ())),
            "renamed": {_folded(name): column for name, column in row.get("renamed", {}).items()},
        }
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
    return FOLDER.joinpath(name).read_text(encoding="utf-8")


def column_of(row: dict[str, Any]) -> Column:
    """Return the column that a row of columns.toml describes."""
    codes = {_folded(word): str(value) for word, value in row.get("codes", {}).items()}
    lists = {key: tuple(value) for key, value in row.items() if isinstance(value, list)}
    return Column(**row | lists | {"codes": codes})
