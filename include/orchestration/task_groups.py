"""task_groups: what several flows are made of, as the notes' flows were made of subflows."""

from __future__ import annotations

from typing import Any

from airflow.sdk import get_current_context, task, task_group

from include.orchestration.assets import LAKE_ASSETS


@task_group(prefix_group_id=False)
def web_to_gcs(file: str | None = None) -> Any:  # noqa: ANN401 - what wires tasks is none of the public types
    """One month from the web into the lake, by the notes' four tasks.

    `file` names it, as in `green_tripdata_2024-01`; without one it is the file that the run is for.
    """

    @task(retries=3, map_index_template="{{ label }}")
    def fetch(file: str | None) -> dict[str, Any]:
        from include.orchestration import steps

        return steps.fetch(get_current_context(), file)

    @task(map_index_template="{{ label }}")
    def clean(raw: dict[str, Any]) -> dict[str, Any]:
        from include.orchestration import steps

        return steps.stage(get_current_context(), raw)

    @task(map_index_template="{{ label }}")
    def write_local(staged: dict[str, Any]) -> dict[str, Any]:
        from include.orchestration import steps

        return steps.check(get_current_context(), staged)

    @task(retries=3, map_index_template="{{ label }}", outlets=LAKE_ASSETS)
    def write_gcs(checked: dict[str, Any]) -> dict[str, Any]:
        from include.orchestration import steps

        return steps.publish(get_current_context(), checked)

    return write_gcs(write_local(clean(fetch(file))))  # type: ignore[arg-type] # tasks are given what tasks return


@task_group(prefix_group_id=False)
def web_to_target(file: str) -> None:
    """One month from the web into the lake, and from there into what the run's param `target` names."""

    @task(retries=3, map_index_template="{{ label }}")
    def load(data: dict[str, Any]) -> dict[str, Any]:
        from include.orchestration import steps

        return steps.load_into_target(get_current_context(), data)

    load(web_to_gcs(file))  # type: ignore[arg-type] # as above
