"""How a table is partitioned by time, and which rows are in a partition."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from devtools.emulators.bigquery.errors import Refused, not_supported
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
        """Return the partitioning of a table's resource, or of a job that may create the table.

        Raises:
            Refused: it is of a kind that is not supported, or its column is missing or holds no times.
        """
        if resource.get("rangePartitioning"):
            raise not_supported("no range partitioning, expected timePartitioning")
        spec = resource.get("timePartitioning")
        if not spec:
            return None
        unit, column = spec.get("type", "DAY").upper(), spec.get("field")
        if unit not in IDS:
            raise Refused("invalid", f"Unknown time partitioning type {unit}, expected one of {', '.join(IDS)}")
        if not column:
            raise not_supported("no partitioning by ingestion time, expected a field")
        _check_column(column, resource.get("schema", {}).get("fields", []))
        return cls(unit, column)

    def condition(self, partition_id: str) -> str:
        """Return the SQL condition for the rows of a partition. For a null value it is null, except in `__NULL__`."""
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
        """The SQL expression for the id of a row's partition."""
        return f"coalesce(strftime({quoted(self.column)}, '{IDS[self.unit]}'), '{NULL_PARTITION}')"


def _check_column(column: str, fields: list[Field]) -> None:
    found = next((field for field in fields if field["name"].lower() == column.lower()), None)
    if fields and (found is None or found["type"] not in {"DATE", "DATETIME", "TIMESTAMP"}):
        raise Refused("invalid", f"The field specified for partitioning, {column}, is not a time column of the schema")
