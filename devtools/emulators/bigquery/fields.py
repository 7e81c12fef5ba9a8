"""Translate between a field of BigQuery's REST interface and a column of DuckDB."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from devtools.emulators.bigquery.errors import Refused, not_supported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from decimal import Decimal

    from duckdb import DuckDBPyConnection
    from duckdb.sqltypes import DuckDBPyType

Field = dict[str, Any]

DUCKDB_TYPES = {
    "BOOLEAN": "BOOLEAN",
    "DATE": "DATE",
    "DATETIME": "TIMESTAMP",
    "FLOAT": "DOUBLE",
    "INTEGER": "BIGINT",
    "JSON": "JSON",
    "NUMERIC": "DECIMAL(38,9)",
    "STRING": "VARCHAR",
    "TIMESTAMP": "TIMESTAMPTZ",
}
STANDARD_NAMES = {"BOOL": "BOOLEAN", "FLOAT64": "FLOAT", "INT64": "INTEGER"}
BIGQUERY_TYPES = {
    "bigint": "INTEGER",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "decimal": "NUMERIC",
    "double": "FLOAT",
    "float": "FLOAT",
    "hugeint": "INTEGER",
    "integer": "INTEGER",
    "json": "JSON",
    "smallint": "INTEGER",
    "sqlnull": "INTEGER",
    "timestamp": "DATETIME",
    "timestamp with time zone": "TIMESTAMP",
    "timestamp_ms": "DATETIME",
    "timestamp_ns": "DATETIME",
    "timestamp_s": "DATETIME",
    "tinyint": "INTEGER",
    "varchar": "STRING",
}


def normalised(field: Field) -> Field:
    """Return the field with the type names that BigQuery answers with, and a mode.

    Raises:
        Refused: its type or mode is not supported.
    """
    kind = str(field["type"]).upper()
    kind = STANDARD_NAMES.get(kind, kind)
    mode = str(field.get("mode") or "NULLABLE").upper()
    if kind not in DUCKDB_TYPES:
        raise Refused("invalid", f"local cloud: type {kind} is not one of {', '.join(DUCKDB_TYPES)}")
    if mode not in {"NULLABLE", "REQUIRED"}:
        raise Refused("invalid", f"local cloud: mode {mode} is not NULLABLE or REQUIRED")
    return field | {"type": kind, "mode": mode}


def quoted(name: str) -> str:
    """Quote a name as an identifier of DuckDB."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """Quote a value as a text of DuckDB."""
    return "'" + value.replace("'", "''") + "'"


def duckdb_type(field: Field) -> str:
    """Return the DuckDB type of a column of this field."""
    return DUCKDB_TYPES[field["type"]]


def field_of(name: str, kind: DuckDBPyType) -> Field:
    """Return the field for a column of DuckDB."""
    # JSON is a VARCHAR with another name.
    bigquery = BIGQUERY_TYPES.get(str(kind).lower()) or BIGQUERY_TYPES.get(kind.id)
    if bigquery is None:
        raise not_supported(f"no BigQuery type is known for {name} {kind}")
    return {"name": name, "type": bigquery, "mode": "NULLABLE"}


def fields_of(cursor: DuckDBPyConnection, sql: str) -> list[Field]:
    """Return the fields of the rows that a DuckDB query returns."""
    described = cursor.execute(f"SELECT * FROM ({sql}) LIMIT 0").description or []
    return [field_of(column[0], column[1]) for column in described]


def row_to_json(row: Iterable[object], fields: list[Field], *, timestamps: str = "float") -> dict[str, Any]:
    """Write a row as the REST interface does.

    Args:
        row: the values.
        fields: their fields.
        timestamps: how a TIMESTAMP is written: "float" seconds, "int64" microseconds, or "iso" text.
    """
    cells = zip(row, fields, strict=True)
    return {"f": [{"v": _value_to_json(value, field["type"], timestamps)} for value, field in cells]}


def _value_to_json(value: Any, kind: str, timestamps: str) -> str | None:  # noqa: ANN401 - any type of DuckDB's
    if value is None:
        return None
    return _timestamp_to_json(value, timestamps) if kind == "TIMESTAMP" else TEXTS[kind](value)


def _decimal_to_json(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _float_to_json(value: float) -> str:
    return str(value) if math.isfinite(value) else {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")


def _timestamp_to_json(value: datetime, timestamps: str) -> str:
    if timestamps == "iso":
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    age = value - datetime(1970, 1, 1, tzinfo=UTC)
    microseconds = (age.days * 86_400 + age.seconds) * 1_000_000 + age.microseconds
    return str(microseconds) if timestamps == "int64" else repr(microseconds / 1e6)


TEXTS: dict[str, Callable[[Any], str]] = {
    "BOOLEAN": lambda value: "true" if value else "false",
    "DATE": date.isoformat,
    "DATETIME": datetime.isoformat,
    "FLOAT": _float_to_json,
    "INTEGER": str,
    "JSON": str,
    "NUMERIC": _decimal_to_json,
    "STRING": str,
}
