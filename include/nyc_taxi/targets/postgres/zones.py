"""zones: the table `taxi_zones`, and a view per service that joins it to the trips."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from psycopg import sql
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from include.nyc_taxi import landed_zones
from include.nyc_taxi.errors import WarehouseRefused
from include.nyc_taxi.landed_zones import COLUMNS, Zone
from include.nyc_taxi.targets import zone_views
from include.nyc_taxi.targets.postgres.server import (
    LOCK_SECONDS,
    end_when_stopped,
    errors_told,
    limit_lock_waits,
    template,
    transaction,
)
from include.nyc_taxi.targets.postgres.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from include.nyc_taxi.lake import Lake


log = logging.getLogger(__name__)

TABLE = Table("public", zone_views.TABLE)
_TYPES = {
    "int16": sql.SQL("smallint"),
    "text": sql.SQL("text"),
    "float64": sql.SQL("double precision"),
    "geojson": sql.SQL("jsonb"),
}


def replace_zones(connection: psycopg.Connection[Any], lake: Lake) -> Literal["replaced", "unchanged"]:
    """Make the table hold just the lake's zones, in one transaction; do nothing if it does already.

    Raises:
        NotInLake: the lake has no zones.
        WarehouseBusy: a lock was not granted in time or the connection broke; nothing has changed.
        WarehouseRefused: a right is missing, or another kind of table has the name.
    """
    with _transaction(connection, TABLE) as cursor:
        zones = _in_lake(lake)
        columns = _columns(cursor, TABLE)
        if not columns:
            _create(cursor)
        elif not set(Zone._fields) <= set(columns):
            raise WarehouseRefused(
                f"{TABLE} exists and is not a table of taxi zones: it has the columns {columns}; rename it"
            )
        if cursor.execute(_statement("select_zones", table=TABLE)).fetchall() == zones:
            log.info("%s is up to date with %d zones", TABLE, len(zones))
            return "unchanged"
        # Rows are updated in place, not deleted and inserted, so that foreign keys may point to them.
        ids = [zone.location_id for zone in zones]
        cursor.execute(_statement("delete_other_zones", table=TABLE), {"location_ids": ids})
        cursor.executemany(_statement("upsert_zone", table=TABLE), map(_parameters, zones))
    log.info("%s: loaded %d zones, %d of them with a shape", TABLE, len(zones), sum(bool(z.shape) for z in zones))
    return "replaced"


def replace_views(connection: psycopg.Connection[Any], *, lock_seconds: float = LOCK_SECONDS) -> list[Table]:
    """Create or update the view `{service}_trips_with_zones` of each service that has its default table.

    `lock_seconds` is how long a view waits for its readers.

    Raises:
        WarehouseBusy: a long query reads a view that lacks a column; it is as it was.
        WarehouseRefused: a right is missing, or something else has the name of a view.
    """
    views = []
    for service in zone_views.services():
        trips = Table(TABLE.schema, f"{service}_taxi_trips")
        view = Table(TABLE.schema, zone_views.view_of(service))
        with _transaction(connection, view, lock_seconds) as cursor:
            columns = _columns(cursor, trips)
            if not zone_views.can_join(columns):
                log.info("%s: not created, as %s is missing or has no location ids", view, trips)
                continue
            wanted = zone_views.columns_over(columns)
            if _columns(cursor, view) != wanted:
                _create_view(cursor, view, trips)
                log.info("%s: created with %d columns", view, len(wanted))
        views.append(view)
    return views


def _in_lake(lake: Lake) -> list[Zone]:
    """The lake's zones; read while no other run changes the table, they are no older than those in it."""
    with landed_zones.intact(lake) as opened:
        return landed_zones.read(opened)


def _create(cursor: psycopg.Cursor[Any]) -> None:
    """Create the table, with its comments."""
    columns = [
        sql.SQL("{} {}" + " NOT NULL" * column.is_required).format(sql.Identifier(column.name), _TYPES[column.type])
        for column in COLUMNS
    ]
    cursor.execute(template("create_zones").format(table=TABLE.identifier, columns=sql.SQL(", ").join(columns)))
    about = sql.Literal(landed_zones.DESCRIPTION)
    cursor.execute(template("comment_on_table").format(table=TABLE.identifier, comment=about))
    for column in COLUMNS:
        place, about = sql.Identifier(TABLE.schema, TABLE.name, column.name), sql.Literal(column.description)
        cursor.execute(template("comment_on_column").format(column=place, comment=about))


def _create_view(cursor: psycopg.Cursor[Any], view: Table, trips: Table) -> None:
    names = [
        sql.SQL("{} AS {}").format(sql.Identifier(end, column), sql.Identifier(name))
        for name, (end, column) in zone_views.NAMES.items()
    ]
    cursor.execute(
        template("create_trips_with_zones").format(
            view=view.identifier,
            trips=trips.identifier,
            zones=TABLE.identifier,
            names=sql.SQL(", ").join(names),
            comment=sql.Literal(zone_views.DESCRIPTION),
        )
    )


def _parameters(zone: Zone) -> dict[str, Any]:
    return zone._asdict() | {"shape": None if zone.shape is None else Jsonb(zone.shape)}


def _columns(cursor: psycopg.Cursor[Any], table: Table) -> list[str]:
    """The names of its columns, in order; none if there is no such table or view."""
    found = cursor.execute(_statement("relation_columns"), {"schema": table.schema, "name": table.name})
    return [name for (name,) in found]


@contextmanager
def _transaction(
    connection: psycopg.Connection[Any], table: Table, lock_seconds: float = LOCK_SECONDS
) -> Iterator[psycopg.Cursor[Any]]:
    """Open a transaction that no other change of zones runs beside."""
    with errors_told(str(table)), transaction(connection), connection.cursor(row_factory=tuple_row) as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('nyc_taxi zones', 0))")
        limit_lock_waits(cursor, lock_seconds)
        end_when_stopped(cursor)
        yield cursor


def _statement(name: str, **tables: Table) -> sql.Composed:
    return template(name).format(**{part: table.identifier for part, table in tables.items()})
