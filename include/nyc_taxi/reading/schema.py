"""schema: the Arrow types of the canonical columns."""

from __future__ import annotations

import pyarrow as pa

from include.nyc_taxi import catalog

ARROW_TYPES = {
    "int16": pa.int16(),
    "int32": pa.int32(),
    "float64": pa.float64(),
    "timestamp": pa.timestamp("us"),
    "text": pa.string(),
}
INTEGERS = ("int16", "int32")


def arrow_schema(service: str) -> pa.Schema:
    """Return the schema of a service's rows in the lake and in every target; each field has its description."""
    return pa.schema(
        [
            pa.field(column.name, ARROW_TYPES[column.type], metadata={"description": column.description})
            for column in catalog.service(service).columns
        ]
    )
