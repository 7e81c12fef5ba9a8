"""zones: the table `taxi_zones`, and a view per service that joins it to the trips."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from include.nyc_taxi import catalog
from include.nyc_taxi.errors import WarehouseRefused
from include.nyc_taxi.targets.postgres.server import (
    LOCK_SECONDS,
    end_when_stopped,
    errors_told,
    limit_lock_waits,
    template,
    transaction,
)
from include.nyc_taxi.targets.postgres.table import Table
from include.nyc_taxi.zones import Zone

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg
    from psycopg import sql


log = logging.getLogger(__name__)

TABLE = Table("public", "taxi_zones")
_NAMES_IN_VIEW = ["pickup_borough", "pickup_zone", "dropoff_borough", "dropoff_zone"]
_JOINED_BY = {"pickup_location_id", "dropoff_location_id"}


def replace_zones(connection: psycopg.Connection[Any], zones: Sequence[Zone]) -> Literal["replaced", "unchanged"]:
    """Make the table hold just these zones, in one transaction; do nothing if it does already.

    Raises:
        WarehouseBusy: a lock was not granted in time or the connection broke; nothing has changed.
        WarehouseRefused: a right is missing, or another kind of table has the name.
    """
    with _transaction(connection, TABLE) as cursor:
        columns = _columns(cursor, TABLE)
        if not columns:
            cursor.execute(_statement("create_zones", table=TABLE))
        elif not set(Zone._fields) <= set(columns):
            raise WarehouseRefused(
                f"{TABLE} exists and is not a table of taxi zones: it has the columns {columns}; rename it"
            )
        if cursor.execute(_statement("select_zones", table=TABLE)).fetchall() == list(zones):
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
    for service in catalog.services():
        trips = Table(TABLE.schema, f"{service}_taxi_trips")
        view = Table(TABLE.schema, f"{service}_trips_with_zones")
        with _transaction(connection, view, lock_seconds) as cursor:
            columns = _columns(cursor, trips)
            if not set(columns) >= _JOINED_BY:
                log.info("%s: not created, as %s is missing or has no location ids", view, trips)
                continue
            if _columns(cursor, view) != _NAMES_IN_VIEW + columns:
                cursor.execute(_statement("create_trips_with_zones", view=view, trips=trips, zones=TABLE))
                log.info("%s: created with %d columns", view, len(_NAMES_IN_VIEW + columns))
        views.append(view)
    return views


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
