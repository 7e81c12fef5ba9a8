"""Put several months of several services into the lake, and into a target if asked to, when triggered.

`which_months` → for each month: `fetch` → `clean` → `write_local` → `write_gcs` → `load`; then `summary`

- **What**: runs the tasks of `etl_web_to_gcs` for every month of `months` in `year` and every service of `colour`.
  `load` then loads the month into `target`, if that is not `none`. The map index shows the month: `yellow-2021-01`.
- **Grain**: every month of `months` for every service of `colour`, in one `year`.
- **Re-run safety**: idempotent, as its steps are those of the Dags for one month. Months that are up to date are
  skipped. `edition` chooses an earlier edition of each file, such as that of a date.
- **Failures**: a failed month does not stop the others. `summary` runs even if every month failed, logs the outcome of
  each, and fails if one did.

### Triage

- `summary` failed: its log names the months. Open the failed task of that map index and fix what its error says (the
  docs of `etl_web_to_gcs`, `ingest_data`, `etl_gcs_to_bq` and `etl_web_to_duckdb` explain it). Then clear it;
  `summary` runs again.
- `which_months` failed with `ValueError`: a param, a connection or a Variable is wrong; with `SetUpError`,
  `WarehouseRefused`, `LakeUnavailable` or `WarehouseBusy`: the lake or the target refuses or does not answer. The error
  gives the value and what was expected.
"""

from airflow.sdk import PartitionedAtRuntime, task

from include.orchestration.assets import Lineage
from include.orchestration.deployments import dag_with_deployments
from include.orchestration.params import reading_params, target_params, trip_files_params
from include.orchestration.requests import mapped_results, service_of, these_files, this_run
from include.orchestration.retries import DEFAULT_ARGS
from include.orchestration.tags import LAKE, Tag
from include.orchestration.task_groups import web_to_target
from include.orchestration.xcoms import Summary


@dag_with_deployments(
    description="Several months of several services from the web into the lake",
    doc_md=__doc__,
    schedule=PartitionedAtRuntime(),
    params=trip_files_params() | target_params() | reading_params(),
    default_args=DEFAULT_ARGS,
    max_active_runs=1,
    max_active_tasks=4,
    is_paused_upon_creation=False,
    tags=[Tag.FLOW, Tag.TLC, Tag.NOTES, Tag.WEB, LAKE],
)
def etl_parent_flow(lineage: Lineage) -> None:
    @task(retries=3)
    def which_months() -> list[str]:
        from include.orchestration import steps

        files, run = these_files(), this_run()
        steps.check_set_up(service_of(files[0]), source=run.source, destination=run.destination)
        return files

    @task(trigger_rule="all_done_min_one_success", multiple_outputs=False)  # which_months is the one that succeeded
    def summary(files: list[str]) -> Summary:
        from include.orchestration import steps

        return steps.summarise(files, mapped_results("load", len(files)))

    files = which_months()
    months = web_to_target.partial(lineage=lineage).expand(file=files)
    months >> summary(files)  # type: ignore[arg-type] # tasks are given what tasks return


etl_parent_flow()
