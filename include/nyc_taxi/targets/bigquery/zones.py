"""zones: the table `taxi_zones_geojson`, a view `taxi_zones` over it, and a view per service that joins it to trips.

The table has the shapes as GeoJSON, to be compared with the lake's file; the view `taxi_zones` has them as
geographies. One load job replaces the table. Jobs are numbered as those of months are, so a run that was held up
between reading the lake and loading it finds its number taken, and reads again.
"""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

from google.api_core import exceptions as api
from google.cloud import bigquery as bq
from pyarrow import parquet

from include.nyc_taxi import landed_zones
from include.nyc_taxi.errors import WarehouseBusy, WarehouseRefused
from include.nyc_taxi.landed_zones import COLUMNS
from include.nyc_taxi.targets import zone_views
from include.nyc_taxi.targets.base import ZonesLoaded
from include.nyc_taxi.targets.bigquery import geography, location
from include.nyc_taxi.targets.bigquery.jobs import Chain
from include.nyc_taxi.targets.bigquery.server import ask, errors_told, have_table
from include.nyc_taxi.targets.sql_files import sql_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.targets.bigquery.table import Table

log = logging.getLogger(__name__)

_ATTEMPTS = 10
_TYPES = {"int16": "INTEGER", "text": "STRING", "float64": "FLOAT", "geojson": "STRING"}
_SCHEMA = [
    bq.SchemaField(
        column.name,
        _TYPES[column.type],
        "REQUIRED" if column.is_required else "NULLABLE",
        description=column.description,
    )
    for column in COLUMNS
]


def replace_zones(client: bq.Client, lake: Lake, trips_of: Callable[[str], Table]) -> ZonesLoaded:
    """Make the table hold just the lake's zones, and have the view over it and one per service whose trips are there.

    Raises:
        NotInLake: the lake has no zones.
        WarehouseBusy: BigQuery or the way there failed, or other runs load the zones.
        WarehouseRefused: a right is missing, or something else has the name of the table or of a view.
    """
    services = zone_views.services()
    zones = trips_of(services[0]).beside(zone_views.TABLE)
    geojson = zones.beside(f"{zone_views.TABLE}_geojson")
    with errors_told(f"{zones}"):
        where = location.create_dataset(client, lake, zones)
        have_table(client, _as_it_should_be(client, geojson), lambda table: _check(table, geojson))
        outcome = _load(client, lake, geojson, where)
        shape = geography.shape_of(client, "shape")
        reference = str(geojson.reference(client))
        _have_view(client, zones, landed_zones.DESCRIPTION, _sql("zones", table=reference, shape=shape))
        views = [_have_joined(client, trips_of(service), service, reference) for service in services]
    return ZonesLoaded(outcome, str(zones), tuple(str(view) for view in views if view))


def _load(client: bq.Client, lake: Lake, table: Table, where: str) -> Literal["replaced", "unchanged"]:
    """Load the lake's zones, unless the table has them."""
    chain = Chain(client, table, "zones", where)
    for _ in range(_ATTEMPTS):
        number, _done = chain.last(0)
        with landed_zones.intact(lake) as opened:
            if _is_in_place(client, table, opened):
                log.info("%s is up to date with the zones of %s", table, lake.url(landed_zones.KEY))
                return "unchanged"
            opened.seek(0)
            if _load_as(client, table, opened, chain.job_id(number + 1), where):
                log.info("%s: loaded the zones of %s", table, lake.url(landed_zones.KEY))
                return "replaced"
    raise WarehouseBusy(f"{table}: other runs loaded it {_ATTEMPTS} times meanwhile")


def _is_in_place(client: bq.Client, table: Table, opened: BinaryIO) -> bool:
    there: list[dict[str, Any]] = [dict(row.items()) for row in ask(client, "select_zones", table)]
    wanted: list[dict[str, Any]] = parquet.read_table(opened).to_pylist()
    return there == wanted


def _load_as(client: bq.Client, table: Table, opened: BinaryIO, job_id: str, where: str) -> bool:
    """Replace the table by the job of this id; false if another run has taken the id."""
    attempt = uuid.uuid4().hex
    config = bq.LoadJobConfig(
        source_format=bq.SourceFormat.PARQUET,
        write_disposition="WRITE_TRUNCATE",
        schema=_SCHEMA,
        labels={"attempt": attempt},
    )
    options: dict[str, Any] = {"job_config": config, "job_id": job_id, "location": where}
    try:
        job = client.load_table_from_file(opened, table.reference(client), **options)
    except api.Conflict:
        # The answer to our own request may have been lost: then the job is ours.
        job = cast("bq.LoadJob", client.get_job(job_id, location=where))
        if job.labels.get("attempt") != attempt:
            log.info("%s: another run is replacing the zones", table)
            return False
    job.result()
    return True


def _as_it_should_be(client: bq.Client, table: Table) -> bq.Table:
    wanted = bq.Table(table.reference(client), _SCHEMA)
    wanted.description = landed_zones.DESCRIPTION
    wanted.labels = {"source": "nyc-tlc"}
    return wanted


def _check(found: bq.Table, table: Table) -> None:
    names = [field.name for field in found.schema]
    if found.table_type != "TABLE" or not {column.name for column in COLUMNS} <= set(names):
        raise WarehouseRefused(
            f"{table} exists and is not a table of taxi zones, but a {found.table_type} with the columns {names}: "
            "rename it"
        )


def _have_joined(client: bq.Client, trips: Table, service: str, zones: str) -> Table | None:
    """Have the view that joins the service's trips to their zones; None if there are no such trips."""
    view = trips.beside(zone_views.view_of(service))
    try:
        columns = [field.name for field in client.get_table(trips.reference(client)).schema]
    except api.NotFound:
        columns = []
    if not zone_views.can_join(columns):
        log.info("%s: not created, as %s is missing or has no location ids", view, trips)
        return None
    selected = zone_views.selected(columns, "`")
    query = _sql("trips_with_zones", trips=str(trips.reference(client)), zones=zones, selected=selected)
    _have_view(client, view, zone_views.DESCRIPTION, query)
    return view


def _have_view(client: bq.Client, view: Table, description: str, query: str) -> None:
    """Create the view, or give it this query if it has another one."""
    wanted = bq.Table(view.reference(client))
    wanted.view_query, wanted.description, wanted.labels = query, description, {"source": "nyc-tlc"}
    found = client.create_table(wanted, exists_ok=True)
    if found.table_type != "VIEW":
        raise WarehouseRefused(f"{view} exists and is not a view, but a {found.table_type}: rename it")
    if found.view_query != query:
        found.view_query = query
        client.update_table(found, ["view_query"])
        log.info("%s: replaced the view's query", view)


def _sql(name: str, **parts: str) -> str:
    """The query of a view in `sql/{name}.sql`, with names of our own filled in."""
    text = sql_file(__file__, f"{name}.sql")
    for part, words in parts.items():
        text = text.replace(f"{{{part}}}", words)
    return text.strip()
