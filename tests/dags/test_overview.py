"""The coverage of a deployment: its runs as the REST API reports them, and the parts that do not answer."""

import json
import os
from pathlib import Path

import psycopg
import pytest
from psycopg.errors import QueryCanceled, ReadOnlySqlTransaction

from include.nyc_taxi import Month, TripFile, targets
from include.nyc_taxi.coverage import State
from include.nyc_taxi.lake import data_key
from include.orchestration import connections, overview, status
from include.orchestration.airflow_api import AirflowApi
from include.orchestration.attempts import FLOWS_OF_SEVERAL_MONTHS, LOADING_TASK, attempts
from tests.dags.runs import checked

POSTGRES = targets.get("postgres")
GREEN = TripFile("green", Month(2024, 1))
ASKS_FOR_GREEN = {"colour": "green", "year": 2024, "month": 1}


@pytest.mark.parametrize(
    ("conf", "keys", "file"),
    [
        (ASKS_FOR_GREEN, {}, GREEN),
        ({"year": 2024, "month": 1}, {}, TripFile("yellow", Month(2024, 1))),
        ({"colour": "fhv"}, {"partition_key": "2023-05"}, TripFile("fhv", Month(2023, 5))),
        ({}, {"logical_date": "2021-01-01T00:00:00Z"}, TripFile("yellow", Month(2021, 1))),
    ],
)
def test_a_run_is_for_the_month_that_its_tasks_find(api, ran, conf, keys, file):
    run = ran("queued", conf, **keys)

    [(found, attempt)] = attempts(api, POSTGRES).items()

    assert (found, attempt.state, attempt.run_id) == (file, "queued", run)


def test_a_run_whose_month_nobody_said_is_no_attempt_before_a_task_has_found_it(api, ran):
    ran("failed", {"year": 2024})
    ran("failed", {})

    assert attempts(api, POSTGRES) == {}


@pytest.fixture
def run_of_the_newest_month(publish, bag, client):
    """A run whose month nobody said. It fails once it has found the newest, of which it wants an unknown edition."""
    publish("green_tripdata_2024-02")
    run = bag("nyc-taxi").dags["ingest_data"].test(run_conf={"colour": "green", "edition": "0" * 64})
    yield run
    client.delete(f"/api/v2/dags/ingest_data/dagRuns/{run.run_id}").raise_for_status()


def test_a_run_whose_month_nobody_said_is_for_the_newest_that_it_has_found(api, client, run_of_the_newest_month):
    run_id = run_of_the_newest_month.run_id

    def seen():
        return {(str(found), attempt.state, attempt.run_id) for found, attempt in attempts(api, POSTGRES).items()}

    assert seen() == {("green_tripdata_2024-02", "failed", run_id)}

    checked(client.patch(f"/api/v2/dags/ingest_data/dagRuns/{run_id}", json={"state": "queued"}))

    assert seen() == {("green_tripdata_2024-02", "queued", run_id)}


def test_a_later_success_ends_a_failure(api, ran):
    ran("failed", ASKS_FOR_GREEN)
    second = ran("success", ASKS_FOR_GREEN)

    [attempt] = attempts(api, POSTGRES).values()

    assert (attempt.run_id, attempt.state) == (second, "success")


def test_an_earlier_success_does_not_end_a_failure(api, ran):
    ran("success", ASKS_FOR_GREEN)
    second = ran("failed", ASKS_FOR_GREEN)

    [attempt] = attempts(api, POSTGRES).values()

    assert (attempt.run_id, attempt.state) == (second, "failed")


def test_runs_are_asked_for_page_by_page(client, ran):
    runs = [ran("failed", ASKS_FOR_GREEN) for _ in range(5)]

    found = AirflowApi(client, runs_per_page=2).runs(["ingest_data"], ["failed"], most=100)

    assert [run.run_id for run in found] == runs[::-1]
    assert len(AirflowApi(client, runs_per_page=2).runs(["ingest_data"], ["failed"], most=3)) == 3


def test_the_runs_of_other_targets_do_not_count(api, ran):
    ran("failed", ASKS_FOR_GREEN)

    assert attempts(api, targets.get("bigquery")) == {}


