"""Put a month of trip records from the web into the lake, when triggered; its deployments run every month.

`fetch` → `clean` → `write_local` → `write_gcs`

- **What**: `fetch` downloads the published file into the lake's `raw/`. `clean` reads it once, checks every row, and
  stages accepted and rejected rows. `write_local` reads the staged rows back, as a target will. `write_gcs` commits
  them to `data/{colour}/{colour}_tripdata_{YYYY-MM}.parquet` and `rejects/`. The Variable `taxi_lake` sets where the
  lake is: a folder (`file:///...`) or a bucket (`gs://taxi_gcp@bucket/prefix`, `s3://taxi_aws@bucket/prefix`).
- **Grain**: one service (`colour`) and one month. The month is that of the params `year` and `month`, else of the
  run's partition key, else of its logical date. A run for which nobody chose one of these takes the newest published
  month. The param `edition` chooses another edition of the published file than the current one: by a date, or by its
  sha256. The param `url` loads a file from elsewhere as the month.
- **Assets**: `write_gcs` updates `lake {colour}` in a deployment of one service, with the month as partition, and
  `lake any` here, with a partition such as `green|2024-01`. The deployments of `etl_gcs_to_bq` are scheduled on them.
- **Re-run safety**: idempotent, also if runs overlap. Readers see the old file or the new one. A run does nothing if
  the published file is unchanged and its rows are in the lake. A run that finds a newer edition in place changes
  nothing, and ends green as superseded. A month that was landed with `edition` stays until a run without it. `force`
  re-runs every step.
- **Counts**: rows read = rows in data/ + rows in rejects/, or the task fails.
- **Try it**: `bin/airflow dags test etl_web_to_gcs 2021-01-01` loads January of yellow.

### Triage

The error of a failed task begins with one of these words.

- `NotPublished` (fetch): normal if the month is less than about two months old. Re-run once it is published.
- `SourceUnavailable`, `SourceThrottled` (fetch): the publisher is down or throttles us. The task was retried; clear it
  later.
- `DamagedData` (write_local, write_gcs): a file of data/ was damaged on its disk and set aside. The run lands it
  again by itself; clear the task if it failed.
- `DamagedFile` (fetch, clean): the publisher's file is broken, or the host in the connection `taxi_source` returned
  something else.
- `ShrunkenEdition` (fetch, clean): the republished file has less than nine tenths of the rows of the edition before
  it, which stays in the lake. If the file is right, run with `edition=` and the digits that the error gives.
- `SchemaMismatch` (clean): the publisher changed its files. Add the rows that the error gives to
  `include/nyc_taxi/catalog`, or run with `unknown_columns=drop`.
- `Implausible` (clean): most pickups of the file lie in another month, or none of its rows is accepted. What is in the
  lake stays. If the file is right, run with `accept_implausible`.
- `TooLarge` (fetch, clean): the file is far larger than any known one, or would become so when it is inflated. If it is
  right, raise the environment variable `TAXI_LIMIT_FACTOR`.
- `LakeUnavailable`, `LakeChanged`: the bucket cut a transfer short, a disk is full (the error says which), or two runs
  of one month collided. The task was retried; clear it.
- `CountMismatch`: rows were lost between two steps, and nothing was replaced. This is a bug in the bundle; please
  report it.
- `SetUpError`: the lake, the source or a server is set up in another way than expected: a lake that is a file,
  read-only or another user's, a missing bucket or right, a certificate that is not trusted, https to an http port, a
  login that is missing or wrong, a redirect to another host, a `url` whose host is not allowed. The error says which,
  and what to change.
- `PermanentError`: the source never had the month, or the server rejects the request. The error says why.
- `ValueError`: a param, a connection or a Variable is wrong or not set, or the task before was marked as success by
  hand and returned nothing. The error gives the value and what was expected.
- `OutOfMemory`: the task gets no more memory, or its try before was killed while the machine ran out of it. Give the
  worker more memory, or let it run fewer tasks at the same time. The try that was killed has no error, and ends its log
  with `Likely out of memory error`.
"""

from airflow.sdk import PartitionedAtRuntime

from include.orchestration.assets import Lineage
from include.orchestration.deployments import dag_with_deployments
from include.orchestration.params import reading_params, trip_file_params
from include.orchestration.retries import DEFAULT_ARGS
from include.orchestration.tags import LAKE, Tag
from include.orchestration.task_groups import web_to_gcs


@dag_with_deployments(
    description="One month of trip records from the web into the lake",
    doc_md=__doc__,
    schedule=PartitionedAtRuntime(),
    params=trip_file_params() | reading_params(),
    default_args=DEFAULT_ARGS,
    max_active_runs=4,
    is_paused_upon_creation=False,
    tags=[Tag.FLOW, Tag.TLC, Tag.NOTES, Tag.WEB, LAKE],
)
def etl_web_to_gcs(lineage: Lineage) -> None:
    web_to_gcs(lineage)


etl_web_to_gcs()
