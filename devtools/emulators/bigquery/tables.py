"""The name of a table, the rows for it, and the changes that it allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from devtools.emulators.bigquery.errors import Refused, not_supported
from devtools.emulators.bigquery.fields import quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from devtools.emulators.bigquery.fields import Field
    from devtools.emulators.bigquery.partitions import Partitioning

Resource = dict[str, Any]

APPEND, TRUNCATE = "WRITE_APPEND", "WRITE_TRUNCATE"


class TableId(NamedTuple):
    """A table, or with a decorator one of its partitions."""

    project: str
    dataset: str
    table: str
    decorator: str = ""

    @classmethod
    def of(cls, reference: Resource, project: str = "") -> TableId:
        """Read a tableReference such as `{"datasetId": "d", "tableId": "t$202401"}`."""
        table, _, decorator = reference["tableId"].partition("$")
        return cls(reference.get("projectId", project), reference["datasetId"], table, decorator)

    @property
    def key(self) -> str:
        """The name of its resource."""
        return f"{self.dataset}.{self.table}"

    @property
    def sql(self) -> str:
        """The name of the table in DuckDB."""
        return f"tables.{quoted(self.dataset)}.{quoted(self.table)}"

    def __str__(self) -> str:
        return f"{self.project}:{self.dataset}.{self.table}"


class Rows(NamedTuple):
    """Rows to write: a SELECT of DuckDB, and the fields of its columns."""

    sql: str
    fields: list[Field]


def may_add_columns(table: TableId, disposition: str, settings: Resource) -> bool:
    """Whether a job may add columns to the table; refuse options that are wrong or not supported."""
    if disposition not in {APPEND, TRUNCATE}:
        raise not_supported(f"writeDisposition {disposition} is not {APPEND} or {TRUNCATE}")
    options = set(settings.get("schemaUpdateOptions") or [])
    if options and disposition == TRUNCATE and not table.decorator:
        raise Refused(
            "invalid",
            "Schema update options should only be specified with WRITE_APPEND disposition, "
            "or with WRITE_TRUNCATE disposition on a table partition.",
        )
    if options - {"ALLOW_FIELD_ADDITION"}:
        raise not_supported(f"schemaUpdateOptions {sorted(options)} are not ALLOW_FIELD_ADDITION")
    return bool(options)


def check_partition(cursor: DuckDBPyConnection, table: TableId, source: str, partitioning: Partitioning) -> None:
    """Refuse rows that are not in the partition that the table's decorator names."""
    others = f"NOT coalesce({partitioning.condition(table.decorator)}, false)"
    if cursor.execute(f"SELECT 1 FROM ({source}) WHERE {others} LIMIT 1").fetchone():
        raise Refused(
            "invalid",
            f"Some rows belong to different partitions rather than destination partition {table}${table.decorator}",
        )


def check_new_field(table: TableId, field: Field, *, may_add: bool) -> None:
    """Refuse a new column that the table must not get."""
    if not may_add:
        raise _mismatch(table, f"Cannot add fields (field: {field['name']})")
    if field["mode"] == "REQUIRED":
        raise _mismatch(table, f"Cannot add required fields to an existing schema. (field: {field['name']})")


def check_field(table: TableId, before: Field, after: Field) -> None:
    """Refuse a column of another type or mode than the table has."""
    for what in ("type", "mode"):
        if before[what] != after[what]:
            changed = f"Field {after['name']} has changed {what} from {before[what]} to {after[what]}"
            raise _mismatch(table, changed)


def check_none_missing(table: TableId, resource: Resource, fields: list[Field]) -> None:
    """Refuse a schema that lacks a column of the table."""
    names = {field["name"].lower() for field in fields}
    for field in resource["schema"]["fields"]:
        if field["name"].lower() not in names:
            raise _mismatch(table, f"Field {field['name']} is missing in new schema")


def _mismatch(table: TableId, what: str) -> Refused:
    return Refused("invalid", f"Provided Schema does not match Table {table}. {what}")
