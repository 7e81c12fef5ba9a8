"""A Dag of the same shape and schedule as a monthly deployment of `ingest_data`, whose tasks do nothing."""

from datetime import UTC, datetime

from airflow.sdk import CronPartitionTimetable, dag, task


@dag(
    schedule=CronPartitionTimetable("0 0 1 * *", timezone="UTC"),
    start_date=datetime(2014, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=4,
)
def bare() -> None:
    @task
    def first() -> None: ...

    @task
    def second() -> int:
        return 1

    @task
    def third(before: int) -> int:
        return before

    @task
    def fourth(before: int) -> int:
        return before

    before = second()
    first() >> before
    fourth(third(before))  # type: ignore[arg-type] # tasks are given what tasks return


bare()
