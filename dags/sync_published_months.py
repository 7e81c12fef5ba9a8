"""Keep the lake and the warehouse in step with the publisher; unpause `sync_published_months.daily` to do so every day.

`survey_publisher` → `choose_files` → for each: `fetch` → `clean` → `write_local` → `write_gcs` → `load`; then `report`

- **What**: asks with few requests what is published, compares it with what `target` holds, and brings what is new or
  was published again, the newest first, up to `max_files_per_run`. Each file takes the steps of `etl_parent_flow`. The
  first runs on an empty target catch up; every later day brings nothing, or just what is new.
- **Grain**: a run is for the moment it starts. What it brings are months of services.
- **Re-run safety**: run it again whenever you like; what is in place is not brought again. One run at a time.
- **Requests**: the newest month and the unknown ones of each service, and `max_files_per_run` files in turns, so that
  every published file is looked at again in about a month of days.
- **Deployments**: `daily` keeps Postgres in step, `daily_bigquery` BigQuery, `daily_lake` the lake. One of them is
  enough, as BigQuery follows the lake by `etl_gcs_to_bq.{colour}`.
- **Result**: one line says what was brought and what is still to do; it is also the note of the asset
  `published months`.

### Triage

A month that is not published yet is no failure. A red month does not keep the others from coming, and the next day
tries it again.

- `survey_publisher` green, and the report says that the survey ended early: the publisher was down or throttled us.
  Healthy if it is gone the next day.
- A month's task red: the first word of its error is explained in the docs of `etl_web_to_gcs`, `ingest_data` and
  `etl_gcs_to_bq`.
- `WarehouseBusy`, `WarehouseRefused` (choose_files, report): the warehouse cannot be asked; the line says why.
- Alert "the newest month is old": no new month for `alert_after_months`. Look at the publisher's page: is there one?
  Then look at the last runs' reports.
- Alert "not ended within 6 h": the tasks wait for workers, or a download is slow. Catching up with hundreds of files
  may take as long; lower `max_files_per_run`.
"""

from airflow.sdk import get_current_context, result, task

from include.orchestration.assets import PUBLISHED_MONTHS
from include.orchestration.deployments import dag_with_deployments
from include.orchestration.params import reading_params, sync_params, target_params
from include.orchestration.retries import DEFAULT_ARGS
from include.orchestration.tags import Tag
from include.orchestration.task_groups import web_to_target


@dag_with_deployments(
    description="Bring what the publisher has and the target has not",
    doc_md=__doc__,
    schedule=None,
    params=sync_params() | target_params("postgres") | reading_params(cache_ttl_hours=0),
    default_args=DEFAULT_ARGS | {"priority_weight": 10},  # what is new comes before a backfill's months
    max_active_runs=1,
    max_active_tasks=4,
    is_paused_upon_creation=False,
    tags=[Tag.TLC, Tag.WEB, Tag.LAKE, Tag.POSTGRES, Tag.BIGQUERY],
)
def sync_published_months() -> None:
    @task(retries=3)
    def survey_publisher() -> dict:
        from include.orchestration import sync_steps

        return sync_steps.survey(get_current_context())

    @task(retries=3)
    def choose_files(_survey: dict) -> list[str]:
        from include.orchestration import sync_steps

        return sync_steps.choose(get_current_context())

    @result
    @task(retries=3, outlets=[PUBLISHED_MONTHS])
    def report(survey: dict, chosen: list[str]) -> str:
        from include.orchestration import sync_steps

        return sync_steps.report(get_current_context(), survey, chosen)

    survey = survey_publisher()
    files = choose_files(survey)
    # A teardown runs also after a red month, and does not hide that from the run's own state.
    web_to_target.expand(file=files) >> report(survey, files).as_teardown()


sync_published_months()