@pytest.fixture
def run_of_two_months(publish, bag, client):
    """A run of the parent flow; one of its two months is not published."""
    publish("green_tripdata_2024-02")
    conf = {"colour": "green", "year": 2024, "months": [1, 2], "target": "postgres"}
    run = bag("nyc-taxi").dags["etl_parent_flow"].test(run_conf=conf)
    yield run
    client.delete(f"/api/v2/dags/etl_parent_flow/dagRuns/{run.run_id}").raise_for_status()


def states(api, target):
    """The state of each month that was attempted."""
    return {str(file): attempt.state for file, attempt in attempts(api, target).items()}


def test_each_month_of_a_run_of_several_has_the_state_of_its_own_tasks(api, run_of_two_months):
    of_each = {"green_tripdata_2024-01": "failed", "green_tripdata_2024-02": "success"}

    nowhere = {target.name: {} for target in targets.every()}
    assert {target.name: states(api, target) for target in targets.every()} == nowhere | {
        "postgres": of_each,
        "lake": of_each,
    }


def test_a_month_of_a_run_of_several_is_running_until_its_last_task_has_ended(api, client, run_of_two_months):
    again = {"dag_run_id": run_of_two_months.run_id, "task_ids": [["load", 1]], "only_failed": False, "dry_run": False}
    checked(client.post("/api/v2/dags/etl_parent_flow/clearTaskInstances", json=again))

    assert states(api, POSTGRES) == {"green_tripdata_2024-01": "failed", "green_tripdata_2024-02": "queued"}
    assert states(api, targets.the_lake())["green_tripdata_2024-02"] == "success"


def test_a_month_that_had_not_ended_when_its_run_was_marked_as_failed_has_failed(api, client, run_of_two_months):
    again = {"dag_run_id": run_of_two_months.run_id, "task_ids": [["load", 1]], "only_failed": False, "dry_run": False}
    checked(client.post("/api/v2/dags/etl_parent_flow/clearTaskInstances", json=again))
    path = f"/api/v2/dags/etl_parent_flow/dagRuns/{run_of_two_months.run_id}"
    checked(client.patch(path, json={"state": "failed"}))

    assert states(api, POSTGRES) == {"green_tripdata_2024-01": "failed", "green_tripdata_2024-02": "failed"}
    assert states(api, targets.the_lake())["green_tripdata_2024-02"] == "success"


def test_the_flows_of_several_months_are_as_the_overview_describes_them(dags_by_id):
    for flow, described in FLOWS_OF_SEVERAL_MONTHS.items():
        assert dags_by_id[flow].params["target"] == described.target
        assert set(dags_by_id[flow].task_ids) >= {described.named_by, described.landing_task, LOADING_TASK}


def test_the_flow_of_each_target_ends_with_its_loading_task(dags_by_id):
    for target in targets.every():
        assert target.loading_task in {task.task_id for task in dags_by_id[target.loaded_by].leaves}


