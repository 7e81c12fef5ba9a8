"""A Dag of the tests alone: it returns the month of its run."""

from datetime import UTC, datetime

from airflow.sdk import CronPartitionTimetable, dag, task

from include.nyc_taxi import TripFile
from include.orchestration.params import trip_month_params
from include.orchestration.requests import this_file


@dag(
    schedule=CronPartitionTimetable("0 0 1 * *", timezone="UTC", run_offset=-2, key_format="%Y-%m"),
    start_date=datetime(2021, 1, 1, tzinfo=UTC),
    catchup=False,
    params=trip_month_params(),
)
def month_of_run() -> None:
    @task
    def month() -> str:
        file = this_file()
        return str(TripFile.parse(file).month) if file else "newest"

    month()


month_of_run()
