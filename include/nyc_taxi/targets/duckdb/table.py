"""table: the name of a table in a DuckDB file."""

from __future__ import annotations

import re
from dataclasses import dataclass

from include.nyc_taxi.targets.table import published_name

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_TABLE = re.compile(rf"(?:(?P<schema>{_NAME})\.)?(?P<name>{_NAME})", re.ASCII)


@dataclass(frozen=True)
class Table:
    """A table by its schema and name; people write `table` or `schema.table`.

    >>> print(Table.parse("green_taxi_trips"))
    main.green_taxi_trips
    """

    schema: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Table:
        """Read `table` or `schema.table`; the schema is `main` if none is given. DuckDB ignores the case of names."""
        match = _TABLE.fullmatch(text)
        if match is None:
            raise ValueError(
                f"table name {text!r} is not table or schema.table with letters, digits and _ (no leading digit)"
            )
        return cls((match["schema"] or "main").lower(), match["name"].lower())

    @classmethod
    def of_service(cls, service: str, schema: str) -> Table:
        """The default table of a service, `{schema}.{service}_taxi_trips`."""
        return cls.parse(f"{schema}.{service}_taxi_trips")

    def published_view(self, service: str) -> Table | None:
        """The view of its trips under the publisher's names, beside it; None unless it is the service's default one."""
        view = Table(self.schema, published_name(service))
        return view if self == Table.of_service(service, self.schema) else None

    @property
    def identifier(self) -> str:
        """The name, quoted as it stands in a statement."""
        return f'"{self.schema}"."{self.name}"'

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"
