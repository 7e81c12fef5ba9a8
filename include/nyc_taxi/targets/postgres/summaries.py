"""summaries: the tables `trips_by_month`, `trips_by_hour` and `trips_by_zone`, which each load replaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row

from include.nyc_taxi.targets.postgres.server import errors_told, questions, text
from include.nyc_taxi.targets.summaries import MonthOfTrips, ZoneOfTrips, ZoneShape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.nyc_taxi.summary import Summary
    from include.nyc_taxi.trip_file import TripFile


def replace(connection: psycopg.Connection[Any], key: Mapping[str, str], summary: Summary) -> None:
    """Replace what the tables say of a month; `key` is that of its ledger rows."""
    connection.execute(text("delete_summary"), key)
    for statement, rows in (
        ("insert_month", summary.by_month()),
        ("insert_hours", summary.by_hour()),
        ("insert_zones", summary.by_zone()),
    ):
        connection.execute(text(statement), {**key, **rows})


def months(client: psycopg.Connection[Any]) -> list[MonthOfTrips]:
    """Every month that has a summary; of several tables with a month, the service's default one."""
    return [MonthOfTrips(**row) for row in _ask(client, "select_months")]


def hours(client: psycopg.Connection[Any], file: TripFile) -> list[int]:
    """The month's trips by the hour of the week in which they began: 168 counts from Monday 00:00, or none."""
    return [row["trips"] for row in _ask(client, "select_hours", file)]


def zones(client: psycopg.Connection[Any], file: TripFile) -> list[ZoneOfTrips]:
    """The month's trips by zone; none if its file has coordinates instead of zones."""
    return [ZoneOfTrips(**row) for row in _ask(client, "select_zones_of_month", file)]


def shapes(client: psycopg.Connection[Any]) -> list[ZoneShape]:
    """The taxi zones in the order of their ids; none before they are loaded."""
    return [ZoneShape(**row) for row in _ask(client, "select_shapes")]


def edition(client: psycopg.Connection[Any]) -> str:
    """A text that changes whenever the zones change; empty before they are loaded."""
    return "".join(row["edition"] for row in _ask(client, "zones_edition"))


def _ask(connection: psycopg.Connection[Any], question: str, file: TripFile | None = None) -> list[dict[str, Any]]:
    """The rows that answer; none before the table is there."""
    of_file = None if file is None else {"service": file.service, "month": str(file.month)}
    with errors_told(question):
        try:
            with questions(connection), connection.cursor(row_factory=dict_row) as cursor:
                return cursor.execute(text(question), of_file).fetchall()
        except psycopg.errors.UndefinedTable:
            return []
