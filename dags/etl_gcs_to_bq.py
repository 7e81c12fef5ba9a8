"""Load a month from the lake into BigQuery, when triggered; its deployments run when a month arrives in the lake.

`preflight` → `extract_from_gcs` → `transform` → `write_bq`

- **What**: `preflight` checks that credentials, bucket and dataset exist and are in compatible locations.
  `extract_from_gcs` finds the month in the lake's `data/`. `transform` counts the rows with a null passenger count,
  and changes nothing. `write_bq` has BigQuery load the file straight from the bucket (from a folder or S3 by upload)
  into the month's partition of `{dataset}.{colour}_trips`, and checks that it holds as many rows as the file.
- **Grain**: one service (`colour`) and one month. The month is that of the params `year` and `month`, else of the
  run's partition key, else of its logical date. A run for which nobody chose one of these takes the newest month in the
  lake. The edition is the one in `data/`: for another, run `etl_web_to_gcs` with `edition` first.
- **Schedule**: the deployment `etl_gcs_to_bq.{colour}` runs when a Dag of that service puts a month into the lake,
  `etl_gcs_to_bq.any` when a Dag for any service does. They skip if the connection `taxi_gcp` is not set.
- **Re-run safety**: idempotent, also if runs overlap. The load job replaces the partition in one step; a run does
  nothing if these rows are already loaded. `force` loads them again. `write_mode=append` is not idempotent: a second
  run doubles the month.
- **Cost**: load jobs are free. The only queries read the ledger and count rows.

### Triage

The error of a failed task begins with one of these words.

- `DamagedData` (write_bq): a file of data/ was damaged on its disk and set aside. The run lands it again by itself;
  clear the task if it failed.
- `NotInLake` (extract_from_gcs): run `etl_web_to_gcs` for the month first.
- `WarehouseRefused` (preflight, write_bq): credentials, a right, the bucket or the project are missing, the bucket and
  the dataset are in different locations, the name of the table or of its view belongs to something else, or the table
  holds another service. The error says which. The account of `taxi_gcp` needs the roles BigQuery Data Editor,
  BigQuery Job User, Storage Object Admin and Storage Legacy Bucket Reader (docs/google-cloud.md).
- `WarehouseBusy`: BigQuery or the network failed, somebody deleted a table in mid-load, or a quota is used up (the
  error says so; it is renewed with time). The task was retried; clear it.
- `LakeUnavailable`, `LakeChanged`: the bucket cut a transfer short, or another run replaced the month. The task was
  retried; clear it.
- `CountMismatch` (write_bq): BigQuery loaded another number of rows than the file has. The partition holds them and
  the ledger does not; clear the task, and report it if it comes back. With `write_mode=append`, a part of the month
  may be loaded: delete its rows before you clear the task.
- `SetUpError`: the lake, the source or a server is set up in another way than expected: a lake that is a file,
  read-only or another user's, a missing bucket or right, a certificate that is not trusted, https to an http port, a
  login that is missing or wrong, a redirect to another host. The error says which, and what to change.
- `ValueError`: a param, a connection or a Variable is wrong or not set, or the task before was marked as success by
  hand and returned nothing. The error gives the value and what was expected.
- `OutOfMemory`: the task gets no more memory, or its try before was killed while the machine ran out of it. Give the
  worker more memory, or let it run fewer tasks at the same time. The try that was killed has no error, and ends its log
  with `Likely out of memory error`.
"""

from airflow.sdk import PartitionedAtRuntime, task

from include.orchestration.assets import Lineage, announced
from include.orchestration.deployments import dag_with_deployments
from include.orchestration.params import force_params, loading_params, trip_month_params
from include.orchestration.requests import LABEL, given, label, this_file, this_run, this_service
from include.orchestration.retries import DEFAULT_ARGS
from include.orchestration.tags import Tag, target_tag
from include.orchestration.xcoms import Landed, Loaded, Reached

TARGET = "bigquery"


@dag_with_deployments(
    description="One month of trip records from the lake into BigQuery",
    doc_md=__doc__,
    schedule=PartitionedAtRuntime(),
    params=trip_month_params() | loading_params(TARGET) | force_params(),
    default_args=DEFAULT_ARGS,
    max_active_runs=4,
    is_paused_upon_creation=False,
    tags=[Tag.FLOW, Tag.TLC, Tag.NOTES, Tag.FROM_LAKE, target_tag(TARGET)],
)
def etl_gcs_to_bq(lineage: Lineage) -> None:
    @task(multiple_outputs=False)
    def preflight() -> Reached:
        from include.orchestration import steps

        run = this_run(TARGET)
        return steps.reach(this_service(), run.destination, optional=run.was_started_by_asset)

    @task(retries=3, map_index_template=LABEL, multiple_outputs=False)
    def extract_from_gcs() -> Landed:
        from include.orchestration import steps

        return steps.find(label(this_file() or steps.newest_in_the_lake(this_service())))

    @task(map_index_template=LABEL, multiple_outputs=False)
    def transform(landed: Landed) -> Landed:
        from include.orchestration import steps

        steps.count_null_passengers(label(given(landed)["file"]))
        return landed

    @task(
        retries=3, map_index_template=LABEL, inlets=lineage.lake, outlets=lineage.loaded(TARGET), multiple_outputs=False
    )
    def write_bq(landed: Landed) -> Loaded:
        from include.orchestration import steps

        run, landed = this_run(TARGET), given(landed)
        label(landed["file"])
        loaded = steps.load(landed, run.destination, write_mode=run.write_mode, force=run.force, run=run.id)
        return announced(loaded)

    landed = extract_from_gcs()
    preflight() >> landed
    write_bq(transform(landed))  # type: ignore[arg-type] # tasks are given what tasks return


etl_gcs_to_bq()
