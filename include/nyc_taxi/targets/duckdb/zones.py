"""zones: the table `taxi_zones`, and a view per service that joins it to the trips, in one transaction."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal, cast

from include.nyc_taxi import landed_zones
from include.nyc_taxi.errors import WarehouseRefused
from include.nyc_taxi.landed_zones import COLUMNS
from include.nyc_taxi.targets import zone_views
from include.nyc_taxi.targets.base import ZonesLoaded
from include.nyc_taxi.targets.duckdb import relations
from include.nyc_taxi.targets.duckdb.database import statement
from include.nyc_taxi.targets.duckdb.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from duckdb import DuckDBPyConnection

    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.targets.duckdb.database import DatabaseFile

    Outcome = Literal["replaced", "unchanged"]
    TableOf = Callable[[str], Table]

log = logging.getLogger(__name__)

TABLE = Table("main", zone_views.TABLE)
_TYPES = {"int16": "SMALLINT", "text": "VARCHAR", "float64": "DOUBLE", "geojson": "JSON"}
_NAMES = ", ".join(f'"{column.name}"' for column in COLUMNS)
_AS_STORED = ", ".join(f'"{column.name}"::{_TYPES[column.type]} AS "{column.name}"' for column in COLUMNS)


def replace_zones(database: DatabaseFile, lake: Lake, trips_of: TableOf) -> ZonesLoaded:
    """Make the table hold just the lake's zones, and have a view for each service whose table of trips is there.

    Other processes are kept from the file only if something changes.

    Raises:
        NotInLake: the lake has no zones.
        WarehouseBusy: other processes had the file open for too long; nothing has changed.
        WarehouseRefused: something else has the name of the table or of a view; nothing has changed.
    """
    if (there := _in_place(database, lake, trips_of)) is not None:
        log.info("%s is up to date", TABLE)
        return ZonesLoaded("unchanged", str(TABLE), there)
    # Read while no other run writes the file, the lake's zones are no older than those in it.
    with database.transaction() as connection, landed_zones.intact(lake) as opened:
        outcome: Outcome = "replaced" if _replace(connection, opened) else "unchanged"
        views = _joinable(connection, trips_of)
        for view, trips in views.items():
            _have_view(connection, view, trips)
    log.info("%s: %s; views: %s", TABLE, outcome, ", ".join(map(str, views)) or "none, as there are no trips yet")
    return ZonesLoaded(outcome, str(TABLE), tuple(map(str, views)))


def _in_place(database: DatabaseFile, lake: Lake, trips_of: TableOf) -> tuple[str, ...] | None:
    """The names of the views, if nothing is to be done; else None."""
    with database.reading() as connection, landed_zones.intact(lake) as opened:
        if connection is None or relations.find(connection, TABLE) is None or _differ(connection, opened):
            return None
        views = _joinable(connection, trips_of)
        are_there = all(_is_there(connection, view, trips) for view, trips in views.items())
        return tuple(map(str, views)) if are_there else None


def _replace(connection: DuckDBPyConnection, opened: BinaryIO) -> bool:
    """Replace the rows of the table, which is created if it is missing; false if they are the same."""
    if relations.find(connection, TABLE) is None:
        _create(connection)
    elif not _differ(connection, opened):
        return False
    connection.execute(statement("delete_zones", TABLE))
    connection.execute(statement("insert_zones", TABLE, columns=_AS_STORED), _path(opened))
    (count,) = cast("tuple[int]", connection.execute(f"SELECT count(*) FROM {TABLE.identifier}").fetchone())  # noqa: S608
    log.info("%s: loaded %d zones", TABLE, count)
    return True


def _differ(connection: DuckDBPyConnection, opened: BinaryIO) -> bool:
    """Whether the table has other rows than the lake's file."""
    found, columns = relations.find(connection, TABLE), relations.columns_of(connection, TABLE)
    if found is None or found.kind != "table" or not {column.name for column in COLUMNS} <= set(columns):
        raise WarehouseRefused(
            f"{TABLE} exists and is not a table of taxi zones, but a {found and found.kind} with the columns "
            f"{list(columns)}: rename it"
        )
    differing = connection.execute(statement("differing_zones", TABLE, columns=_AS_STORED), _path(opened))
    return cast("tuple[int]", differing.fetchone()) != (0,)


def _create(connection: DuckDBPyConnection) -> None:
    columns = [f'"{column.name}" {_TYPES[column.type]}' + " NOT NULL" * column.is_required for column in COLUMNS]
    connection.execute(statement("create_zones", TABLE, columns=", ".join(columns)))
    connection.execute(statement("comment_on_table", TABLE, comment=_literal(landed_zones.DESCRIPTION)))
    for column in COLUMNS:
        text = _literal(column.description)
        connection.execute(statement("comment_on_column", TABLE, column=f'"{column.name}"', comment=text))


def _joinable(connection: DuckDBPyConnection, trips_of: TableOf) -> dict[Table, Table]:
    """The views that there are to be, each with its table of trips."""
    views = {}
    for service in zone_views.services():
        trips, view = trips_of(service), Table(TABLE.schema, zone_views.view_of(service))
        if zone_views.can_join(relations.columns_of(connection, trips)):
            views[view] = trips
    return views


def _is_there(connection: DuckDBPyConnection, view: Table, trips: Table) -> bool:
    """Whether the view is there with every column of the trips."""
    found = relations.find(connection, view)
    if found is not None and found.kind != "view":
        raise WarehouseRefused(f"{view} exists and is not a view, but a {found.kind}: rename it")
    wanted = zone_views.columns_over(relations.columns_of(connection, trips))
    return found is not None and list(relations.columns_of(connection, view)) == wanted


def _have_view(connection: DuckDBPyConnection, view: Table, trips: Table) -> None:
    if _is_there(connection, view, trips):
        return
    selected = zone_views.selected(relations.columns_of(connection, trips), '"')
    parts = {"selected": selected, "trips": trips.identifier, "zones": TABLE.identifier}
    connection.execute(statement("create_trips_with_zones", view, **parts))
    connection.execute(statement("comment_on_view", view, comment=_literal(zone_views.DESCRIPTION)))
    log.info("%s: created over %s", view, trips)


def _path(opened: BinaryIO) -> dict[str, str]:
    """The checked file, also if another run puts another one under its name."""
    return {"path": f"/dev/fd/{opened.fileno()}"}


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
