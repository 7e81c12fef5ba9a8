"""targets: the places that months are loaded into, each in a folder of its own behind one interface.

    >>> from include.nyc_taxi import targets
    >>> targets.get("postgres").title
    'Postgres'

A new target is a folder here, a row in `_REGISTRY`, and the adapter of its connection in `include/orchestration`
(docs/adr/0013-a-target-is-a-noun.md lists the files).
"""

from __future__ import annotations

from typing import Any

from include.nyc_taxi.targets.base import Target
from include.nyc_taxi.targets.bigquery import BigQuery
from include.nyc_taxi.targets.duckdb import DuckDB
from include.nyc_taxi.targets.lake import InLake
from include.nyc_taxi.targets.postgres import Postgres
from include.nyc_taxi.targets.table import Table

__all__ = ["NO_TARGET", "Table", "Target", "every", "get", "loadable", "summarising", "the_lake", "with_zones"]

NO_TARGET = "none"
"""What the param `target` says where a month is only to be in the lake."""

_REGISTRY: tuple[Target[Any, Any], ...] = (Postgres(), InLake(), BigQuery(), DuckDB())


def every() -> tuple[Target[Any, Any], ...]:
    """Every target, in the order in which people see them."""
    return _REGISTRY


def loadable() -> tuple[Target[Any, Any], ...]:
    """The targets that load from the lake."""
    return tuple(target for target in _REGISTRY if not target.is_the_lake)


def the_lake() -> Target[Any, Any]:
    """The lake as a target."""
    return next(target for target in _REGISTRY if target.is_the_lake)


def summarising() -> Target[Any, Any]:
    """The target whose summaries of the loaded months are shown: the first that keeps any."""
    return next(target for target in _REGISTRY if target.summaries is not None)


def with_zones() -> tuple[Target[Any, Any], ...]:
    """The targets that take the taxi zones."""
    return tuple(target for target in _REGISTRY if target.has_zones)


def get(name: str) -> Target[Any, Any]:
    """The target of that name, `none` being the lake; an unknown one is a ValueError that lists the known."""
    if name == NO_TARGET:
        return the_lake()
    for target in _REGISTRY:
        if target.name == name:
            return target
    raise ValueError(f"target {name!r} is not one of {[target.name for target in _REGISTRY]}")
