"""INFORMATION_SCHEMA: what is known of datasets, tables, columns and partitions, as tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from devtools.emulators.bigquery.errors import Refused
from devtools.emulators.bigquery.fields import sql_type
from devtools.emulators.bigquery.partitions import Partitioning
from devtools.emulators.bigquery.warehouse import TableId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckdb import DuckDBPyConnection

    from devtools.emulators.bigquery.fields import Field
    from devtools.emulators.bigquery.warehouse import Resource, Warehouse

PREFIX = "INFORMATION_SCHEMA."
REGION = "region-"

TEXT, COUNT, MOMENT = pa.string(), pa.int64(), pa.timestamp("us", "UTC")
OF_TABLE = {"table_catalog": TEXT, "table_schema": TEXT, "table_name": TEXT}
VIEWS = {
    "SCHEMATA": {
        "catalog_name": TEXT,
        "schema_name": TEXT,
        "schema_owner": TEXT,
        "creation_time": MOMENT,
        "last_modified_time": MOMENT,
        "location": TEXT,
    },
    "TABLES": OF_TABLE | {"table_type": TEXT, "is_insertable_into": TEXT, "is_typed": TEXT, "creation_time": MOMENT},
    "COLUMNS": OF_TABLE
    | {
        "column_name": TEXT,
        "ordinal_position": COUNT,
        "is_nullable": TEXT,
        "data_type": TEXT,
        "is_partitioning_column": TEXT,
        "clustering_ordinal_position": COUNT,
    },
    "COLUMN_FIELD_PATHS": OF_TABLE | {"column_name": TEXT, "field_path": TEXT, "data_type": TEXT, "description": TEXT},
    "PARTITIONS": OF_TABLE
    | {
        "partition_id": TEXT,
        "total_rows": COUNT,
        "total_logical_bytes": COUNT,
        "last_modified_time": MOMENT,
        "storage_tier": TEXT,
    },
}


def view_named(name: str) -> str | None:
    """The view that a table's name is, as in `INFORMATION_SCHEMA.TABLES`; None for any other table.

    Raises:
        Refused: a view that is not supported.
    """
    if not name.upper().startswith(PREFIX):
        return None
    view = name.upper().removeprefix(PREFIX)
    if view not in VIEWS:
        raise Refused("notImplemented", f"local cloud: no {PREFIX}{view}, expected one of {', '.join(VIEWS)}")
    return view


def register(warehouse: Warehouse, cursor: DuckDBPyConnection, view: str, project: str, place: str) -> str:
    """Put a view's rows where the cursor finds them, and give the name under which it does.

    Args:
        warehouse: whose.
        cursor: the one that will read them.
        view: one of `VIEWS`.
        project: the client's.
        place: a dataset, a region as in `region-us`, or neither.
    """
    if place and not place.startswith(REGION):
        datasets = [warehouse.dataset(cursor, project, place)]
    else:
        region = place.removeprefix(REGION).upper()
        datasets = [
            found for found in warehouse.every(cursor, "dataset") if not region or found["location"].upper() == region
        ]
    rows = [row for dataset in datasets for row in _rows(warehouse, cursor, view, project, dataset)]
    name = f"information schema {place} {view}"
    cursor.register(name, pa.Table.from_pylist(rows, pa.schema(VIEWS[view].items())))
    return name


def _rows(
    warehouse: Warehouse, cursor: DuckDBPyConnection, view: str, project: str, dataset: Resource
) -> Iterator[dict[str, Any]]:
    name = dataset["datasetReference"]["datasetId"]
    if view == "SCHEMATA":
        yield {"catalog_name": project, "schema_name": name, "location": dataset["location"]} | _moments(dataset)
        return
    for table in warehouse.every(cursor, "table", f"{name}."):
        table_id = TableId(project, name, table["tableReference"]["tableId"])
        of_table = dict(zip(OF_TABLE, table_id, strict=False))
        if view == "TABLES":
            insertable = "YES" if table["type"] == "TABLE" else "NO"
            kind = "BASE TABLE" if table["type"] == "TABLE" else table["type"]
            about = {"table_type": kind, "is_insertable_into": insertable, "is_typed": "NO"}
            yield of_table | about | _moments(table)
        elif view == "PARTITIONS":
            yield from (of_table | partition for partition in _partitions(cursor, table_id, table))
        else:
            for position, field in enumerate(table["schema"]["fields"], start=1):
                if view == "COLUMNS":
                    yield of_table | _column(table, field) | {"ordinal_position": position}
                else:
                    yield from (of_table | {"column_name": field["name"]} | path for path in _paths(field))


def _column(table: Resource, field: Field) -> dict[str, Any]:
    name = field["name"]
    clustering = (table.get("clustering") or {}).get("fields", [])
    return {
        "column_name": name,
        "is_nullable": "NO" if field["mode"] == "REQUIRED" else "YES",
        "data_type": sql_type(field),
        "is_partitioning_column": "YES" if (table.get("timePartitioning") or {}).get("field") == name else "NO",
        "clustering_ordinal_position": clustering.index(name) + 1 if name in clustering else None,
    }


def _paths(field: Field, prefix: str = "") -> Iterator[dict[str, Any]]:
    path = f"{prefix}{field['name']}"
    yield {"field_path": path, "data_type": sql_type(field), "description": field.get("description")}
    for inner in field.get("fields", []):
        yield from _paths(inner, f"{path}.")


def _partitions(cursor: DuckDBPyConnection, table: TableId, resource: Resource) -> Iterator[dict[str, Any]]:
    if resource["type"] == "VIEW" or not resource["schema"]["fields"]:
        return
    partitioning = Partitioning.of(resource)
    partition_id = partitioning.id_sql if partitioning else "NULL"
    counts = cursor.execute(f"SELECT {partition_id}, count(*) FROM {table.sql} GROUP BY 1 ORDER BY 1").fetchall()
    modified = {"last_modified_time": _moments(resource)["last_modified_time"]}
    for found, rows in counts:
        yield {"partition_id": found, "total_rows": rows, "total_logical_bytes": 0, "storage_tier": "ACTIVE"} | modified


def _moments(resource: Resource) -> dict[str, datetime]:
    return {
        "creation_time": datetime.fromtimestamp(int(resource["creationTime"]) / 1000, UTC),
        "last_modified_time": datetime.fromtimestamp(int(resource["lastModifiedTime"]) / 1000, UTC),
    }
