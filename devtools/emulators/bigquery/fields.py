"""A field of BigQuery's, as its REST interface has it, and what it is in DuckDB."""

from __future__ import annotations

import base64
import math
from datetime import UTC, date, datetime
from datetime import time as clock
from typing import TYPE_CHECKING, Any

from devtools.emulators.bigquery.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from decimal import Decimal

    from duckdb import DuckDBPyConnection
    from duckdb.sqltypes import DuckDBPyType

Field = dict[str, Any]

DUCKDB_TYPES = {
    "BIGNUMERIC": "DECIMAL(38,18)",
    "BOOLEAN": "BOOLEAN",
    "BYTES": "BLOB",
    "DATE": "DATE",
    "DATETIME": "TIMESTAMP",
    "FLOAT": "DOUBLE",
    "INTEGER": "BIGINT",
    "JSON": "JSON",
    "NUMERIC": "DECIMAL(38,9)",
    "STRING": "VARCHAR",
    "TIME": "TIME",
    "TIMESTAMP": "TIMESTAMPTZ",
}
STANDARD_NAMES = {"BOOL": "BOOLEAN", "FLOAT64": "FLOAT", "INT64": "INTEGER", "STRUCT": "RECORD"}
SQL_NAMES = {"BOOLEAN": "BOOL", "FLOAT": "FLOAT64", "INTEGER": "INT64"}
BIGQUERY_TYPES = {
    "bigint": "INTEGER",
    "blob": "BYTES",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "double": "FLOAT",
    "float": "FLOAT",
    "hugeint": "INTEGER",
    "integer": "INTEGER",
    "json": "JSON",
    "smallint": "INTEGER",
    "sqlnull": "INTEGER",
    "time": "TIME",
    "timestamp": "DATETIME",
    "timestamp with time zone": "TIMESTAMP",
    "timestamp_ms": "DATETIME",
    "timestamp_ns": "DATETIME",
    "timestamp_s": "DATETIME",
    "tinyint": "INTEGER",
    "ubigint": "INTEGER",
    "uinteger": "INTEGER",
    "usmallint": "INTEGER",
    "utinyint": "INTEGER",
    "uuid": "STRING",
    "varchar": "STRING",
}
NUMERIC_SCALE = 9


def normalised(field: Field) -> Field:
    """The field with the type names that BigQuery answers with, and a mode.

    Raises:
        Refused: a type or mode that is not supported.
    """
    kind = str(field["type"]).upper()
    kind = STANDARD_NAMES.get(kind, kind)
    mode = str(field.get("mode") or "NULLABLE").upper()
    if kind not in DUCKDB_TYPES and kind != "RECORD":
        raise Refused("invalid", f"Invalid value for type: {field['type']} is not a valid value")
    if mode not in {"NULLABLE", "REQUIRED", "REPEATED"}:
        raise Refused("invalid", f"Invalid value for mode: {mode} is not a valid value")
    result = field | {"type": kind, "mode": mode}
    if kind == "RECORD":
        result["fields"] = [normalised(inner) for inner in field["fields"]]
    return result


def quoted(name: str) -> str:
    """The name as an identifier of DuckDB's."""
    return '"' + name.replace('"', '""') + '"'


def duckdb_type(field: Field) -> str:
    """What a column of this field is in DuckDB."""
    kind = field["type"]
    if kind == "RECORD":
        inner = ", ".join(f"{quoted(part['name'])} {duckdb_type(part)}" for part in field["fields"])
        result = f"STRUCT({inner})"
    elif "precision" in field:
        result = f"DECIMAL({field['precision']},{field.get('scale', 0)})"
    else:
        result = DUCKDB_TYPES[kind]
    return result + "[]" if field["mode"] == "REPEATED" else result


def sql_type(field: Field) -> str:
    """The type as INFORMATION_SCHEMA and error messages write it."""
    if field["type"] == "RECORD":
        name = "STRUCT<" + ", ".join(f"{part['name']} {sql_type(part)}" for part in field["fields"]) + ">"
    else:
        name = SQL_NAMES.get(field["type"], str(field["type"]))
    return f"ARRAY<{name}>" if field["mode"] == "REPEATED" else name


def field_of(name: str, kind: DuckDBPyType) -> Field:
    """The field that a column of DuckDB's makes."""
    children: Any = kind.children if kind.id in {"list", "struct", "decimal"} else None
    if kind.id == "list":
        return field_of(name, children[0][1]) | {"mode": "REPEATED"}
    if kind.id == "struct":
        inner = [field_of(part, of) for part, of in children]
        return {"name": name, "type": "RECORD", "mode": "NULLABLE", "fields": inner}
    if kind.id == "decimal":
        numeric = "NUMERIC" if dict(children)["scale"] <= NUMERIC_SCALE else "BIGNUMERIC"
        return {"name": name, "type": numeric, "mode": "NULLABLE"}
    # JSON is a VARCHAR with another name.
    bigquery = BIGQUERY_TYPES.get(str(kind).lower()) or BIGQUERY_TYPES.get(kind.id)
    if bigquery is None:
        raise Refused("notImplemented", f"local cloud: no BigQuery type is known for {name} {kind}")
    return {"name": name, "type": bigquery, "mode": "NULLABLE"}


def fields_of(cursor: DuckDBPyConnection, sql: str) -> list[Field]:
    """The fields of the rows that a statement of DuckDB's would give."""
    described = cursor.execute(f"SELECT * FROM ({sql}) LIMIT 0").description or []
    return [field_of(column[0], column[1]) for column in described]


def row_to_json(row: Iterable[object], fields: list[Field], *, timestamps: str = "float") -> dict[str, Any]:
    """A row as the REST interface gives it.

    Args:
        row: the values.
        fields: their fields.
        timestamps: a TIMESTAMP is given as "float" seconds, "int64" microseconds, or "iso" text.
    """
    cells = zip(row, fields, strict=True)
    return {"f": [{"v": _value_to_json(value, field, timestamps)} for value, field in cells]}


def _value_to_json(value: Any, field: Field, timestamps: str) -> Any:  # noqa: ANN401 - any type of DuckDB's
    kind = field["type"]
    if field["mode"] == "REPEATED":
        one = field | {"mode": "NULLABLE"}
        return [{"v": _value_to_json(item, one, timestamps)} for item in value or []]
    if value is None:
        return None
    if kind == "RECORD":
        return row_to_json(value.values(), field["fields"], timestamps=timestamps)
    return TEXTS[kind](value) if kind in TEXTS else _timestamp_to_json(value, timestamps)


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
    "BIGNUMERIC": _decimal_to_json,
    "BOOLEAN": lambda value: "true" if value else "false",
    "BYTES": lambda value: base64.b64encode(value).decode(),
    "DATE": date.isoformat,
    "DATETIME": datetime.isoformat,
    "FLOAT": _float_to_json,
    "INTEGER": str,
    "JSON": str,
    "NUMERIC": _decimal_to_json,
    "STRING": str,
    "TIME": clock.isoformat,
}
