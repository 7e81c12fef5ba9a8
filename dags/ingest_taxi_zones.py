"""Load the names and shapes of the taxi zones into the lake and every target, on the 5th of each month.

`which_targets`; `fetch_zones` → `land_zones`; then for each target `load_zones`

- **What**: `fetch_zones` downloads the publisher's `taxi_zone_lookup.csv` and its shapefile `taxi_zones.zip` into the
  lake's `raw/`. `land_zones` puts the zones into the lake's `zones/zones.parquet`: names as published, shapes as
  GeoJSON in longitude and latitude. `load_zones` loads them from there into the table `taxi_zones` of each target. Each
  service with a table of its usual name gets a view `{service}_trips_with_zones` beside it: every trip, with
  `pickup_borough`, `pickup_zone`, `dropoff_borough` and `dropoff_zone`.
- **Targets**: those of the param `target`, a name or a list; if it is empty, every target whose connection is set. The
  map index of `load_zones` shows the target.
- **Grain**: all 265 zones. The publisher keeps one edition, so a run has no month.
- **Re-run safety**: idempotent, also if runs overlap. The zones of a place are replaced in one step, and only if they
  differ from those that are there; a view is created again only if it lacks columns of its trips. A run that was held
  up puts no older zones over newer ones.
- **Failures**: a target that fails does not stop the others.
- **First run**: trigger it once, and unpause it for the monthly runs. Trigger it again after a new service or column.

### Triage

The error of a failed task begins with one of these words.

- `SourceUnavailable`, `SourceThrottled` (fetch_zones): the publisher is down or throttles us. The task was retried;
  clear it later. Nothing depends on this run: the last zones stay in place.
- `NotPublished`, `DamagedFile` (fetch_zones): the publisher moved or broke a file, or the host in the connection
  `taxi_source` returned something else.
- `SchemaMismatch` (land_zones): the publisher changed its files: other columns, ids or polygons. The error gives what
  was found and what was expected; the latter is in `include/nyc_taxi/zones.py`.
- `TooLarge`: a file is far larger than the known one, or would become so when it is inflated. If it is right, raise the
  environment variable `TAXI_LIMIT_FACTOR`.
- `LakeUnavailable`, `LakeChanged`: the bucket cut a transfer short, a disk is full, or two runs collided. The task was
  retried; clear it.
- `NotInLake` (load_zones): somebody deleted the zones from the lake. Trigger the Dag again. `DamagedData` (load_zones):
  their file was damaged and was set aside. Do the same.
- `WarehouseBusy`: a long query held a view, another process had the DuckDB file open, or the warehouse did not answer.
  Clear the task.
- `WarehouseRefused`: the connection is wrong, a right is missing, or the name belongs to another table or view. The
  error says which.
- `SetUpError`: the lake, the source or a server is set up in another way than expected: a lake that is a file,
  read-only or another user's, a missing bucket or right, a certificate that is not trusted, https to an http port, a
  login that is missing or wrong, a redirect to another host. The error says which, and what to change.
- `PermanentError`: the source never had the month, or the server rejects the request. The error says why.
- `ValueError`: a param, a connection or a Variable is wrong or not set, such as that of a target which `target` names,
  or the task before was marked as success by hand and returned nothing. The error gives the value and what was
  expected.
- `OutOfMemory`: the task gets no more memory, or its try before was killed while the machine ran out of it. Give the
  worker more memory, or let it run fewer tasks at the same time. The try that was killed has no error, and ends its log
  with `Likely out of memory error`.
"""

from airflow.sdk import CronTriggerTimetable, dag, task

from include.orchestration.assets import LAKE_ZONES, RAW_ZONES, WEB_ZONES, ZONES
from include.orchestration.docs import for_the_ui
from include.orchestration.params import zone_params
from include.orchestration.requests import LABEL, label_target, these_targets
from include.orchestration.retries import DEFAULT_ARGS
from include.orchestration.tags import WITH_ZONES, Tag
from include.orchestration.xcoms import LandedZones, LoadedZones, RawZones


@dag(
    description="The taxi zones, with names and shapes, from the web into the lake and every target",
    doc_md=for_the_ui(__doc__),
    schedule=CronTriggerTimetable("0 6 5 * *", timezone="America/New_York"),
    catchup=False,
    params=zone_params(),
    default_args=DEFAULT_ARGS,
    max_active_runs=1,
    tags=[Tag.FLOW, Tag.TLC, Tag.WEB, *WITH_ZONES],
)
def ingest_taxi_zones() -> None:
    @task(retries=3)
    def which_targets() -> list[str]:
        from include.orchestration import zone_steps

        return zone_steps.choose(these_targets())

    @task(retries=3, inlets=[WEB_ZONES], outlets=[RAW_ZONES], multiple_outputs=False)
    def fetch_zones() -> RawZones:
        from include.orchestration import zone_steps

        return zone_steps.download()

    @task(retries=3, inlets=[RAW_ZONES], outlets=[LAKE_ZONES], multiple_outputs=False)
    def land_zones() -> LandedZones:
        from include.orchestration import zone_steps

        return zone_steps.land()

    @task(retries=3, inlets=[LAKE_ZONES], outlets=[ZONES], multiple_outputs=False, map_index_template=LABEL)
    def load_zones(target: str) -> LoadedZones:
        from include.orchestration import zone_steps

        return zone_steps.load(label_target(target))

    chosen, landed = which_targets(), land_zones()
    chosen >> fetch_zones() >> landed >> load_zones.expand(target=chosen)


ingest_taxi_zones()
