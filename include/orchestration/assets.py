"""assets: what DAGs tell each other of. One asset per service; its partitions are months, ``YYYY-MM``."""

from __future__ import annotations

from airflow.sdk import Asset

from include.nyc_taxi import catalog


def lake_asset(service: str) -> Asset:
    """The accepted rows of a service in the lake."""
    return Asset(name=f"lake {catalog.service(service).name}", uri=f"nyc-taxi://lake/data/{service}")
