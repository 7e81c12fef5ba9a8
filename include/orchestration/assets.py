"""assets: what DAGs tell each other of. One asset per service; its partitions are months, ``YYYY-MM``.

Airflow looks for a provider that knows the scheme of a URI, and imports all of them for it, unless it begins with `x-`.
"""

from __future__ import annotations

from airflow.sdk import Asset

from include.nyc_taxi import catalog


def lake_asset(service: str) -> Asset:
    """The accepted rows of a service in the lake."""
    return Asset(name=f"lake {catalog.service(service).name}", uri=f"x-nyc-taxi://lake/data/{service}")


# Its events say in one line what the daily run found and did.
PUBLISHED_MONTHS = Asset(name="published months", uri="x-nyc-taxi://published")
