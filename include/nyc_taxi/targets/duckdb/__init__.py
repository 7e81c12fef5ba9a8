"""duckdb: months in a DuckDB file, one table per service, with their ledger."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from include.nyc_taxi.targets.base import Target

if TYPE_CHECKING:
    from pathlib import Path

    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.precedence import Claim, Run
    from include.nyc_taxi.targets.base import ZonesLoaded
    from include.nyc_taxi.targets.duckdb.database import DatabaseFile
    from include.nyc_taxi.targets.duckdb.table import Table
    from include.nyc_taxi.targets.ledger import Loaded
    from include.nyc_taxi.targets.loads import Load
    from include.nyc_taxi.trip_file import TripFile


class DuckDB(Target["DatabaseFile", "Table"]):
    """A DuckDB file. Its client opens the file for the moment of a question or a transaction."""

    name = "duckdb"
    title = "DuckDB"
    connection = "taxi_duckdb"
    connected_by = "connection taxi_duckdb"
    loaded_by = "etl_web_to_duckdb"
    loading_task = "load"
    namespace_kind = "schema"
    default_namespace = "main"
    has_zones = True

    def default_table(self, service: str, namespace: str | None = None) -> Table:
        """`{schema}.{service}_taxi_trips`, in the schema `main` unless another one is named."""
        from include.nyc_taxi.targets.duckdb.table import Table

        return Table.of_service(service, namespace or self.default_namespace)

    def published_view(self, table: Table, service: str) -> Table | None:
        """`{schema}.{service}_tripdata`, beside the service's default table."""
        return table.published_view(service)

    def parse_table(self, name: str) -> Table:
        """Read `table` or `schema.table`."""
        from include.nyc_taxi.targets.duckdb.table import Table

        return Table.parse(name)

    def home(self, folder: Path) -> str:
        """The file `nyc_taxi.duckdb` in the folder."""
        return json.dumps({"conn_type": "generic", "host": str(folder / "nyc_taxi.duckdb")})

    def check(
        self,
        client: DatabaseFile,
        lake: Lake,  # noqa: ARG002 - no need of it
        table: Table,
        service: str,
    ) -> str:
        """See that the file can be read and written, or created, and that the table holds no other service."""
        from include.nyc_taxi.targets.duckdb import schema

        schema.check(client, table, service)
        return f"file {client.path}"

    def replace_month(
        self,
        client: DatabaseFile,
        file: TripFile,
        lake: Lake,
        *,
        table: Table | None = None,
        found: Claim | None = None,
        run: Run | None = None,
        force: bool = False,
    ) -> Loaded:
        """Replace the month's rows in one transaction with its ledger row: see `load.replace_month`."""
        from include.nyc_taxi.targets.duckdb import load

        table = table or self.default_table(file.service)
        return load.replace_month(client, file, lake, table=table, found=found, run=run, force=force)

    def loads(self, client: DatabaseFile, namespace: str | None = None) -> dict[TripFile, Load]:
        """The last load of each file whose rows are there, in whatever schema."""
        from include.nyc_taxi.targets.duckdb import ledger

        return ledger.loads(client, lambda service: str(self.default_table(service, namespace)))

    def bytes_held(self, client: DatabaseFile) -> int:
        """The bytes of the file; 0 before a first load."""
        return client.path.stat().st_size if client.path.exists() else 0

    def folder(self, client: DatabaseFile) -> Path:
        """The folder of the file."""
        return client.path.parent

    def replace_zones(self, client: DatabaseFile, lake: Lake) -> ZonesLoaded:
        """Replace the table `taxi_zones` and the views that join it to trips, in one transaction."""
        from include.nyc_taxi.targets.duckdb import zones

        return zones.replace_zones(client, lake, self.default_table)
