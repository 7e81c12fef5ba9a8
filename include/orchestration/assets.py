"""assets: what runs make that other runs wait for. One per service: its months in the lake, each month a partition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

from include.nyc_taxi import catalog

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.nyc_taxi import TripFile


def lake_asset(service: str) -> Asset:
    """The months of a service that lie in the lake's data/; its partitions are months, YYYY-MM."""
    return Asset(name=f"lake {service}", uri=f"x-nyc-taxi://lake/data/{service}", group="nyc-taxi")


SERVICES = tuple(catalog.services())
LAKE_ASSETS = [lake_asset(service) for service in SERVICES]

# Its events say in one line what `sync_published_months` found and did.
PUBLISHED_MONTHS = Asset(name="published months", uri="x-nyc-taxi://published", group="nyc-taxi")


def announce(context: Context, file: TripFile, note: dict[str, Any]) -> None:
    """Say that this task has put a month into the lake, so that what follows runs for that month.

    The task has all of `LAKE_ASSETS` as outlets, as the service is known only now. Airflow sends an event of every
    outlet that a task has when it ends, with the run's own partition key: keep the one that was written.
    """
    asset = lake_asset(file.service)
    context["task"].outlets = [asset]
    event = context["outlet_events"][asset]
    event.extra = note
    event.add_partitions(str(file.month))
