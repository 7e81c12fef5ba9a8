"""bigquery: months in BigQuery, one partition each, with a ledger in each dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.nyc_taxi.targets.base import Target

if TYPE_CHECKING:
    from google.cloud import bigquery as bq

    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.precedence import Claim, Run
    from include.nyc_taxi.targets.base import ZonesLoaded
    from include.nyc_taxi.targets.bigquery.table import Table
    from include.nyc_taxi.targets.ledger import Loaded
    from include.nyc_taxi.targets.loads import Load
    from include.nyc_taxi.trip_file import TripFile


class BigQuery(Target["bq.Client", "Table"]):
    """BigQuery, or a server that speaks its API. Its client is Google's."""

    name = "bigquery"
    title = "BigQuery"
    connection = "taxi_gcp"
    connected_by = "connection taxi_gcp"
    loaded_by = "etl_gcs_to_bq"
    loading_task = "write_bq"
    namespace_kind = "dataset"
    default_namespace = "nyc_taxi"
    write_modes = ("replace", "append")
    has_zones = True

    def default_table(self, service: str, namespace: str | None = None) -> Table:
        """`{dataset}.{service}_trips`, in the dataset `nyc_taxi` unless another one is named."""
        from include.nyc_taxi.targets.bigquery.table import Table

        return Table.of_service(service, namespace or self.default_namespace)

    def published_view(self, table: Table, service: str) -> Table | None:
        """`{dataset}.{service}_tripdata`, beside the service's default table."""
        return table.published_view(service)

    def parse_table(self, name: str) -> Table:
        """Read `dataset.table` or `project.dataset.table`."""
        from include.nyc_taxi.targets.bigquery.table import Table

        return Table.parse(name)

    def check(self, client: bq.Client, lake: Lake, table: Table, service: str) -> str:
        """See that bucket and dataset can be reached and are in compatible locations; returns the dataset's location.

        A missing dataset is no error: the load creates it in the bucket's location.
        """
        from include.nyc_taxi.targets.bigquery import location

        return location.check(client, lake, table, service)

    def replace_month(
        self,
        client: bq.Client,
        file: TripFile,
        lake: Lake,
        *,
        table: Table | None = None,
        found: Claim | None = None,
        run: Run | None = None,
        force: bool = False,
    ) -> Loaded:
        """Replace the month's partition by one load job, then write the ledger row: see `load.replace_month`."""
        from include.nyc_taxi.targets.bigquery import load

        table = table or self.default_table(file.service)
        return load.replace_month(client, file, lake, table=table, found=found, run=run, force=force)

    def append_month(
        self, client: bq.Client, file: TripFile, lake: Lake, *, table: Table | None = None, run: Run | None = None
    ) -> Loaded:
        """Append the month's rows in chunks of 500,000, whatever the table holds: see `load.append_month`."""
        from include.nyc_taxi.targets.bigquery import load

        return load.append_month(client, file, lake, table=table or self.default_table(file.service), run=run)

    def loads(self, client: bq.Client, namespace: str | None = None) -> dict[TripFile, Load]:
        """The ledger's last row of each file in the dataset, that of its default table before others."""
        from include.nyc_taxi.targets.bigquery import ledger

        return ledger.loads(client, namespace or self.default_namespace, self.default_table)

    def replace_zones(self, client: bq.Client, lake: Lake) -> ZonesLoaded:
        """Replace the zones by one load job, and keep the views over them in step: see `zones.replace_zones`."""
        from include.nyc_taxi.targets.bigquery import zones

        return zones.replace_zones(client, lake, self.default_table)
