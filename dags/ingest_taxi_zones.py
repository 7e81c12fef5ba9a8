"""Load the names and shapes of the taxi zones into every warehouse that takes them, on the 5th of each month.

`fetch_zones` → `load_zones`

- **What**: `fetch_zones` downloads the publisher's `taxi_zone_lookup.csv` and its shapefile `taxi_zones.zip` into the
  lake's `raw/`. `load_zones` loads them into the table `taxi_zones`: names as published, shapes as GeoJSON in
  longitude and latitude. Each service whose table is in the schema `public` gets a view `{service}_trips_with_zones`:
  every trip, with `pickup_borough`, `pickup_zone`, `dropoff_borough` and `dropoff_zone`.
- **Grain**: all 265 zones. The publisher keeps one edition, so a run has no month.
- **Re-run safety**: idempotent, also if runs overlap. The zones are replaced in one transaction, and only if they
  differ from those in the table; a view is created again only if it lacks columns of its trips.
- **First run**: trigger it once, and unpause it for the monthly runs. Trigger it again after a new service or column.

### Triage

The error of a failed task begins with one of these words.

- `SourceUnavailable`, `SourceThrottled` (fetch_zones): the publisher is down or throttles us. The task was retried;
  clear it later. Nothing depends on this run: the last zones stay in place.
- `NotPublished`, `DamagedFile` (fetch_zones): the publisher moved or broke a file, or the host in the connection
  `taxi_source` returned something else.
- `SchemaMismatch` (load_zones): the publisher changed its files: other columns, ids or polygons. The error gives what
  was found and what was expected; the latter is in `include/nyc_taxi/zones.py`.
- `TooLarge`: a file is far larger than the known one, or would become so when it is inflated. If it is right, raise the
  environment variable `TAXI_LIMIT_FACTOR`.
- `LakeUnavailable`, `LakeChanged`: the bucket cut a transfer short, a disk is full, or two runs collided. The task was
  retried; clear it.
- `WarehouseBusy`: a long query held a view, or the warehouse did not answer. Clear the task.
- `WarehouseRefused`: the connection is wrong, a right is missing, or the name belongs to another table or view. The
  error says which.
- `SetUpError`: the lake, the source or a server is set up in another way than expected: a lake that is a file,
  read-only or another user's, a missing bucket or right, a certificate that is not trusted, https to an http port, a
  login that is missing or wrong, a redirect to another host. The error says which, and what to change.
- `PermanentError`: the source never had the month, or the server rejects the request. The error says why.
- `ValueError`: a param, a connection or a Variable is wrong or not set, or the task before was marked as success by
  hand and returned nothing. The error gives the value and what was expected.
- `OutOfMemory`: the task gets no more memory, or its try before was killed while the machine ran out of it. Give the
  worker more memory, or let it run fewer tasks at the same time. The try that was killed has no error, and ends its log
  with `Likely out of memory error`.
"""

from airflow.sdk import CronTriggerTimetable, dag, task

from include.orchestration.assets import RAW_ZONES, WEB_ZONES, ZONES
from include.orchestration.docs import for_the_ui
from include.orchestration.requests import given, this_run
from include.orchestration.retries import DEFAULT_ARGS
from include.orchestration.tags import WITH_ZONES, Tag
from include.orchestration.xcoms import LoadedZones, RawZones


@dag(
    description="The taxi zones, with names and shapes, from the web into the warehouse",
    doc_md=for_the_ui(__doc__),
    schedule=CronTriggerTimetable("0 6 5 * *", timezone="America/New_York"),
    catchup=False,
    default_args=DEFAULT_ARGS,
    max_active_runs=1,
    tags=[Tag.FLOW, Tag.TLC, Tag.WEB, *WITH_ZONES],
)
def ingest_taxi_zones() -> None:
    @task(retries=3, inlets=[WEB_ZONES], outlets=[RAW_ZONES], multiple_outputs=False)
    def fetch_zones() -> RawZones:
        from include.orchestration import zone_steps

        this_run()  # refuses params
        return zone_steps.download()

    @task(retries=3, inlets=[RAW_ZONES], outlets=[ZONES], multiple_outputs=False)
    def load_zones(raw: RawZones) -> LoadedZones:
        from include.orchestration import zone_steps

        raw = given(raw)
        return zone_steps.load(lookup=raw["lookup"], shapes=raw["shapes"])

    load_zones(fetch_zones())  # type: ignore[arg-type] # tasks are given what tasks return


ingest_taxi_zones()
