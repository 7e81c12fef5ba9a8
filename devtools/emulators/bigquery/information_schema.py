"""INFORMATION_SCHEMA.PARTITIONS: how many rows each partition of a dataset holds, and when it last changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from devtools.emulators.bigquery.errors import not_supported
from devtools.emulators.bigquery.fields import quoted
from devtools.emulators.bigquery.partitions import Partitioning
from devtools.emulators.bigquery.tables import TableId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckdb import DuckDBPyConnection

    from devtools.emulators.bigquery.tables import Resource
    from devtools.emulators.bigquery.warehouse import Warehouse

PREFIX = "INFORMATION_SCHEMA."
PARTITIONS = "PARTITIONS"
COLUMNS = {
    "table_catalog": "VARCHAR",
    "table_schema": "VARCHAR",
    "table_name": "VARCHAR",
    "partition_id": "VARCHAR",
    "total_rows": "BIGINT",
    "total_logical_bytes": "BIGINT",
    "last_modified_time": "TIMESTAMPTZ",
    "storage_tier": "VARCHAR",
}


def is_view(name: str) -> bool:
    """Whether a table's name is that of a view of INFORMATION_SCHEMA.

    Raises:
        Refused: it is, and the view is not supported.
    """
    if not name.upper().startswith(PREFIX):
        return False
    view = name.upper().removeprefix(PREFIX)
    if view != PARTITIONS:
        raise not_supported(f"no {PREFIX}{view}, expected {PREFIX}{PARTITIONS}")
    return True


def register(warehouse: Warehouse, cursor: DuckDBPyConnection, project: str, dataset: str) -> str:
    """Make the view of a dataset readable to the cursor, and return its name there."""
    warehouse.dataset(cursor, project, dataset)
    rows = [
        row
        for table in warehouse.every(cursor, "table", f"{dataset}.")
        for row in _partitions(warehouse, cursor, TableId.of(table["tableReference"]), table)
    ]
    name = f"information schema {dataset}"
    columns = ", ".join(f"{column} {kind}" for column, kind in COLUMNS.items())
    cursor.execute(f"CREATE OR REPLACE TEMP TABLE {quoted(name)} ({columns})")
    for row in rows:
        cursor.execute(f"INSERT INTO {quoted(name)} VALUES ({', '.join('?' for _ in COLUMNS)})", row)
    return name


def _partitions(
    warehouse: Warehouse, cursor: DuckDBPyConnection, table: TableId, resource: Resource
) -> Iterator[list[object]]:
    if resource["type"] == "VIEW" or not resource["schema"]["fields"]:
        return
    partitioning = Partitioning.of(resource)
    partition_id = partitioning.id_sql if partitioning else "NULL"
    times = warehouse.partition_times(cursor, table)
    counts = cursor.execute(f"SELECT {partition_id}, count(*) FROM {table.sql} GROUP BY 1 ORDER BY 1").fetchall()
    for found, rows in counts:
        changed = times.get(found) or int(resource["lastModifiedTime"])
        changed_at = datetime.fromtimestamp(changed / 1000, UTC)
        yield [table.project, table.dataset, table.table, found, rows, 0, changed_at, "ACTIVE"]