def test_a_warehouse_that_is_down_is_a_problem_and_the_rest_is_there(api, ran, monkeypatch):
    nowhere = {"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "login": "x", "password": "y", "schema": "z"}
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_WAREHOUSE", json.dumps(nowhere))
    ran("failed", ASKS_FOR_GREEN)

    seen = overview.overview(POSTGRES, api)

    assert "Postgres does not answer (connection taxi_warehouse)" in seen.problems[0]
    assert "127.0.0.1" not in seen.problems[0]
    assert not seen.target_answers
    assert seen.cells[GREEN].state is State.FAILED
    assert seen.cells[TripFile("green", Month(2024, 2))].state is State.PUBLISHED


def test_an_api_that_is_down_is_a_problem_and_the_rest_is_there(deployment):
    import httpx

    with httpx.Client(base_url="http://127.0.0.1:1") as nowhere:
        seen = overview.overview(POSTGRES, AirflowApi(nowhere))

    assert "Airflow's API does not answer" in seen.problems[0]
    assert (seen.target_answers, seen.runs_are_known) == (True, False)
    assert seen.cells[GREEN].state is State.PUBLISHED


def test_without_an_api_the_targets_are_shown_without_their_runs(deployment):
    seen = overview.overview(POSTGRES, None)

    assert (seen.problems, seen.target_answers, seen.runs_are_known) == ((), True, False)


def test_warming_up_reads_every_footer_of_the_lake(deployment, lake, landed_month, monkeypatch):
    monkeypatch.setenv("AIRFLOW_VAR_TAXI_LAKE", f"file://{lake.root}")
    file = landed_month("green_tripdata_2024-01")
    path = Path(lake.path(data_key(file)))

    overview.warm_up()

    before = path.stat()
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert list(overview.held(targets.the_lake())) == [file]


def test_the_terminal_shows_the_same_as_the_page(api, ran):
    ran("failed", ASKS_FOR_GREEN | {"month": 2})
    seen = overview.overview(POSTGRES, api)

    text, page = status.as_text(seen), overview.as_json(seen)

    assert "2024  oooooooooooo  oxoooooooooo  ooooo-------  oooooooooooo" in text.splitlines()
    assert "x     1  failed since its last load" in text.splitlines()
    assert page["months"]["green"]["2024-02"] == "failed"
    assert json.loads(json.dumps(page))["counts"]["failed"] == 1


def test_the_terminal_shows_the_published_rows_and_the_loaded_ones(deployment, lake, landed_month, monkeypatch):
    monkeypatch.setenv("AIRFLOW_VAR_TAXI_LAKE", f"file://{lake.root}")
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_DUCKDB", json.dumps({"conn_type": "generic", "host": f"{lake.root}.duckdb"}))
    target = targets.get("duckdb")
    for name in ("green_tripdata_2024-01", "green_tripdata_2024-12", "green_tripdata_2025-01"):
        with connections.opened(target) as database:
            loaded = target.replace_month(database, landed_month(name), lake)
    rows, kept = loaded.landed.rows_read, loaded.rows_loaded

    seen = overview.overview(target, None)
    lines, by_year = (status.as_text(seen, rows_of_years=by_year).splitlines() for by_year in (False, True))

    assert 0 < kept < rows
    assert [line.split() for line in lines[-2:]] == [
        ["rows", "of", "loaded", "months", "published", "loaded", "rejected"],
        ["green", f"{3 * rows:,}", f"{3 * kept:,}", f"{3 * (rows - kept):,}"],
    ]
    assert [line.split() for line in by_year[-2:]] == [
        ["green", "2024", f"{2 * rows:,}", f"{2 * kept:,}", f"{2 * (rows - kept):,}"],
        ["green", "2025", f"{rows:,}", f"{kept:,}", f"{rows - kept:,}"],
    ]
    assert overview.as_json(seen)["rows"] == {
        "green": {"2024": {"published": 2 * rows, "loaded": 2 * kept}, "2025": {"published": rows, "loaded": kept}}
    }


def test_a_reader_of_the_warehouse_changes_nothing_and_does_not_wait_long(deployment):
    with connections.opened(POSTGRES, read_only=True) as reader:
        with pytest.raises(ReadOnlySqlTransaction):
            reader.execute("CREATE TABLE mine (id int)")
        reader.rollback()
        assert reader.execute("SHOW statement_timeout").fetchone() == ("5s",)
        reader.execute("SET statement_timeout = '50ms'")
        with pytest.raises(QueryCanceled):
            reader.execute("SELECT pg_sleep(5)")


def test_the_connection_for_reading_comes_before_the_one_for_loading(deployment, warehouse, monkeypatch):
    with psycopg.connect(warehouse, autocommit=True) as connection:
        connection.execute("CREATE ROLE looker LOGIN PASSWORD 'looker'")
        try:
            target = connection.info
            reader = {"conn_type": "postgres", "host": target.host, "port": target.port, "login": "looker"}
            reader |= {"password": "looker", "schema": target.dbname}
            monkeypatch.setenv("AIRFLOW_CONN_TAXI_WAREHOUSE_READER", json.dumps(reader))
            with connections.opened(POSTGRES, read_only=True) as found:
                assert found.info.user == "looker"
        finally:
            connection.execute("DROP ROLE looker")
