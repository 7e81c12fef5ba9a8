"""postgres: months in a Postgres warehouse, one partition each, with their ledger and summaries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from include.nyc_taxi.targets.base import Target, ZonesLoaded
from include.nyc_taxi.targets.postgres.table import Table

if TYPE_CHECKING:
    import psycopg

    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.precedence import Claim, Run
    from include.nyc_taxi.targets.ledger import Loaded
    from include.nyc_taxi.targets.loads import Load
    from include.nyc_taxi.targets.summaries import Summaries
    from include.nyc_taxi.trip_file import TripFile

__all__ = ["Postgres", "Table"]


class Postgres(Target["psycopg.Connection[Any]", Table]):
    """A Postgres database. Its client is a psycopg connection outside of any transaction."""

    name = "postgres"
    title = "Postgres"
    connection = "taxi_warehouse"
    connected_by = "connection taxi_warehouse"
    loaded_by = "ingest_data"
    loading_task = "load_data"
    namespace_kind = "schema"
    default_namespace = "public"
    has_zones = True

    @property
    def summaries(self) -> Summaries[psycopg.Connection[Any]]:
        """The tables `trips_by_month`, `trips_by_hour` and `trips_by_zone`."""
        from include.nyc_taxi.targets.postgres import summaries

        return summaries

    def default_table(self, service: str, namespace: str | None = None) -> Table:
        """`{schema}.{service}_taxi_trips`, in the schema `public` unless another one is named."""
        return Table.of_service(service, namespace or self.default_namespace)

    def published_view(self, table: Table, service: str) -> Table | None:
        """`{schema}.{service}_tripdata`, beside the service's default table."""
        return table.published_view(service)

    def parse_table(self, name: str) -> Table:
        """Read `table` or `schema.table`."""
        return Table.parse(name)

    def check(
        self,
        client: psycopg.Connection[Any],
        lake: Lake,  # noqa: ARG002 - no need of it
        table: Table,
        service: str,
    ) -> str:
        """See that the server answers, can be written and grants what a load needs; returns the database and its host.

        The months' own locks and owners are for the load to find out.
        """
        from include.nyc_taxi.targets.postgres.readiness import check

        check(client, table, service)
        return f"database {client.info.dbname} on {client.info.host}"

    def replace_month(
        self,
        client: psycopg.Connection[Any],
        file: TripFile,
        lake: Lake,
        *,
        table: Table | None = None,
        found: Claim | None = None,
        run: Run | None = None,
        force: bool = False,
    ) -> Loaded:
        """Swap the month's partition, in one transaction with its ledger row and summary: see `load.replace_month`."""
        from include.nyc_taxi.targets.postgres import load

        table = table or self.default_table(file.service)
        return load.replace_month(client, file, lake, table=table, found=found, run=run, force=force)

    def loads(self, client: psycopg.Connection[Any], namespace: str | None = None) -> dict[TripFile, Load]:
        """The last load of each file whose partition is there, in whatever schema."""
        from include.nyc_taxi.targets.postgres import ledger

        return ledger.loads(client, namespace or self.default_namespace)

    def bytes_held(self, client: psycopg.Connection[Any]) -> int:
        """The bytes of the database."""
        from include.nyc_taxi.targets.postgres.server import questions, text, value

        with questions(client):
            return cast("int", value(client, text("database_bytes")))

    def replace_zones(self, client: psycopg.Connection[Any], lake: Lake) -> ZonesLoaded:
        """Replace the table `taxi_zones` and the views that join it to trips, each in one transaction."""
        from include.nyc_taxi.targets.postgres.zones import TABLE, replace_views, replace_zones

        outcome = replace_zones(client, lake)
        return ZonesLoaded(outcome, str(TABLE), tuple(map(str, replace_views(client))))
