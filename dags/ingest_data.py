"""Load a month of trip records from the web into Postgres, when triggered; its deployments run every month.

`log_subflow` → `extract_data` → `transform_data` → `load_data`

- **What**: `extract_data` downloads the published file into the lake's `raw/`. `transform_data` puts its accepted rows
  into `data/`, and its rejected rows, each with a reason, into `rejects/`. `load_data` loads the accepted rows into
  the month's partition of `table_name`.
- **Grain**: one service (`colour`) and one month. The month is that of the params `year` and `month`, else of the
  run's partition key, else of its logical date. A run for which nobody chose one of these takes the newest published
  month. The param `edition` chooses another edition of the published file than the current one: by a date, or by its
  sha256. The param `url` loads a file from elsewhere as the month.
- **Re-run safety**: idempotent, also if runs overlap. A run replaces its month in one transaction, and does nothing if
  the published file is unchanged and its rows are loaded. A run that finds a newer edition in place changes nothing,
  and ends green as superseded. A month that was loaded with `edition` stays until a run without it. `force` re-runs
  every step.
- **Counts**: rows read = rows loaded + rows rejected, or the task fails. The table `load_ledger` records them.

### Triage

The error of a failed task begins with one of these words.

- `NotPublished` (extract_data): normal if the month is less than about two months old. Re-run once it is published.
- `SourceUnavailable`, `SourceThrottled` (extract_data): the publisher is down or throttles us. The task was retried;
  clear it later.
- `DamagedData` (load_data): a file of data/ was damaged on its disk and set aside. The run lands it again by itself;
  clear the task if it failed.
- `DamagedFile` (extract_data): the publisher's file is broken, or the host in the connection `taxi_source` returned
  something else.
- `ShrunkenEdition` (extract_data, transform_data): the republished file has less than nine tenths of the rows of the
  edition before it, which stays loaded. If the file is right, run with `edition=` and the digits that the error gives.
- `SchemaMismatch` (transform_data): the publisher changed its files. Add the rows that the error gives to
  `include/nyc_taxi/catalog`, or run with `unknown_columns=drop`. If too many values do not fit, a column has another
  type or meaning: look at the file.
- `Implausible` (transform_data): most pickups of the file lie in another month, or none of its rows is accepted. What
  was loaded stays. If the file is right, run with `accept_implausible`.
- `TooLarge` (extract_data, transform_data): the file is far larger than any known one, or would become so when it is
  inflated. If it is right, raise the environment variable `TAXI_LIMIT_FACTOR`.
- `LakeUnavailable`, `LakeChanged`: the bucket cut a transfer short, a disk is full (the error says which), or two runs
  of one month collided. The task was retried; clear it.
- `WarehouseBusy` (log_table_name, load_data): a long query held the table, somebody changed it in mid-load, or Postgres
  did not answer. Nothing has changed; clear the task.
- `WarehouseRefused` (log_table_name, load_data): login, password, database or a setting of the connection is wrong, a
  right is missing, the name of the table or of its view belongs to something else, or the table holds another service.
  The error says which.
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

from airflow.sdk import PartitionedAtRuntime, task, task_group

from include.orchestration.assets import Lineage, announced
from include.orchestration.deployments import dag_with_deployments
from include.orchestration.params import reading_params, table_params, trip_file_params
from include.orchestration.requests import LABEL, given, label, this_file, this_run, this_service
from include.orchestration.retries import DEFAULT_ARGS
from include.orchestration.tags import Tag, target_tag
from include.orchestration.xcoms import Landed, Loaded, Raw

TARGET = "postgres"


@dag_with_deployments(
    description="One month of trip records from the web into Postgres",
    doc_md=__doc__,
    schedule=PartitionedAtRuntime(),
    params=trip_file_params() | table_params(TARGET) | reading_params(),
    default_args=DEFAULT_ARGS,
    max_active_runs=4,
    is_paused_upon_creation=False,
    tags=[Tag.FLOW, Tag.TLC, Tag.NOTES, Tag.WEB, target_tag(TARGET)],
)
def ingest_data(lineage: Lineage) -> None:
    @task_group
    def log_subflow() -> None:
        @task(retries=3)
        def log_table_name() -> None:
            from include.orchestration import steps

            service, run = this_service(), this_run(TARGET)
            steps.log_table_name(service, run.destination)
            steps.check_set_up(service, source=run.source, url=run.url, destination=run.destination)

        log_table_name()

    @task(retries=3, map_index_template=LABEL, inlets=lineage.web, outlets=lineage.raw, multiple_outputs=False)
    def extract_data() -> Raw:
        from include.orchestration import steps

        run = this_run()
        file = label(this_file() or steps.newest_published(this_service(), run.source))
        return announced(steps.download(file, **run.origin))

    @task(map_index_template=LABEL, inlets=lineage.raw, outlets=lineage.lake, multiple_outputs=False)
    def transform_data(raw: Raw) -> Landed:
        from include.orchestration import steps

        run, raw = this_run(), given(raw)
        landed = steps.land(label(raw["file"]), source=raw["source"], edition=raw["edition"], reading=run.reading)
        return announced(landed)

    @task(
        retries=3, map_index_template=LABEL, inlets=lineage.lake, outlets=lineage.loaded(TARGET), multiple_outputs=False
    )
    def load_data(landed: Landed) -> Loaded:
        from include.orchestration import steps

        run, landed = this_run(TARGET), given(landed)
        label(landed["file"])
        return announced(steps.load(landed, run.destination, force=run.force, run=run.id))

    raw = extract_data()
    log_subflow() >> raw
    load_data(transform_data(raw))  # type: ignore[arg-type] # tasks are given what tasks return


ingest_data()
