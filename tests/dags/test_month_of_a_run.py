"""However a run is started, its month is found: real runs, made by Airflow's own API and command line code."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

DAG = "month_of_run"


@pytest.fixture(scope="module")
def api(airflow_database):
    from airflow.api_fastapi.app import create_app
    from fastapi.testclient import TestClient

    with TestClient(create_app(), base_url="http://testserver") as client:
        client.headers["Authorization"] = f"Bearer {client.get('/auth/token').json()['access_token']}"
        yield client


@pytest.fixture
def dag(airflow_database, bag):
    # Parsed anew, as a worker does for each task: a run's conf stays in the params of the DAG that ran with it.
    return bag("tests").dags[DAG]


def trigger(api, **body):
    answer = api.post(f"/api/v2/dags/{DAG}/dagRuns", json={"logical_date": None} | body)
    assert answer.status_code == 200, answer.text
    return answer.json()["dag_run_id"]


def month_that_a_task_sees(api, dag, run_id):
    """Run the only task of an existing run as a worker would, and read what it returned."""
    from airflow.models import TaskInstance
    from airflow.sdk.api.datamodels._generated import TaskInstance as WorkerTaskInstance
    from airflow.sdk.execution_time.supervisor import run_task_in_process
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import select

    with create_session() as session:
        ti = session.scalars(
            select(TaskInstance).where(TaskInstance.dag_id == DAG, TaskInstance.run_id == run_id)
        ).one()
        ti.state = TaskInstanceState.QUEUED
        worker_ti = WorkerTaskInstance(
            id=ti.id,
            task_id=ti.task_id,
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            try_number=ti.try_number,
            map_index=ti.map_index,
            dag_version_id=ti.dag_version_id,
        )
    result = run_task_in_process(ti=worker_ti, task=dag.get_task("month"))
    if result.ti.state != TaskInstanceState.SUCCESS:
        return str(result.error)
    return api.get(f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances/month/xcomEntries/return_value").json()["value"]


def test_a_trigger_of_the_web_ui_with_its_prefilled_date_is_for_the_month_of_that_date(api, dag):
    run_id = trigger(api, logical_date="2024-05-17T13:00:00Z")

    assert month_that_a_task_sees(api, dag, run_id) == "2024-05"


def test_params_come_before_the_date(api, dag):
    run_id = trigger(api, logical_date="2024-06-17T13:00:00Z", conf={"year": 2021, "month": 1})

    assert month_that_a_task_sees(api, dag, run_id) == "2021-01"


def test_params_come_before_the_partition_key(api, dag):
    run_id = trigger(api, partition_key="2023-07", conf={"year": 2021, "month": 2})

    assert month_that_a_task_sees(api, dag, run_id) == "2021-02"


def test_a_trigger_of_the_api_without_a_date_takes_the_partition_key(api, dag):
    run_id = trigger(api, partition_key="2023-08")

    assert month_that_a_task_sees(api, dag, run_id) == "2023-08"


def test_a_trigger_of_the_api_without_a_date_takes_the_params(api, dag):
    run_id = trigger(api, conf={"year": 2022, "month": 12})

    assert month_that_a_task_sees(api, dag, run_id) == "2022-12"


@pytest.mark.parametrize("date", [None, "now"])
def test_a_trigger_without_a_month_is_for_the_newest(api, dag, date):
    """The form of the web UI fills in the time of the trigger."""
    run_id = trigger(api, logical_date=datetime.now(UTC).isoformat() if date else None)

    assert month_that_a_task_sees(api, dag, run_id) == "newest"


def test_dags_test_without_a_date_is_for_the_newest(dag):
    run = dag.test()

    assert run.get_task_instance("month").xcom_pull(task_ids="month") == "newest"


@pytest.mark.parametrize(
    ("key", "file"), [("2021-07", "yellow_tripdata_2021-07"), ("green|2021-07", "green_tripdata_2021-07")]
)
def test_a_partition_key_may_name_the_service_too(airflow_database, key, file):
    from include.orchestration.requests import requested_file

    assert requested_file({"colour": "yellow"}, key, None).name == file


def test_half_a_month_is_refused(api, dag):
    run_id = trigger(api, logical_date="2024-07-17T13:00:00Z", conf={"year": 2022})

    assert "year=2022 and month=None: give both" in month_that_a_task_sees(api, dag, run_id)


@pytest.mark.parametrize(
    ("dag_id", "conf", "line"),
    [
        ("ingest_data", {"year": 2024, "month": 13}, "param month: 13 is greater than the maximum of 12"),
        ("ingest_data", {"year": 1999, "month": 1}, "param year: 1999 is less than the minimum of 2009"),
        ("etl_parent_flow", {"months": []}, "param months: [] should be non-empty"),
        ("etl_parent_flow", {"months": None}, "param months: None is not of type 'array'"),
        ("etl_parent_flow", {"months": ["13"]}, "param months: '13' does not match"),
        ("sync_published_months", {"since": "2024-13"}, "param since: '2024-13' does not match"),
        ("sync_published_months", {"max_files_per_run": 0}, "param max_files_per_run: 0 is less than the minimum of 1"),
    ],
)
def test_a_value_out_of_range_is_refused_with_a_line_and_starts_no_run(api, dag_id, conf, line):
    answer = api.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf})

    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(f"Invalid input for {line}")


def test_each_run_of_a_backfill_is_for_the_month_of_its_partition(api, dag):
    from airflow.models import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunType
    from sqlalchemy import select

    answer = api.post(
        "/api/v2/backfills",
        json={"dag_id": DAG, "from_date": "2022-01-01T00:00:00Z", "to_date": "2022-03-31T00:00:00Z"},
    )
    assert answer.status_code == 200, answer.text

    with create_session() as session:
        runs = session.scalars(
            select(DagRun.run_id).where(DagRun.dag_id == DAG, DagRun.run_type == DagRunType.BACKFILL_JOB)
        ).all()

    assert sorted(month_that_a_task_sees(api, dag, run_id) for run_id in runs) == ["2022-01", "2022-02", "2022-03"]


def test_dags_test_with_a_date_is_for_the_month_of_that_date(dag):
    run = dag.test(logical_date=datetime(2021, 1, 1, tzinfo=UTC))

    assert run.state == "success"
    assert run.get_task_instance("month").xcom_pull(task_ids="month") == "2021-01"


@pytest.mark.parametrize(
    ("zone", "at", "month"),
    [
        ("Europe/Berlin", "2023-01-31T23:00+00:00", "2023-02"),
        ("America/New_York", "2023-02-01T04:59+00:00", "2023-01"),
        ("Asia/Tokyo", "2023-01-31T15:00+00:00", "2023-02"),
        ("UTC", "2023-01-31T23:59+00:00", "2023-01"),
    ],
)
def test_the_month_of_a_date_is_that_of_the_default_timezone(airflow_database, zone, at, month):
    from airflow.sdk._shared.timezones.timezone import initialize

    from include.orchestration.requests import requested_file

    initialize(zone)
    try:
        file = requested_file({"colour": "green"}, None, datetime.fromisoformat(at))
    finally:
        initialize("UTC")

    assert str(file.month) == month


@pytest.mark.parametrize("year", [2024.5, True, "2024"])
def test_a_year_that_is_no_whole_number_is_refused_by_name(year):
    from include.orchestration.requests import _whole

    with pytest.raises(ValueError, match=r"param year=.* is not a whole number"):
        _whole("year", year)


@pytest.mark.parametrize(("month", "number"), [(3, 3), ("3", 3), (12.0, 12)])
def test_a_month_of_a_list_may_be_a_string_as_the_form_of_the_web_ui_sends_it(month, number):
    from include.orchestration.requests import _listed

    assert _listed(month) == number


@pytest.mark.parametrize("hours", [1e300, float("nan"), float("inf"), -1])
def test_a_cache_lifetime_that_no_clock_has_is_refused_by_name(hours):
    from include.orchestration.requests import _cache_ttl

    with pytest.raises(ValueError, match="param cache_ttl_hours="):
        _cache_ttl(hours)


@pytest.mark.parametrize(
    ("started", "due", "expected"), [(2021, 2026, "2026"), (2026, 2021, "2026"), (None, 2025, "2025")]
)
def test_a_run_counts_from_when_it_was_started_even_if_dags_test_starts_it_in_the_past(started, due, expected):
    from include.orchestration.requests import _wish

    run = SimpleNamespace(
        start_date=started and datetime(started, 1, 1, tzinfo=UTC), run_after=datetime(due, 1, 1, tzinfo=UTC)
    )

    assert _wish({"params": {}, "dag_run": run}).asked_at.startswith(expected)
