"""zone_steps: the adapters between a run of `ingest_taxi_zones` and the core. Import this inside a task."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from include.nyc_taxi import zones
from include.orchestration import connections
from include.orchestration.requests import refuse_unknown_params

if TYPE_CHECKING:
    from airflow.sdk import Context


def fetch(context: Context) -> dict[str, Any]:
    """Have the lookup and the shapes in raw/; returns their keys in the lake."""
    refuse_unknown_params(context)
    lake, base_url = connections.lake(), connections.base_url(zones.SOURCE)
    lookup, shapes = (zones.fetch(path, lake, base_url=base_url) for path in (zones.LOOKUP, zones.SHAPES))
    return {"lookup": lookup.key, "shapes": shapes.key, "bytes": lookup.manifest.bytes + shapes.manifest.bytes}


def load(raw: dict[str, Any]) -> dict[str, Any]:
    """Have the zones in the warehouse, and a view for each service's trips; returns the table and counts."""
    rows = zones.read(connections.lake(), raw["lookup"], raw["shapes"])
    with closing(connections.warehouse()) as connection:
        outcome = zones.replace_zones(connection, rows)
        views = zones.replace_views(connection)
    return {"table": str(zones.TABLE), "zones": len(rows), "views": len(views), "outcome": outcome}
