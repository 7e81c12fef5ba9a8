"""Bring the taxi zones from the web into Postgres, so that trips join to boroughs, names and shapes.

`fetch_zones` → `load_zones`

- **What**: the publisher's `taxi_zone_lookup.csv` and its shapefile `taxi_zones.zip` come into the lake's `raw/`, and
  from there into the table `taxi_zones`: names as published, shapes as GeoJSON in longitude and latitude. Each service
  that has its table in schema `public` gets a view `{service}_trips_with_zones`: every trip, with `pickup_borough`,
  `pickup_zone`, `dropoff_borough` and `dropoff_zone`.
- **Grain**: all 265 zones. The publisher keeps one edition, so a run has no month.
- **Re-run safety**: run it again whenever you like, also at the same time. The zones are replaced in one transaction,
  and only where they differ from what the table holds; a view is made anew only where its trips have columns that it
  lacks.
- **First time**: start it once by hand; after that the schedule does. Start it again when a service or a column is new.

### Triage

The error of a red task begins with one of these words.

- `SourceUnavailable`, `SourceThrottled` (fetch_zones): the publisher is down or throttles us. It was retried; clear the
  task later. Nothing depends on this run: the zones of the last one are in place.
- `NotPublished`, `DamagedFile` (fetch_zones): the publisher moved or broke a file, or the connection `taxi_source`
  names a place that answers with something else.
- `SchemaMismatch` (load_zones): the publisher changed its files: other columns, ids or polygons. The line gives what
  came and what was expected; `include/nyc_taxi/zones.py` holds the latter.
- `WarehouseBusy` (load_zones): a long query held a view, or there was no connecting. Clear the task.
- `WarehouseRefused` (load_zones): a right is missing, or another table or view has the name. The line says which.
- `ValueError`: a param, a connection or a Variable is wrong. The line gives the value and what was expected.
"""

from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

from include.orchestration.retries import DEFAULT_ARGS
from include.orchestration.tags import Tag


@dag(
    description="The taxi zones, by name and by shape, from the web into Postgres",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("0 6 5 * *", timezone="America/New_York"),
    catchup=False,
    default_args=DEFAULT_ARGS,
    max_active_runs=1,
    tags=[Tag.TLC, Tag.WEB, Tag.POSTGRES],
)
def ingest_taxi_zones() -> None:
    @task(retries=3)
    def fetch_zones() -> dict:
        from include.orchestration import zone_steps

        return zone_steps.fetch(get_current_context())

    @task(retries=3)
    def load_zones(raw: dict) -> dict:
        from include.orchestration import zone_steps

        return zone_steps.load(raw)

    load_zones(fetch_zones())


ingest_taxi_zones()
