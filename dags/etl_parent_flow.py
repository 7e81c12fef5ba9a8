"""Bring several months of several services from the web into the lake: the notes' etl_parent_flow.

`which_months` → for each: `fetch` → `clean` → `write_local` → `write_gcs` → `load`; then `summary`

- **What**: the tasks of `etl_web_to_gcs` for every month of `months` in `year` and every service of `colour`, and then,
  if `target` says so, the month's load into Postgres or BigQuery. The map index shows which month it is:
  `yellow-2021-01`.
- **Grain**: every month of `months` of every `colour`, in one `year`.
- **Re-run safety**: as `etl_web_to_gcs`, `ingest_data` and `etl_gcs_to_bq`, whose steps these are: run it again
  whenever you like; months that are in place are left alone.
- **Failures**: a month that fails does not stop the others. `summary` says of every month what became of it, and is red
  where one failed.

### Triage

- `summary` is red: its log names the months. Look at the red task of that map index, put right what it says (its words
  are those of `etl_web_to_gcs`, `ingest_data` and `etl_gcs_to_bq`), clear it, and `summary` follows.
- `which_months` is red: a param is wrong. The line gives the value and what was expected.
"""

from airflow.sdk import get_current_context, task

from include.orchestration.deployments import dag_with_deployments
from include.orchestration.params import reading_params, target_params, trip_files_params
from include.orchestration.retries import DEFAULT_ARGS
from include.orchestration.tags import Tag
from include.orchestration.task_groups import web_to_target


@dag_with_deployments(
    description="The notes' etl_parent_flow: several months of several services from the web into the lake",
    doc_md=__doc__,
    schedule=None,
    params=trip_files_params() | target_params() | reading_params(),
    default_args=DEFAULT_ARGS,
    max_active_runs=1,
    max_active_tasks=4,
    is_paused_upon_creation=False,
    tags=[Tag.TLC, Tag.NOTES, Tag.WEB, Tag.LAKE],
)
def etl_parent_flow() -> None:
    @task
    def which_months() -> list[str]:
        from include.orchestration import steps

        return steps.which_files(get_current_context())

    @task(trigger_rule="all_done_min_one_success")  # that one is which_months
    def summary(files: list[str]) -> dict:
        from include.orchestration import steps

        return steps.summarise(get_current_context(), files, "load")

    files = which_months()
    web_to_target.expand(file=files) >> summary(files)


etl_parent_flow()
