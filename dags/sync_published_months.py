"""Keep a target up to date with the publisher. Unpause `sync_published_months.daily` to do so every day.

`survey_publisher` → `choose_files` → for each file: `fetch` → `land` → `load`; then `report`

- **What**: asks the publisher, in few requests, what is published; compares that with what `target` holds; and loads
  what is new or republished, the newest first, up to `max_files_per_run`. Each file takes the steps of
  `ingest_data`. The first runs catch up; later runs load nothing, or only what is new.
- **Grain**: the moment at which the run starts. It loads months of services.
- **Re-run safety**: idempotent: months that are up to date are not loaded again, nor are those that somebody loaded
  with `edition`, until they are loaded without it. One run at a time.
- **Requests**: checks the newest and the unknown months of each service, then `max_files_per_run` older files in
  rotation, so that every published file is checked about once a month.
- **Deployments**: `daily` keeps Postgres up to date, `daily_bigquery` BigQuery, `daily_duckdb` DuckDB and `daily_lake`
  the lake. One of them is enough for BigQuery too, as `etl_gcs_to_bq.any` loads every month that they put into the
  lake.
- **Result**: one line reports what was loaded, what remains, and what republished files changed. It is also the note
  of the asset `published months`.

### Triage

A month that is not published yet is not a failure. A failed month does not stop the others, and the next run retries
it.

- `survey_publisher` succeeded, but the report says that the survey ended early: the publisher was down or throttled
  us. Normal if the next run's report does not say so.
- A month's task failed: the docs of `etl_web_to_gcs`, `ingest_data`, `etl_gcs_to_bq` and `etl_web_to_duckdb` explain
  the first word of its error.
- `ShrunkenEdition` (fetch, land): a republished file lost more than a tenth of its rows, and the earlier edition stays
  loaded. The run fails every day until you accept the file (the error says how) or the publisher replaces
  it.
- `ValueError`, `SetUpError`, `WarehouseRefused` (survey_publisher): a param, a connection or a Variable is wrong, or
  the lake or the target refuses; `LakeUnavailable`, `WarehouseBusy`: it does not answer. The error says why.
- Alert "the newest month is old": no new month was loaded for `alert_after_months`. Check whether the publisher's page
  has one, then read the reports of the last runs.
- Alert "not ended within 6 h": tasks wait for workers, or a download is slow. Catching up on hundreds of files may
  take as long; lower `max_files_per_run`.
"""

from airflow.sdk import PartitionedAtRuntime, result, task

from include.orchestration import assets
from include.orchestration.assets import PUBLISHED_MONTHS, Lineage
from include.orchestration.deployments import dag_with_deployments
from include.orchestration.params import reading_params, sync_params, target_params
from include.orchestration.requests import this_sync
from include.orchestration.retries import DEFAULT_ARGS
from include.orchestration.tags import EVERY_TARGET, Tag
from include.orchestration.task_groups import land_and_load
from include.orchestration.xcoms import Surveyed


@dag_with_deployments(
    description="Loads what the publisher has and the target lacks",
    doc_md=__doc__,
    schedule=PartitionedAtRuntime(),
    params=sync_params() | target_params("postgres") | reading_params(cache_ttl_hours=0),
    default_args=DEFAULT_ARGS | {"priority_weight": 10},  # new months go before those of a backfill
    max_active_runs=1,
    max_active_tasks=4,
    is_paused_upon_creation=False,
    tags=[Tag.FLOW, Tag.TLC, Tag.WEB, *EVERY_TARGET],
)
def sync_published_months(lineage: Lineage) -> None:
    @task(retries=3, multiple_outputs=False)
    def survey_publisher() -> Surveyed:
        from include.orchestration import sync_steps

        run = this_sync()
        return sync_steps.survey(run.scope, max_files=run.max_files, retry_delay=run.retry_delay)

    @task(retries=3)
    def choose_files(survey: Surveyed) -> list[str]:  # noqa: ARG001 - it waits for the survey
        from include.orchestration import sync_steps

        run = this_sync()
        return sync_steps.choose(run.scope, max_files=run.max_files)

    @result
    @task(retries=3, outlets=[PUBLISHED_MONTHS])
    def report(survey: Surveyed | None, chosen: list[str] | None) -> str:
        from include.orchestration import sync_steps

        run = this_sync()
        line = sync_steps.report(
            run.scope,
            survey=survey,
            chosen=chosen or [],
            alert_after_months=run.alert_after_months,
        )
        return assets.reported(PUBLISHED_MONTHS, line)

    survey = survey_publisher()
    files = choose_files(survey)  # type: ignore[arg-type] # tasks are given what tasks return
    months = land_and_load.partial(lineage=lineage).expand(file=files)
    # A teardown also runs after a failed month, and does not hide that failure from the run's state.
    months >> report(survey, files).as_teardown()


sync_published_months()
