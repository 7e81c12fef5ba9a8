"""Bring one month of trip records from the web into the lake: the notes' etl_web_to_gcs.

`fetch` → `clean` → `write_local` → `write_gcs`

- **What**: `fetch` brings the published file into the lake's `raw/`. `clean` reads it once, judges every row, and
  stages accepted and rejected rows. `write_local` reads what was staged as whoever loads it will. `write_gcs` moves it
  to `data/{colour}/{colour}_tripdata_{YYYY-MM}.parquet` and `rejects/`, and says so by the asset `lake {colour}`, whose
  partition is the month: `etl_gcs_to_bq.{colour}` runs on it. The Variable `taxi_lake` says where the lake is: a folder
  (`file:///...`) or a bucket (`gs://taxi_gcp@bucket/prefix`).
- **Grain**: one service (`colour`) and one month: that of the params `year` and `month`, else that of the run's
  partition key, else that of its logical date.
- **Re-run safety**: run it again whenever you like, also at the same time. Readers see the old file or the new one.
  Where the published file is unchanged and its rows are in place, nothing is done. `force` does every step again.
- **By hand**: `bin/airflow dags test etl_web_to_gcs 2021-01-01` brings yellow's January.
- **Counts**: rows read = rows in data/ + rows in rejects/, or the task fails.

### Triage

The error of a red task begins with one of these words.

- `NotPublished` (fetch): healthy if the month is younger than about two months. Run again when it is out.
- `SourceUnavailable`, `SourceThrottled` (fetch): the publisher is down or throttles us. It was retried; clear the task
  later.
- `DamagedFile` (fetch, clean): the publisher's file is broken, or the connection `taxi_source` names a place that
  answers with something else.
- `SchemaMismatch` (clean): the publisher changed its files. Add to `include/nyc_taxi/catalog` the rows that the error
  gives, or run with `unknown_columns=drop`.
- `LakeUnavailable`, `LakeChanged`: the bucket cut a transfer short, a disk is full (the line says which), or two runs
  of one month met. It was retried; clear the task.
- `CountMismatch`: rows were lost between two steps, and nothing was replaced. That is a defect of this bundle; please
  report it.
- `ValueError`: a param, a connection or a Variable is wrong. The line gives the value and what was expected.
- `PermissionError`: who runs the task may not write into the lake's folder. The line gives the path.
"""

from include.orchestration.deployments import dag_with_deployments
from include.orchestration.params import reading_params, trip_file_params
from include.orchestration.retries import DEFAULT_ARGS
from include.orchestration.tags import Tag
from include.orchestration.task_groups import web_to_gcs


@dag_with_deployments(
    description="The notes' etl_web_to_gcs: one month of trip records from the web into the lake",
    doc_md=__doc__,
    schedule=None,
    params=trip_file_params() | reading_params(),
    default_args=DEFAULT_ARGS,
    max_active_runs=4,
    is_paused_upon_creation=False,
    tags=[Tag.TLC, Tag.NOTES, Tag.WEB, Tag.LAKE],
)
def etl_web_to_gcs() -> None:
    web_to_gcs()


etl_web_to_gcs()
