"""zone_steps: the steps of `ingest_taxi_zones`. Import this inside a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from include.nyc_taxi import catalog, targets, zones
from include.orchestration import connections
from include.orchestration.retries import reported

if TYPE_CHECKING:
    from include.orchestration.xcoms import LoadedZones, RawZones


@reported
def download() -> RawZones:
    """Download the lookup and the shapes into raw/, unless they are unchanged."""
    lake, base_url = connections.lake(), connections.base_url(zones.SOURCE)
    hosts = connections.redirect_hosts(zones.SOURCE)
    connections.check_lake(lake)
    service = next(iter(catalog.services()))
    for target in _configured():
        with connections.opened(target) as client:
            target.check(client, lake, target.default_table(service), service)
    lookup, shapes = (
        zones.fetch(path, lake, base_url=base_url, redirect_hosts=hosts) for path in (zones.LOOKUP, zones.SHAPES)
    )
    return {"lookup": lookup.key, "shapes": shapes.key, "bytes": lookup.edition.bytes + shapes.edition.bytes}


@reported
def load(lookup: str, shapes: str) -> LoadedZones:
    """Load the zones from raw/ into every configured target that takes them.

    Raises:
        ValueError: no such target is configured.
    """
    into = _configured()
    rows = zones.read(connections.lake(), lookup, shapes)
    loads = []
    for target in into:
        with connections.opened(target) as client:
            loads.append(target.replace_zones(client, rows))
    return {
        "table": ", ".join(load.table for load in loads),
        "zones": len(rows),
        "views": sum(len(load.views) for load in loads),
        "outcome": "replaced" if any(load.outcome == "replaced" for load in loads) else "unchanged",
    }


def _configured() -> list[targets.Target[Any, Any]]:
    able = targets.with_zones()
    found = [target for target in able if connections.is_configured(target)]
    if not found:
        raise ValueError(f"no target for the taxi zones: set one of {[target.connected_by for target in able]}")
    return found
