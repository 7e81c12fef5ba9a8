"""readiness: see that a load can succeed, before anything is downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from psycopg.rows import dict_row

from include.nyc_taxi.errors import WarehouseRefused
from include.nyc_taxi.targets.postgres import published_view
from include.nyc_taxi.targets.postgres.server import ask, errors_told, text, transaction, value

if TYPE_CHECKING:
    import psycopg

    from include.nyc_taxi.targets.postgres.table import Table


def check(connection: psycopg.Connection[Any], table: Table, service: str) -> None:
    """See that the server answers, can be written, and lets the role create what a load of a service creates.

    Raises:
        WarehouseRefused: it is read-only, a right is missing, the table holds another service, or something else has
            the name of its view.
        WarehouseBusy: it does not answer.
    """
    with errors_told(str(table)), transaction(connection), connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(text("readiness"), {"schema": table.schema}).fetchone() or {}
    if wrong := _wrong(found, table, connection.info.user):
        raise WarehouseRefused(f"{table}: database {connection.info.dbname} on {connection.info.host}: {wrong}")
    with errors_told(str(table)), transaction(connection):
        published_view.check(connection, table, service)
        if found["has_ledger"]:
            check_service(connection, table, service)


def check_service(connection: psycopg.Connection[Any], table: Table, service: str) -> None:
    """See that the table does not hold another service; the ledger must be there.

    Raises:
        WarehouseRefused: it does, or something else has the table's name.
    """
    if (other := service_of(connection, table)) not in (None, service):
        raise WarehouseRefused(f"{table} holds trips of {other}, not of {service}: load into another table")


def service_of(connection: psycopg.Connection[Any], table: Table) -> str | None:
    """Return the service that the table holds for good; None if there is no such table or nothing tells."""
    found = find(connection, table)
    if found is None:
        return None
    parameters = {"oid": found[0], "table": str(table)}
    return cast("str | None", value(connection, text("service_of_table"), parameters))


def find(connection: psycopg.Connection[Any], table: Table) -> tuple[int, str | None] | None:
    """The table's oid and partition key, if there is such a table."""
    name = {"schema": table.schema, "name": table.name}
    return cast("tuple[int, str | None] | None", ask(connection, text("find_table"), name).fetchone())


def _wrong(found: dict[str, Any], table: Table, role: str) -> str | None:
    """The first of these that is wrong, in words."""
    wrongs = {
        "it is read-only: a standby, or default_transaction_read_only; expected one that can be written": found[
            "is_read_only"
        ],
        f"permission denied for schema {table.schema}: grant USAGE and CREATE on it to {role}": found["has_schema"]
        and not found["may_create_tables"],
        f"there is no schema {table.schema}, and {role} may not create it: create it, and grant USAGE and CREATE": not (
            found["has_schema"] or found["may_create_schemas"]
        ),
        "there is no schema public, which holds the ledger and the summaries: create it": not found["has_public"],
        f"permission denied for table load_ledger: grant SELECT and INSERT on it to {role}": found["has_ledger"]
        and not found["may_write_ledger"],
        f"permission denied for schema public, which is to hold the ledger: grant CREATE on it to {role}": not (
            found["has_ledger"] or found["may_create_ledger"]
        ),
    }
    return next((words for words, is_wrong in wrongs.items() if is_wrong), None)
