"""statements: the statements that create the views. Each gives its text and its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from include.nyc_taxi import catalog, landed_zones
from include.nyc_taxi.landed_rows import FILE_MONTH
from include.nyc_taxi.targets import zone_views
from include.nyc_taxi.targets.sql_files import sql_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Statement = tuple[str, dict[str, Any]]

_TYPES = {
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "timestamp": "TIMESTAMP",
    "text": "VARCHAR",
}
_OF_REJECTS = {"reason": "VARCHAR", "misfit": "VARCHAR"}
_OF_ZONES = {"int16": "SMALLINT", "text": "VARCHAR", "geojson": "VARCHAR", "float64": "DOUBLE"}
_ZONES = {column.name: _OF_ZONES[column.type] for column in landed_zones.COLUMNS}


def trips(view: str, service: str, files: Sequence[str], there: Sequence[Sequence[str]]) -> Statement:
    """The view of a service's accepted rows; `there` are the columns of each file."""
    wanted = _columns(service) | {FILE_MONTH: "DATE"}
    return _over("create_trips", view, files, wanted, there) if files else _empty(view, wanted)


def published(view: str, service: str, trips: str) -> Statement:
    """The view of a service's accepted rows under the names and types of the publisher's files."""
    columns = ", ".join(
        f'CAST("{each.column.name}" AS {_TYPES[each.type]}) AS "{each.name}"'
        for each in catalog.service(service).published
    )
    return statement("create_published", view=view, columns=columns, trips=trips), {}


def rejects(view: str, service: str, files: Sequence[str], there: Sequence[Sequence[str]]) -> Statement:
    """The view of a service's rejected rows; `there` are the columns of each file."""
    wanted = _columns(service) | _OF_REJECTS
    return _over("create_rejects", view, files, wanted, there) if files else _empty(view, wanted | {FILE_MONTH: "DATE"})


def trips_with_zones(view: str, service: str, trips: str) -> Statement:
    """The view that joins a service's trips with the zones."""
    selected = zone_views.selected([*_columns(service), FILE_MONTH], '"')
    return statement("create_trips_with_zones", view=view, selected=selected, trips=trips, zones=zone_views.TABLE), {}


def zones(view: str, files: Sequence[str]) -> Statement:
    """The view of the zones."""
    return (statement("create_zones", view=view, files=literals(files)), {}) if files else _empty(view, _ZONES)


def statement(name: str, **parts: str) -> str:
    """The statement in `sql/{name}.sql`, with words of our own filled in."""
    text = sql_file(__file__, f"{name}.sql")
    for part, words in parts.items():
        text = text.replace(f"{{{part}}}", words)
    return text


def literals(texts: Sequence[str]) -> str:
    """The texts as literals of SQL."""
    return ", ".join("'" + text.replace("'", "''") + "'" for text in texts)


def _over(
    name: str, view: str, files: Sequence[str], wanted: Mapping[str, str], there: Sequence[Sequence[str]]
) -> Statement:
    """A view over files, some of which may be of an earlier version and lack columns."""
    known = set().union(*there)
    columns = ", ".join(f'"{name}"' if name in known else _null(name, type_) for name, type_ in wanted.items())
    is_mixed = str(len(set(map(frozenset, there))) > 1).lower()
    return statement(name, view=view, columns=columns, files=literals(files), is_mixed=is_mixed), {}


def _empty(view: str, columns: Mapping[str, str]) -> Statement:
    nothing = ", ".join(_null(name, type_) for name, type_ in columns.items())
    return statement("create_empty", view=view, columns=nothing), {}


def _null(name: str, type_: str) -> str:
    return f'CAST(NULL AS {type_}) AS "{name}"'


def _columns(service: str) -> dict[str, str]:
    return {column.name: _TYPES[column.type] for column in catalog.service(service).columns}
