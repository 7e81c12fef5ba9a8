"""table: the name of a table in Postgres."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.nyc_taxi.targets.table import published_name

if TYPE_CHECKING:
    from psycopg import sql

_NAME = r"[A-Za-z_][A-Za-z0-9_$]*"
_TABLE = re.compile(rf"(?:(?P<schema>{_NAME})\.)?(?P<name>{_NAME})", re.ASCII)
# Postgres cuts names at 63 bytes without an error; the longest that we derive adds "_new_0123abcd_brin".
_LONGEST_SCHEMA = 63
_LONGEST_NAME = 45


@dataclass(frozen=True)
class Table:
    """A table by its schema and name; people write `table` or `schema.table`.

    >>> print(Table.parse("green_taxi_trips"))
    public.green_taxi_trips
    """

    schema: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Table:
        """Read `table` or `schema.table`; the schema is `public` if none is given."""
        match = _TABLE.fullmatch(text)
        if match is None:
            raise ValueError(
                f"table name {text!r} is not table or schema.table with letters, digits, _ and $ (no leading digit)"
            )
        table = cls(match["schema"] or "public", match["name"])
        for kind, name, longest in (("schema", table.schema, _LONGEST_SCHEMA), ("table", table.name, _LONGEST_NAME)):
            if len(name) > longest:
                raise ValueError(f"{kind} name {name!r} has {len(name)} characters; expected at most {longest}")
        return table

    @classmethod
    def of_service(cls, service: str, schema: str) -> Table:
        """The default table of a service, `{schema}.{service}_taxi_trips`."""
        return cls.parse(f"{schema}.{service}_taxi_trips")

    def published_view(self, service: str) -> Table | None:
        """The view of its trips under the publisher's names, beside it; None unless it is the service's default one."""
        view = Table(self.schema, published_name(service))
        return view if self == Table.of_service(service, self.schema) else None

    @property
    def identifier(self) -> sql.Identifier:
        """The name, to be quoted by the driver wherever it stands in a statement."""
        from psycopg import sql

        return sql.Identifier(self.schema, self.name)

    def beside(self, suffix: str) -> Table:
        """The table `{name}_{suffix}` in the same schema."""
        return Table(self.schema, f"{self.name}_{suffix}")

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"
