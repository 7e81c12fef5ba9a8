"""Load one month of trip records from the lake into BigQuery: the notes' etl_gcs_to_bq.

`preflight` → `extract_from_gcs` → `transform` → `write_bq`

- **What**: `preflight` sees that credentials, bucket and dataset are there and may work together. `extract_from_gcs`
  finds the month in the lake's `data/`. `transform` says how many rows have no passenger count; nulls stay nulls.
  `write_bq` has BigQuery load the file by itself, straight from the bucket (from a local lake by upload), into the
  month's partition of `{dataset}.{colour}_trips`, and sees that it holds as many rows as the file.
- **Grain**: one service (`colour`) and one month: that of the params `year` and `month`, else that of the run's
  partition key, else that of its logical date. `etl_gcs_to_bq.{colour}` runs by itself when a month of its service
  comes into the lake, whatever flow has brought it; where there is no connection `taxi_gcp`, such a run is skipped.
- **Re-run safety**: run it again whenever you like, also at the same time. The load job replaces the partition in one
  step; where these very rows are in place, nothing is done. `force` loads them again. Only `write_mode=append`, the
  notes' way, doubles a month at the second run.
- **Cost**: load jobs are free; what is asked of BigQuery besides reads the ledger and counts.

### Triage

The error of a red task begins with one of these words.

- `NotInLake` (extract_from_gcs): run `etl_web_to_gcs` for the month first.
- `WarehouseRefused` (preflight, write_bq): credentials, a right, the bucket or the project are missing, the locations
  of bucket and dataset differ, another kind of table has the name, or it holds this month of another service. The line
  says which. The account of `taxi_gcp` needs the roles BigQuery Data Editor, BigQuery Job User and Storage Object
  Admin.
- `WarehouseBusy`: BigQuery or the way there failed. It was retried; clear the task.
- `LakeUnavailable`, `LakeChanged`: the bucket cut a transfer short, or the month was landed anew meanwhile. It was
  retried; clear the task.
- `CountMismatch` (write_bq): BigQuery took another number of rows than the file has. The partition holds them and the
  ledger does not; clear the task, and report it if it comes back. With `write_mode=append`, a part of the month may be
  there: remove its rows before you clear the task.
- `ValueError`: a param, a connection or a Variable is wrong. The line gives the value and what was expected.
"""

from airflow.sdk import get_current_context, task

from include.orchestration.deployments import dag_with_deployments
from include.orchestration.params import bigquery_params, trip_month_params
from include.orchestration.retries import DEFAULT_ARGS
from include.orchestration.tags import Tag


@dag_with_deployments(
    description="The notes' etl_gcs_to_bq: one month of trip records from the lake into BigQuery",
    doc_md=__doc__,
    schedule=None,
    params=trip_month_params() | bigquery_params(),
    default_args=DEFAULT_ARGS,
    max_active_runs=4,
    is_paused_upon_creation=False,
    tags=[Tag.TLC, Tag.NOTES, Tag.FROM_LAKE, Tag.BIGQUERY],
)
def etl_gcs_to_bq() -> None:
    @task
    def preflight() -> dict:
        from include.orchestration import steps

        return steps.check_bigquery(get_current_context())

    @task(retries=3)
    def extract_from_gcs() -> dict:
        from include.orchestration import steps

        return steps.find(get_current_context())

    @task
    def transform(data: dict) -> dict:
        from include.orchestration import steps

        return steps.report_missing_passengers(get_current_context(), data)

    @task(retries=3)
    def write_bq(data: dict) -> dict:
        from include.orchestration import steps

        return steps.load_bigquery(get_current_context(), data)

    data = extract_from_gcs()
    preflight() >> data
    write_bq(transform(data))


etl_gcs_to_bq()
