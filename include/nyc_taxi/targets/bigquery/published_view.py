"""published_view: the view of a table under the publisher's names, in its dataset."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from google.api_core import exceptions as api
from google.cloud import bigquery as bq

from include.nyc_taxi import catalog
from include.nyc_taxi.targets import published_view as shared
from include.nyc_taxi.targets.sql_files import sql_file

if TYPE_CHECKING:
    from include.nyc_taxi.targets.bigquery.table import Table

log = logging.getLogger(__name__)

_TYPES = {"int32": "INT64", "int64": "INT64", "float64": "FLOAT64", "timestamp": "DATETIME", "text": "STRING"}


def check(client: bq.Client, table: Table, service: str) -> None:
    """See that nothing else has the name of the table's view.

    Raises:
        WarehouseRefused: something has.
    """
    view = table.published_view(service)
    if view is not None:
        _check(_find(client, view), view, table, service)


def keep(client: bq.Client, table: Table, service: str) -> None:
    """Create the table's view, or give it the definition that it should have, in one request.

    Raises:
        WarehouseRefused: something else has its name.
    """
    view = table.published_view(service)
    if view is None:
        return
    wanted, found = _as_it_should_be(client, view, table, service), _find(client, view)
    if found is None:
        found = client.create_table(wanted, exists_ok=True)  # another run may have been faster
        log.info("%s: made the view of %s under the publisher's names", view, table)
    _check(found, view, table, service)
    if (found.view_query, found.description) != (wanted.view_query, wanted.description):
        found.view_query, found.description = wanted.view_query, wanted.description
        client.update_table(found, ["view_query", "description"])
        log.info("%s: changed the view of %s under the publisher's names", view, table)


def _find(client: bq.Client, view: Table) -> bq.Table | None:
    try:
        return client.get_table(view.reference(client))
    except api.NotFound:
        return None


def _check(found: bq.Table | None, view: Table, table: Table, service: str) -> None:
    if found is not None and not (found.table_type == "VIEW" and shared.is_ours(found.description, service)):
        raise shared.in_the_way(view, str(found.table_type).lower().replace("_", " "), table)


def _as_it_should_be(client: bq.Client, view: Table, table: Table, service: str) -> bq.Table:
    columns = ",\n    ".join(
        f"CAST({each.column.name} AS {_TYPES[each.type]}) AS {each.name}" for each in catalog.service(service).published
    )
    definition = sql_file(__file__, "published_view.sql").replace("{columns}", columns)
    wanted = bq.Table(view.reference(client))
    wanted.view_query = definition.replace("{table}", f"`{table.reference(client)}`").strip()
    wanted.description = shared.comment_of(service, wanted.view_query)
    return wanted
