"""table: the name of a table in BigQuery."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.nyc_taxi.targets.table import published_name

if TYPE_CHECKING:
    from google.cloud import bigquery as bq

_TABLE = re.compile(r"(?:(?P<project>[a-z][a-z0-9-]*)\.)?(?P<dataset>\w+)\.(?P<name>[\w-]+)", re.ASCII)


@dataclass(frozen=True)
class Table:
    """A table by its dataset and name; people write `dataset.table` or `project.dataset.table`.

    >>> print(Table.parse("dezoomcamp.trips"))
    dezoomcamp.trips
    """

    dataset: str
    name: str
    project: str | None = None

    @classmethod
    def parse(cls, text: str) -> Table:
        """Read `dataset.table` or `project.dataset.table`."""
        match = _TABLE.fullmatch(text)
        if match is None:
            raise ValueError(f"table name {text!r} is not dataset.table or project.dataset.table")
        return cls(match["dataset"], match["name"], match["project"])

    @classmethod
    def of_service(cls, service: str, dataset: str) -> Table:
        """The default table of a service, `{dataset}.{service}_trips`."""
        return cls.parse(f"{dataset}.{service}_trips")

    def published_view(self, service: str) -> Table | None:
        """The view of its trips under the publisher's names, beside it; None unless it is the service's default one."""
        is_default = self.name == Table.of_service(service, self.dataset).name
        return self.beside(published_name(service)) if is_default else None

    def reference(self, client: bq.Client, name: str | None = None) -> bq.TableReference:
        """The table, or the named one beside it, as the client knows it."""
        from google.cloud import bigquery as bq

        return bq.DatasetReference(self.project or client.project, self.dataset).table(name or self.name)

    def beside(self, name: str) -> Table:
        """The named table of the same dataset."""
        return Table(self.dataset, name, self.project)

    def __str__(self) -> str:
        return ".".join(filter(None, (self.project, self.dataset, self.name)))
