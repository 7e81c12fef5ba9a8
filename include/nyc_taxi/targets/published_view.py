"""published_view: the view that has a service's trips under the names and types of the publisher's files.

It is beside the service's default table, such as `green_tripdata` beside `green_taxi_trips`. Its columns are those of
`catalog.Service.published`; each target writes them in its own SQL, and each load keeps the view in step. Its comment
tells that a load has made it, and from which definition.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from include.nyc_taxi.errors import WarehouseRefused

if TYPE_CHECKING:
    from include.nyc_taxi.targets.table import Table

_DIGITS = 12


def comment_of(service: str, definition: str) -> str:
    """What the view's comment says; it is another one for every definition."""
    digest = hashlib.sha256(definition.encode()).hexdigest()[:_DIGITS]
    return f"{_beginning(service)}. Each load keeps this view in step; do not change it. Definition {digest}."


def is_ours(comment: str | None, service: str) -> bool:
    """Whether a view with this comment was made by a load of the service, which may replace it."""
    return (comment or "").startswith(_beginning(service))


def in_the_way(view: Table, kind: str, table: Table) -> WarehouseRefused:
    """The error for something else that has the view's name."""
    return WarehouseRefused(
        f"{view} is a {kind} that no load has made; expected nothing, or the view of {table} under the publisher's "
        "names: rename it, or load into another schema, dataset or table"
    )


def _beginning(service: str) -> str:
    return f"Trips of the service {service} under the names and types of the publisher's files"
