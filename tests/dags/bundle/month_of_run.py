"""A DAG of the tests alone: it tells which month its run is for."""

from datetime import UTC, datetime

from airflow.sdk import CronPartitionTimetable, Param, dag, get_current_context, task

from include.orchestration.requests import month_of


@dag(
    schedule=CronPartitionTimetable("0 0 1 * *", timezone="UTC", run_offset=-2, key_format="%Y-%m"),
    start_date=datetime(2021, 1, 1, tzinfo=UTC),
    catchup=False,
    params={name: Param(None, type=["null", "integer"]) for name in ("year", "month")},
)
def month_of_run() -> None:
    @task
    def month() -> str:
        return str(month_of(get_current_context()))

    month()


month_of_run()
