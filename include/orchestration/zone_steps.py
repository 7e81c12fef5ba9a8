"""zone_steps: the steps of `ingest_taxi_zones`. Import this inside a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from include.nyc_taxi import landed_zones, targets, zones
from include.orchestration import connections
from include.orchestration.retries import reported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.orchestration.xcoms import LandedZones, LoadedZones, RawZones


@reported
def choose(asked_for: Sequence[str] = ()) -> list[str]:
    """Choose the targets to load: those that were asked for, else every one that is set up.

    Raises:
        ValueError: the lake or a target that was asked for is not set up, or that target is unknown.
    """
    connections.check_lake(connections.lake())
    chosen = [_able(name) for name in asked_for] or _set_up()
    return list(dict.fromkeys(target.name for target in chosen))


@reported
def download() -> RawZones:
    """Download the lookup and the shapes into raw/, unless they are unchanged."""
    lake, base_url = connections.lake(), connections.base_url(zones.SOURCE)
    hosts = connections.redirect_hosts(zones.SOURCE)
    connections.check_lake(lake)
    lookup, shapes = (
        zones.fetch(path, lake, base_url=base_url, redirect_hosts=hosts) for path in (zones.LOOKUP, zones.SHAPES)
    )
    return {"lookup": lookup.key, "shapes": shapes.key, "bytes": lookup.edition.bytes + shapes.edition.bytes}


@reported
def land() -> LandedZones:
    """Put the zones of the current editions into the lake."""
    return {"key": landed_zones.KEY, "outcome": zones.land(connections.lake())}


@reported
def load(name: str) -> LoadedZones:
    """Load the lake's zones into the target of that name."""
    target = targets.get(name)
    with connections.opened(target) as client:
        loaded = target.replace_zones(client, connections.lake())
    return {"target": target.name, "table": loaded.table, "views": len(loaded.views), "outcome": loaded.outcome}


def _able(name: str) -> targets.Target[Any, Any]:
    target = targets.get(name)
    if not target.has_zones:
        raise ValueError(f"target {name!r} takes no zones; expected {[able.name for able in targets.with_zones()]}")
    if not connections.is_configured(target):
        raise ValueError(f"target {name!r} is not set up: set {target.connected_by}")
    return target


def _set_up() -> list[targets.Target[Any, Any]]:
    return [target for target in targets.with_zones() if connections.is_configured(target)]
