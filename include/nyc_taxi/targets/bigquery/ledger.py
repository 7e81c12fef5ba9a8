"""ledger: the table `load_ledger` of a dataset, made from the fields of `targets.ledger`, and what it tells."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from google.api_core import exceptions as api
from google.cloud import bigquery as bq

from include.nyc_taxi.errors import WarehouseRefused
from include.nyc_taxi.targets.bigquery.server import ask, errors_told
from include.nyc_taxi.targets.ledger import FIELDS, TABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.cloud.bigquery.table import Row

    from include.nyc_taxi.targets.bigquery.table import Table
    from include.nyc_taxi.targets.loads import Load
    from include.nyc_taxi.trip_file import TripFile

_TYPES = {"text": "STRING", "integer": "INTEGER", "number": "FLOAT", "counts": "JSON", "moment": "TIMESTAMP"}


def schema() -> list[bq.SchemaField]:
    """The ledger's columns."""

    def field(name: str, type_: str, description: str, mode: str = "REQUIRED") -> bq.SchemaField:
        return bq.SchemaField(name, type_, mode, description=description)

    return [
        field("load_id", "INTEGER", "Larger for later loads of the same month: the number of the load job."),
        *(field(each.name, _TYPES[each.type], each.description, _mode(each.is_required)) for each in FIELDS),
        field("loaded_at", "TIMESTAMP", "When the load ended."),
    ]


def of_table(table: Table) -> Table:
    """The ledger of the table's dataset."""
    return table.beside(TABLE)


def last_load(client: bq.Client, table: Table, key: Mapping[str, str]) -> Row | None:
    """The row of the last load of a month into a table."""
    rows = ask(client, "last_load", of_table(table), month=key["month"], target_table=key["target_table"])
    return next(iter(rows), None)


def check_service(client: bq.Client, table: Table, found: bq.Table, service: str) -> None:
    """See that a table does not hold another service, by its label.

    Raises:
        WarehouseRefused: it does.
    """
    other = found.labels.get("service") or _service_of(client, table, found)
    if other not in (None, service):
        raise WarehouseRefused(f"{table} holds trips of {other}, not of {service}: load into another table")


def _service_of(client: bq.Client, table: Table, found: bq.Table) -> str | None:
    """Return the service that was last loaded into a table without a label, if it holds rows; None if nothing tells."""
    if not found.num_rows:
        return None
    rows = ask(client, "service_of_table", of_table(table), target_table=str(table))
    return next((str(row.service) for row in rows), None)


def write(client: bq.Client, table: Table, load_id: int, entry: Mapping[str, Any]) -> None:
    """Add a row; `entry` has a value for each field."""
    now = {"load_id": load_id, "loaded_at": datetime.now(UTC).isoformat()}
    config = bq.LoadJobConfig(schema=schema(), write_disposition="WRITE_APPEND")
    client.load_table_from_json([{**entry, **now}], of_table(table).reference(client), job_config=config).result()


def loads(
    client: bq.Client, dataset: str | None, default_table: Callable[[str, str | None], Table]
) -> dict[TripFile, Load]:
    """The last row of each file in the dataset's ledger, that of its default table before others.

    Raises:
        WarehouseBusy: BigQuery or the way there failed.
        WarehouseRefused: a right is missing.
    """
    ledger = of_table(default_table("any", dataset))
    with errors_told(str(ledger)):
        try:
            rows = [dict(row.items()) for row in ask(client, "latest_loads", ledger)]
        except api.NotFound:
            return {}
    rows.sort(key=lambda row: row["target_table"] == str(default_table(row["service"], dataset)))
    from include.nyc_taxi.targets.loads import loads_of

    return loads_of(rows)


def _mode(is_required: bool) -> str:  # noqa: FBT001 - a column of the table of fields
    return "REQUIRED" if is_required else "NULLABLE"
