"""How a table is partitioned by time, and which rows a partition's id names."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from devtools.emulators.bigquery.errors import Refused
from devtools.emulators.bigquery.fields import quoted

if TYPE_CHECKING:
    from devtools.emulators.bigquery.fields import Field

IDS = {"HOUR": "%Y%m%d%H", "DAY": "%Y%m%d", "MONTH": "%Y%m", "YEAR": "%Y"}
NULL_PARTITION = "__NULL__"


class Partitioning(NamedTuple):
    """Partitioned by HOUR, DAY, MONTH or YEAR of a DATE, DATETIME or TIMESTAMP column."""

    unit: str
    column: str

    @classmethod
    def of(cls, resource: dict[str, Any]) -> Self | None:
        """The partitioning of a table's resource, or of a job that may create the table.

        Raises:
            Refused: it is of a kind that is not supported, or names a column that cannot be its own.
        """
        if resource.get("rangePartitioning"):
            raise Refused("notImplemented", "local cloud: no range partitioning, expected timePartitioning")
        spec = resource.get("timePartitioning")
        if not spec:
            return None
        unit, column = spec.get("type", "DAY").upper(), spec.get("field")
        if unit not in IDS:
            raise Refused("invalid", f"Unknown time partitioning type {unit}, expected one of {', '.join(IDS)}")
        if not column:
            raise Refused("notImplemented", "local cloud: no partitioning by ingestion time, expected a field")
        fields: list[Field] = resource.get("schema", {}).get("fields", [])
        found = next((field for field in fields if field["name"].lower() == column.lower()), None)
        if fields and (found is None or found["type"] not in {"DATE", "DATETIME", "TIMESTAMP"}):
            raise Refused(
                "invalid", f"The field specified for partitioning, {column}, is not a time column of the schema"
            )
        return cls(unit, column)

    def condition(self, partition_id: str) -> str:
        """Which rows are in the partition, in DuckDB's words. For a null value it is null, but for `__NULL__`."""
        column = quoted(self.column)
        if partition_id == NULL_PARTITION:
            return f"{column} IS NULL"
        try:
            start = datetime.strptime(partition_id, IDS[self.unit])  # noqa: DTZ007 - the session's zone is UTC
        except ValueError:
            start = None
        if start is None or start.strftime(IDS[self.unit]) != partition_id:
            raise Refused("invalid", f"Invalid partition id {partition_id!r}, expected {self.unit} as {IDS[self.unit]}")
        first = f"TIMESTAMP '{start.isoformat(sep=' ')}'"
        return f"({column} >= {first} AND {column} < {first} + INTERVAL 1 {self.unit})"

    @property
    def id_sql(self) -> str:
        """The id of a row's partition, in DuckDB's words."""
        return f"coalesce(strftime({quoted(self.column)}, '{IDS[self.unit]}'), '{NULL_PARTITION}')"
