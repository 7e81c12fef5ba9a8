"""relations: what the file has of a name: a table or a view, its comment and its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from include.nyc_taxi.targets.duckdb.database import statement

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from include.nyc_taxi.targets.duckdb.table import Table


class Relation(NamedTuple):
    """A table or a view: `kind` says which."""

    kind: str
    comment: str | None


def find(connection: DuckDBPyConnection, table: Table) -> Relation | None:
    """What has the table's name; None if nothing does."""
    found = connection.execute(statement("find_relation"), {"schema": table.schema, "name": table.name}).fetchone()
    return None if found is None else Relation(*found)


def columns_of(connection: DuckDBPyConnection, table: Table) -> dict[str, str]:
    """The types of its columns by name, in their order."""
    found = connection.execute(statement("columns_of"), {"schema": table.schema, "name": table.name})
    return dict(found.fetchall())
