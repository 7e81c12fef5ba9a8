"""Bring one month of trip records from the web into Postgres: the notes' Ingest Flow.

`log_subflow` → `extract_data` → `transform_data` → `load_data`

- **What**: the published file comes into the lake's `raw/`, its rows into `data/` (rejected ones, each with its reason,
  into `rejects/`), and from there into the month's partition of `table_name`. All rows are loaded; the notes stopped
  after the first 100,000, which was a slip of theirs.
- **Grain**: one service (`colour`) and one month: that of the params `year` and `month`, else that of the run's
  partition key, else that of its logical date.
- **Re-run safety**: run it again whenever you like, also at the same time. A run replaces its month in one transaction,
  and does nothing where the published file is unchanged and its rows are in place. `force` does every step again.
- **Counts**: rows read = rows loaded + rows rejected, or the task fails. The table `load_ledger` tells them.

### Triage

The error of a red task begins with one of these words.

- `NotPublished` (extract_data): healthy if the month is younger than about two months. Run again when it is out.
- `SourceUnavailable`, `SourceThrottled` (extract_data): the publisher is down or throttles us. It was retried; clear
  the task later.
- `DamagedFile` (extract_data): the publisher's file is broken, or the connection `taxi_source` names a place that
  answers with something else.
- `SchemaMismatch` (transform_data): the publisher changed its files. Add to `include/nyc_taxi/catalog` the rows that
  the error gives, or run with `unknown_columns=drop`. Where it says that too many values do not fit, a
  column has another type or meaning: look at the file.
- `LakeUnavailable`, `LakeChanged`: the bucket cut a transfer short, a disk is full (the line says which), or two runs
  of one month met. It was retried; clear the task.
- `WarehouseBusy` (load_data): a long query held the table, or there was no connecting. Nothing has changed; clear the
  task.
- `WarehouseRefused` (load_data): a right is missing, another kind of table has the name, or it holds this month of
  another service. The line says which.
- `CountMismatch`: rows were lost between two steps, and nothing was replaced. That is a defect of this bundle; please
  report it.
- `ValueError`: a param, a connection or a Variable is wrong. The line gives the value and what was expected.
- `PermissionError`: who runs the task may not write into the lake's folder. The line gives the path.
"""

from airflow.sdk import get_current_context, task, task_group

from include.orchestration.assets import LAKE_ASSETS
from include.orchestration.deployments import dag_with_deployments
from include.orchestration.params import reading_params, table_params, trip_file_params
from include.orchestration.retries import DEFAULT_ARGS
from include.orchestration.tags import Tag


@dag_with_deployments(
    description="The notes' Ingest Flow: one month of trip records from the web into Postgres",
    doc_md=__doc__,
    schedule=None,
    params=trip_file_params() | table_params() | reading_params(),
    default_args=DEFAULT_ARGS,
    max_active_runs=4,
    is_paused_upon_creation=False,
    tags=[Tag.TLC, Tag.NOTES, Tag.WEB, Tag.POSTGRES],
)
def ingest_data() -> None:
    @task_group
    def log_subflow() -> None:
        @task
        def log_table_name() -> None:
            from include.orchestration import steps

            steps.announce(get_current_context())

        log_table_name()

    @task(retries=3)
    def extract_data() -> dict:
        from include.orchestration import steps

        return steps.fetch(get_current_context())

    @task(outlets=LAKE_ASSETS)
    def transform_data(raw: dict) -> dict:
        from include.orchestration import steps

        return steps.land(get_current_context(), raw)

    @task(retries=3)
    def load_data(data: dict) -> dict:
        from include.orchestration import steps

        return steps.load(get_current_context(), data)

    raw = extract_data()
    log_subflow() >> raw
    load_data(transform_data(raw))


ingest_data()
