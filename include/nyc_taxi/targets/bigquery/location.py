"""location: see that BigQuery may load from the lake's bucket before anything is loaded."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from google.api_core import exceptions as api
from google.cloud import bigquery as bq

from include.nyc_taxi.errors import WarehouseRefused
from include.nyc_taxi.targets.bigquery import ledger, published_view, rights
from include.nyc_taxi.targets.bigquery.in_place import is_read_in_place
from include.nyc_taxi.targets.bigquery.server import errors_told

if TYPE_CHECKING:
    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.targets.bigquery.table import Table

log = logging.getLogger(__name__)

_DEFAULT_LOCATION = "US"
_MILLISECONDS_A_DAY = 24 * 3600 * 1000


def check(client: bq.Client, lake: Lake, table: Table, service: str) -> str:
    """See that bucket and dataset can be reached and are in compatible locations; returns the dataset's location.

    Raises:
        WarehouseRefused: credentials, a right or the bucket is missing, the locations differ, the table holds another
            service, or something else has the name of its view.
        WarehouseBusy: the way there failed.
    """
    dataset = bq.DatasetReference(table.project or client.project, table.dataset)
    name = f"{dataset.project}.{dataset.dataset_id}"
    with errors_told(f"dataset {name}"):
        rights.check(client, lake, dataset)
        wanted = _bucket_location(lake)
        try:
            present = client.get_dataset(dataset)
            _check_table(client, present, table, service)
            published_view.check(client, table, service)
            found = str(present.location)
        except api.NotFound:
            log.info("dataset %s does not exist yet: the load creates it in %s", name, wanted or _DEFAULT_LOCATION)
            return wanted or _DEFAULT_LOCATION
        if wanted is not None and not may_load(wanted, found):
            raise WarehouseRefused(
                f"dataset {name} is in {found} and the bucket of {lake.url('')} in {wanted}: "
                "a load job needs both in one location"
            )
        log.info("dataset %s is in %s", name, found)
        return found


def create_dataset(client: bq.Client, lake: Lake, table: Table) -> str:
    """Create the table's dataset if it is missing, where the lake's bucket is; returns its location."""
    reference = table.reference(client)
    wanted = bq.Dataset(bq.DatasetReference(reference.project, reference.dataset_id))
    wanted.location = _bucket_location(lake) or _DEFAULT_LOCATION
    return str(client.create_dataset(wanted, exists_ok=True).location)


def _check_table(client: bq.Client, dataset: bq.Dataset, table: Table, service: str) -> None:
    """Refuse a table of another service, and one that expires: a partition's age counts from the month it is for."""
    try:
        found = client.get_table(table.reference(client))
    except api.NotFound:
        lasting = dataset.default_partition_expiration_ms or dataset.default_table_expiration_ms
        if lasting:
            raise WarehouseRefused(
                f"dataset {dataset.full_dataset_id} has a default expiration of {_days(lasting)}: old months would "
                "vanish as they are loaded. Expected none: remove the default expiration"
            ) from None
        return
    lasting = found.time_partitioning.expiration_ms if found.time_partitioning else None
    if lasting or found.expires:
        when = f"its partitions after {_days(lasting)}" if lasting else f"the table at {found.expires}"
        raise WarehouseRefused(
            f"{table} expires, {when}: old months would vanish as they are loaded. Expected none: remove the expiration"
        )
    ledger.check_service(client, table, found, service)


def _days(milliseconds: int) -> str:
    return f"{milliseconds / _MILLISECONDS_A_DAY:g} days"


def _bucket_location(lake: Lake) -> str | None:
    """Where the lake's bucket is; None for a lake of which the files are uploaded."""
    if not is_read_in_place(lake):
        return None
    bucket = lake.root.partition("/")[0]
    try:
        return str(lake.fs.info(bucket)["location"]).upper()
    except (FileNotFoundError, KeyError) as error:
        raise WarehouseRefused(f"bucket {bucket!r} does not exist, or taxi_gcp may not see it") from error


def may_load(bucket: str, dataset: str) -> bool:
    """Whether BigQuery loads from a bucket into a dataset: US takes from anywhere, EU from its regions too.

    Source: https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-parquet#limitations
    """
    bucket, dataset = bucket.upper(), dataset.upper()
    return dataset in ("US", bucket) or (dataset == "EU" and bucket.startswith("EUROPE-"))
