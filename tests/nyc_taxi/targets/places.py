"""Every target that takes zones, as a test asks it: how it is opened, asked, and shows whether it was written."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery as bq

from include.nyc_taxi import targets
from include.nyc_taxi.lake import Lake
from include.nyc_taxi.targets import Target
from include.nyc_taxi.targets.base import ZonesLoaded
from include.nyc_taxi.targets.duckdb.database import DatabaseFile

Rows = list[tuple[Any, ...]]


@dataclass
class Place(ABC):
    """A target in an empty place of its own; `zones` is the table of zones whose rows can be changed."""

    address: str
    name = ""
    zones = "taxi_zones"

    @property
    def target(self) -> Target[Any, Any]:
        return targets.get(self.name)

    @contextmanager
    @abstractmethod
    def opened(self) -> Iterator[Any]:
        """Open the target's client."""

    @abstractmethod
    def ask(self, statement: str) -> Rows:
        """Run a statement, in which `at` names the tables."""

    def at(self, table: str) -> str:
        """The name of a table in a statement."""
        return table

    @abstractmethod
    def columns(self, table: str) -> list[str]:
        """The columns of a table or view, in order."""

    @abstractmethod
    def written(self) -> object:
        """Something that differs after each change of the zones."""

    @abstractmethod
    def add_column(self, table: str, name: str) -> None:
        """Add a column for whole numbers to a table."""

    @abstractmethod
    def make_table(self, name: str) -> None:
        """Make a table of one column, `mine`."""

    def table(self, service: str) -> str:
        """The table of a service's trips."""
        return str(self.target.default_table(service)).rpartition(".")[2]

    def load(self, lake: Lake) -> ZonesLoaded:
        """Load the zones, as one run."""
        with self.opened() as client:
            return self.target.replace_zones(client, lake)


class InPostgres(Place):
    """A database of Postgres."""

    name = "postgres"

    @contextmanager
    def opened(self) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.address) as connection:
            yield connection

    def ask(self, statement: str) -> Rows:
        with psycopg.connect(self.address) as connection:
            cursor = connection.execute(statement)
            return [] if cursor.description is None else cursor.fetchall()

    def columns(self, table: str) -> list[str]:
        with psycopg.connect(self.address) as connection:
            return [column.name for column in connection.execute(f"TABLE {table} LIMIT 0").description]

    def written(self) -> object:
        return self.ask("SELECT xmin, location_id FROM taxi_zones ORDER BY 2")

    def add_column(self, table: str, name: str) -> None:
        self.ask(f"ALTER TABLE {table} ADD COLUMN {name} int")

    def make_table(self, name: str) -> None:
        self.ask(f"CREATE TABLE {name} (mine int)")


class InDuckDB(Place):
    """A DuckDB file."""

    name = "duckdb"

    @contextmanager
    def opened(self) -> Iterator[DatabaseFile]:
        yield DatabaseFile(Path(self.address), patience_seconds=30)

    def ask(self, statement: str) -> Rows:
        with duckdb.connect(self.address) as connection:
            return connection.execute(statement).fetchall()

    def columns(self, table: str) -> list[str]:
        return [name for (name, *_) in self.ask(f"DESCRIBE {table}")]

    def written(self) -> object:
        return Path(self.address).read_bytes()

    def add_column(self, table: str, name: str) -> None:
        self.ask(f"ALTER TABLE {table} ADD COLUMN {name} INTEGER")

    def make_table(self, name: str) -> None:
        self.ask(f"CREATE TABLE {name} (mine INTEGER)")


class InBigQuery(Place):
    """The emulated BigQuery, whose dataset `nyc_taxi` is empty."""

    name = "bigquery"
    zones = "taxi_zones_geojson"

    @contextmanager
    def opened(self) -> Iterator[bq.Client]:
        with bq.Client(project=self.address, credentials=AnonymousCredentials()) as client:
            yield client

    def ask(self, statement: str) -> Rows:
        with self.opened() as client:
            return [tuple(row) for row in client.query_and_wait(statement)]

    def at(self, table: str) -> str:
        return f"nyc_taxi.{table}"

    def columns(self, table: str) -> list[str]:
        with self.opened() as client:
            return [field.name for field in client.get_table(f"nyc_taxi.{table}").schema]

    def written(self) -> object:
        with self.opened() as client:
            return client.get_table("nyc_taxi.taxi_zones_geojson").etag

    def add_column(self, table: str, name: str) -> None:
        with self.opened() as client:
            found = client.get_table(f"nyc_taxi.{table}")
            found.schema = [*found.schema, bq.SchemaField(name, "INTEGER")]
            client.update_table(found, ["schema"])

    def make_table(self, name: str) -> None:
        with self.opened() as client:
            client.create_dataset("nyc_taxi", exists_ok=True)
            client.create_table(bq.Table(f"{self.address}.nyc_taxi.{name}", [bq.SchemaField("mine", "INTEGER")]))

    def empty(self) -> None:
        """Delete every dataset."""
        with self.opened() as client:
            for dataset in client.list_datasets():
                client.delete_dataset(dataset.reference, delete_contents=True)


PLACES: dict[str, Callable[[str], Place]] = {"postgres": InPostgres, "duckdb": InDuckDB, "bigquery": InBigQuery}
