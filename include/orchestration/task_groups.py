"""task_groups: the tasks that several Dags share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import task, task_group

from include.orchestration.assets import Lineage, announced
from include.orchestration.requests import LABEL, given, label, this_file, this_run, this_service

if TYPE_CHECKING:
    from include.orchestration.xcoms import Checked, Landed, Loaded, Raw, Staged


@task_group(prefix_group_id=False)
def web_to_gcs(lineage: Lineage, file: str | None = None) -> Any:  # noqa: ANN401 - Airflow types no task's wiring
    """Download one month, read it and put it into the lake. Without a file it is the run's own."""

    @task(map_index_template=LABEL)
    def clean(raw: Raw) -> Staged:
        from include.orchestration import steps

        run, raw = this_run(), given(raw)
        file = label(raw["file"])
        return steps.stage(
            file,
            source=raw["source"],
            edition=raw["edition"],
            reading=run.reading,
        )

    @task(map_index_template=LABEL)
    def write_local(staged: Staged) -> Checked:
        from include.orchestration import steps

        run, staged = this_run(), given(staged)
        label(staged["file"])
        return steps.check(staged, reading=run.reading)

    @task(retries=3, map_index_template=LABEL, inlets=lineage.raw, outlets=lineage.lake)
    def write_gcs(staged: Checked) -> Landed:
        from include.orchestration import steps

        run, staged = this_run(), given(staged)
        label(staged["file"])
        landed = steps.commit(staged, reading=run.reading)
        return announced(landed)

    return write_gcs(write_local(clean(_fetch(lineage, file))))  # type: ignore[arg-type] # tasks are given what tasks return


@task_group(prefix_group_id=False)
def web_to_target(lineage: Lineage, file: str) -> None:
    """Put one month into the lake, and load it from there into the target that the run's param names."""
    _load(lineage, web_to_gcs(lineage, file))


@task_group(prefix_group_id=False)
def land_and_load(lineage: Lineage, file: str) -> None:
    """Do what `web_to_target` does in three tasks and not five, for runs of hundreds of files."""

    @task(map_index_template=LABEL, inlets=lineage.raw, outlets=lineage.lake)
    def land(raw: Raw) -> Landed:
        from include.orchestration import steps

        run, raw = this_run(), given(raw)
        landed = steps.land(label(raw["file"]), source=raw["source"], edition=raw["edition"], reading=run.reading)
        return announced(landed)

    _load(lineage, land(_fetch(lineage, file)))


def _fetch(lineage: Lineage, file: str | None) -> Any:  # noqa: ANN401 - as above
    @task(retries=3, map_index_template=LABEL, inlets=lineage.web, outlets=lineage.raw)
    def fetch(file: str | None) -> Raw:
        from include.orchestration import steps

        run = this_run()
        file = label(file or this_file() or steps.newest_published(this_service(), run.source))
        return announced(steps.download(file, **run.origin))

    return fetch(file)


def _load(lineage: Lineage, landed: Any) -> None:  # noqa: ANN401 - as above
    @task(retries=3, map_index_template=LABEL, inlets=lineage.lake, outlets=lineage.loaded())
    def load(landed: Landed) -> Loaded:
        from include.orchestration import steps

        run, landed = this_run(), given(landed)
        label(landed["file"])
        return announced(steps.load(landed, run.destination, force=run.force, run=run.id))

    load(landed)
