"""Keep the lake and the warehouse in step with the publisher; unpause `sync_published_months.daily` to do so every day.

`survey_publisher` → `choose_files` → `bring_month` (`extract_data` → `transform_data` → `load_data`) for each file →
`announce_{colour}`, `report`

- **What**: asks with few requests what is published, compares it with what the warehouse holds, and brings what is new
  or was published again, the newest first, up to `max_files_per_run`. Each file takes the steps of `ingest_data`. The
  first runs on an empty warehouse catch up; every later day brings nothing, or just what is new. The months that came
  into the lake are told to whatever follows them (BigQuery).
- **Grain**: a run is for the moment it starts. What it brings are months of services.
- **Re-run safety**: run it again whenever you like; what is in place is not brought again. One run at a time.
- **Requests**: the newest month and the unknown ones of each service, and `max_files_per_run` files in turns, so that
  every published file is looked at again in about a month of days.
- **Result**: one line says what was brought and what is still to do; it is also the note of the asset
  `published months`.

### Triage

A month that is not published yet is no failure. One red `bring_month` does not keep the others from coming, and the
next day tries it again.

- `survey_publisher` green, and the report says that the survey ended early: the publisher was down or throttled us.
  Healthy if it is gone the next day.
- `bring_month` red: the first word of its error is explained in the docs of `ingest_data`.
- `WarehouseBusy`, `WarehouseRefused` (choose_files, report): the warehouse cannot be asked; the line says why.
- Alert "the newest month is old": no new month for `alert_after_months`. Look at the publisher's page: is there one?
  Then look at the last runs' reports.
- Alert "not ended within 6 h": the tasks wait for workers, or a download is slow. Catching up with hundreds of files
  may take as long; lower `max_files_per_run`.
"""

from airflow.sdk import get_current_context, result, task, task_group

from include.orchestration.assets import PUBLISHED_MONTHS, lake_asset
from include.orchestration.deployments import dag_with_deployments
from include.orchestration.params import COLOURS, reading_params, sync_params
from include.orchestration.retries import DEFAULT_ARGS
from include.orchestration.tags import Tag


@dag_with_deployments(
    description="Bring what the publisher has and the warehouse has not",
    doc_md=__doc__,
    schedule=None,
    params=sync_params() | reading_params(cache_ttl_hours=0),
    default_args=DEFAULT_ARGS,
    max_active_runs=1,
    is_paused_upon_creation=False,
    tags=[Tag.TLC, Tag.WEB, Tag.POSTGRES],
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

    @task_group
    def bring_month(file: str) -> tuple:
        @task(retries=3, max_active_tis_per_dag=2, map_index_template="{{ task.op_kwargs['file'] }}")
        def extract_data(file: str) -> dict:
            from include.orchestration import steps, sync_steps

            return steps.fetch(sync_steps.of_file(get_current_context(), file))

        @task(map_index_template="{{ task.op_kwargs['file'] }}")
        def transform_data(file: str, raw: dict) -> dict:
            from include.orchestration import steps, sync_steps

            return steps.land(sync_steps.of_file(get_current_context(), file), raw)

        @task(retries=3, max_active_tis_per_dag=2, map_index_template="{{ task.op_kwargs['file'] }}")
        def load_data(file: str, data: dict) -> dict:
            from include.orchestration import steps, sync_steps

            return steps.load(sync_steps.of_file(get_current_context(), file), data)

        data = transform_data(file=file, raw=extract_data(file=file))
        return data, load_data(file=file, data=data)

    @task(trigger_rule="all_done_min_one_success")
    def announce(service: str, landed: list[dict]) -> None:
        from include.orchestration import sync_steps

        sync_steps.announce(get_current_context(), service, landed)

    @result
    @task(outlets=[PUBLISHED_MONTHS])
    def report(survey: dict, chosen: list[str]) -> str:
        from include.orchestration import sync_steps

        return sync_steps.report(get_current_context(), survey, chosen)

    survey = survey_publisher()
    files = choose_files(survey)
    landed, loaded = bring_month.expand(file=files)
    for colour in COLOURS:
        announce.override(task_id=f"announce_{colour}", outlets=[lake_asset(colour)])(colour, landed)
    # A teardown runs also after a red month, and does not hide that from the run's own state.
    loaded >> report(survey, files).as_teardown()


sync_published_months()
