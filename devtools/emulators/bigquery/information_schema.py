"""INFORMATION_SCHEMA.PARTITIONS: how many rows each partition of a dataset holds, and when it last changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from devtools.emulators.bigquery.errors import not_supported
from devtools.emulators.bigquery.partitions import Partitioning
from devtools.emulators.bigquery.warehouse import TableId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckdb import DuckDBPyConnection

    from devtools.emulators.bigquery.warehouse import Resource, Warehouse

PREFIX = "INFORMATION_SCHEMA."
PARTITIONS = "PARTITIONS"
SCHEMA = pa.schema(
    {
        "table_catalog": pa.string(),
        "table_schema": pa.string(),
        "table_name": pa.string(),
        "partition_id": pa.string(),
        "total_rows": pa.int64(),
        "total_logical_bytes": pa.int64(),
        "last_modified_time": pa.timestamp("us", "UTC"),
        "storage_tier": pa.string(),
    }.items()
)


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
    cursor.register(name, pa.Table.from_pylist(rows, SCHEMA))
    return name


def _partitions(
    warehouse: Warehouse, cursor: DuckDBPyConnection, table: TableId, resource: Resource
) -> Iterator[dict[str, Any]]:
    if resource["type"] == "VIEW" or not resource["schema"]["fields"]:
        return
    partitioning = Partitioning.of(resource)
    partition_id = partitioning.id_sql if partitioning else "NULL"
    times = warehouse.partition_times(cursor, table)
    counts = cursor.execute(f"SELECT {partition_id}, count(*) FROM {table.sql} GROUP BY 1 ORDER BY 1").fetchall()
    for found, rows in counts:
        changed = times.get(found) or int(resource["lastModifiedTime"])
        yield {
            "table_catalog": table.project,
            "table_schema": table.dataset,
            "table_name": table.table,
            "partition_id": found,
            "total_rows": rows,
            "total_logical_bytes": 0,
            "last_modified_time": datetime.fromtimestamp(changed / 1000, UTC),
            "storage_tier": "ACTIVE",
        }
