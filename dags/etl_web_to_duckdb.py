"""Load a month of trip records from the web into a DuckDB file, when triggered.

`which_month` → `fetch` → `clean` → `write_local` → `write_gcs` → `load`

- **What**: `which_month` checks that lake, source and DuckDB file can be used, and finds the month of the run. `fetch`
  to `write_gcs` are those of `etl_web_to_gcs`. `load` has DuckDB read the lake's file and replace the month's rows in
  the table `{schema}.{colour}_taxi_trips` of the file that the connection `taxi_duckdb` names.
- **Grain**: one service (`colour`) and one month. The month is that of the params `year` and `month`, else of the
  run's partition key, else of its logical date. A run for which nobody chose one of these takes the newest published
  month. The param `edition` chooses another edition of the published file than the current one: by a date, or by its
  sha256. The param `url` loads a file from elsewhere as the month.
- **One writer**: DuckDB lets one process write a file, or several read it. `load` waits while another process has the
  file open, says so in its log, and opens it itself only while rows go in. Everybody else should open it with
  `read_only`. The file must be on a disk of the machine on which tasks run.
- **Re-run safety**: idempotent, also if runs overlap. A run replaces its month in one transaction, and does nothing if
  the published file is unchanged and its rows are loaded. A run that finds a newer edition in place changes nothing,
  and ends green as superseded. A month that was loaded with `edition` stays until a run without it. `force` re-runs
  every step.
- **Counts**: rows read = rows loaded + rows rejected, or the task fails. The table `load_ledger` records them.

### Triage

The error of a failed task begins with one of these words.

- `NotPublished` (fetch): normal if the month is less than about two months old. Re-run once it is published.
- `SourceUnavailable`, `SourceThrottled` (fetch): the publisher is down or throttles us. The task was retried; clear it
  later.
- `DamagedData` (write_local, write_gcs, load): a file of data/ was damaged on its disk and set aside. The run lands it
  again by itself; clear the task if it failed.
- `DamagedFile` (fetch, clean): the publisher's file is broken, or the host in the connection `taxi_source` returned
  something else.
- `ShrunkenEdition` (fetch, clean): the republished file has less than nine tenths of the rows of the edition before
  it, which stays loaded. If the file is right, run with `edition=` and the digits that the error gives.
- `SchemaMismatch` (clean): the publisher changed its files. Add the rows that the error gives to
  `include/nyc_taxi/catalog`, or run with `unknown_columns=drop`.
- `Implausible` (clean): most pickups of the file lie in another month, or none of its rows is accepted. What was
  loaded stays. If the file is right, run with `accept_implausible`.
- `TooLarge` (fetch, clean): the file is far larger than any known one, or would become so when it is inflated. If it is
  right, raise the environment variable `TAXI_LIMIT_FACTOR`.
- `LakeUnavailable`, `LakeChanged`: the bucket cut a transfer short, a disk is full (the error says which), or two runs
  of one month collided. The task was retried; clear it.
- `WarehouseBusy` (which_month, load): another process had the DuckDB file open for as long as the connection's
  `patience_seconds`, which the error names by its number, or the file's disk is full. Nothing has changed; close it
  there, and clear the task.
- `WarehouseRefused` (which_month, load): the file is no DuckDB file, is damaged or may not be written, the name
  of the table or of its view belongs to something else, or the table holds another service. The error says which.
- `CountMismatch`: rows were lost between two steps, and nothing was replaced. This is a bug in the bundle; please
  report it.
- `SetUpError`: the lake, the source or a server is set up in another way than expected: a lake that is a file,
  read-only or another user's, a missing bucket or right, a certificate that is not trusted, https to an http port, a
  login that is missing or wrong, a redirect to another host, a `url` whose host is not allowed. The error says which,
  and what to change.
- `PermanentError`: the source never had the month, or the server rejects the request. The error says why.
- `ValueError`: a param, a connection or a Variable is wrong or not set, or the task before was marked as success by
  hand and returned nothing. The error gives the value and what was expected.
- `OutOfMemory`: DuckDB needs more than the `memory_limit` in the extra of `taxi_duckdb`, the task gets no more memory,
  or its try before was killed while the machine ran out of it. Raise the limit, give the worker more memory, or let it
  run fewer tasks at the same time. The try that was killed has no error, and ends its log with
  `Likely out of memory error`.
"""

from airflow.sdk import PartitionedAtRuntime, task

from include.orchestration.assets import Lineage, announced
from include.orchestration.deployments import dag_with_deployments
from include.orchestration.params import loading_params, reading_params, trip_file_params
from include.orchestration.requests import LABEL, given, label, this_file, this_run, this_service
from include.orchestration.retries import DEFAULT_ARGS
from include.orchestration.tags import Tag, target_tag
from include.orchestration.task_groups import web_to_gcs
from include.orchestration.xcoms import Landed, Loaded

TARGET = "duckdb"


@dag_with_deployments(
    description="One month of trip records from the web into DuckDB",
    doc_md=__doc__,
    schedule=PartitionedAtRuntime(),
    params=trip_file_params() | loading_params(TARGET) | reading_params(),
    default_args=DEFAULT_ARGS,
    max_active_runs=4,
    is_paused_upon_creation=False,
    tags=[Tag.FLOW, Tag.TLC, Tag.WEB, target_tag(TARGET)],
)
def etl_web_to_duckdb(lineage: Lineage) -> None:
    @task(retries=3, map_index_template=LABEL)
    def which_month() -> str:
        from include.orchestration import steps

        service, run = this_service(), this_run(TARGET)
        steps.check_set_up(service, source=run.source, url=run.url, destination=run.destination)
        return label(this_file() or steps.newest_published(service, run.source))

    @task(
        retries=3, map_index_template=LABEL, inlets=lineage.lake, outlets=lineage.loaded(TARGET), multiple_outputs=False
    )
    def load(landed: Landed) -> Loaded:
        from include.orchestration import steps

        run, landed = this_run(TARGET), given(landed)
        label(landed["file"])
        return announced(steps.load(landed, run.destination, force=run.force, run=run.id))

    load(web_to_gcs(lineage, which_month()))  # type: ignore[arg-type] # tasks are given what tasks return


etl_web_to_duckdb()
