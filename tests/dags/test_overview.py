"""The coverage of a deployment: what its runs are about, and what is said when a part of it does not answer."""

import json
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.errors import QueryCanceled, ReadOnlySqlTransaction

from include.nyc_taxi import Month, TripFile
from include.nyc_taxi.coverage import State
from include.orchestration import connections, overview, status

DAG = "loads_for_a_test"


@pytest.fixture
def session(deployment):
    from airflow.utils.session import create_session

    with create_session() as session:
        yield session
        session.rollback()


@pytest.fixture
def ran(session, monkeypatch):
    """Has a run of the DAG that loads, here one of this test's own, in the metadata database for the time of a test."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    monkeypatch.setitem(overview.LOADED_BY, "postgres", DAG)
    monkeypatch.setattr(overview, "_MANY_MONTHS", {})

    def ran(run_id, state, conf=None, **keys):
        times = dict.fromkeys(("queued_at", "start_date", "run_after"), datetime(2026, 1, 1, tzinfo=UTC))
        by = {"run_type": DagRunType.MANUAL, "triggered_by": DagRunTriggeredByType.TEST}
        session.add(DagRun(dag_id=DAG, run_id=run_id, state=state, conf=conf or {}, **times, **by, **keys))
        session.flush()

    return ran


@pytest.mark.parametrize(
    ("conf", "keys", "file"),
    [
        ({"colour": "green", "year": 2024, "month": 1}, {}, TripFile("green", Month(2024, 1))),
        ({"year": 2024, "month": 1}, {}, TripFile("yellow", Month(2024, 1))),
        ({"colour": "fhv"}, {"partition_key": "2023-05"}, TripFile("fhv", Month(2023, 5))),
        ({}, {"logical_date": datetime(2021, 1, 1, tzinfo=UTC)}, TripFile("yellow", Month(2021, 1))),
    ],
)
def test_a_run_is_for_the_month_that_its_tasks_find(session, ran, conf, keys, file):
    ran("one", "running", conf, **keys)

    [(found, attempt)] = overview.attempts(session, "postgres").items()

    assert (found, attempt.state, attempt.run_id) == (file, "running", "one")


def test_the_last_run_counts_and_others_than_ours_do_not(session, ran):
    asked = {"colour": "green", "year": 2024, "month": 1}
    ran("first", "failed", asked)
    ran("second", "success", asked)
    for number, conf in enumerate(({}, {"colour": "pink", "year": 2024, "month": 1}, {"year": "x", "month": 1})):
        ran(f"no_month_{number}", "failed", conf)

    assert [attempt.run_id for attempt in overview.attempts(session, "postgres").values()] == ["second"]


def test_runs_that_may_not_be_seen_are_not_told_of(session, ran):
    ran("one", "failed", {"colour": "green", "year": 2024, "month": 1})

    assert overview.attempts(session, "postgres", lambda dag_id: dag_id != DAG) == {}


@pytest.fixture
def run_of_two_months(publish, bag):
    """A run of the parent flow; of its two months, one is not published."""
    publish("green_tripdata_2024-02")
    conf = {"colour": "green", "year": 2024, "months": [1, 2], "target": "postgres"}
    return bag("nyc-taxi").dags["etl_parent_flow"].test(run_conf=conf)


@pytest.fixture
def told(session, run_of_two_months):
    """By month, what is told of that run for a target."""

    def of(target):
        found = overview.attempts(session, target).values()
        return {str(each.file): each.state for each in found if each.run_id == run_of_two_months.run_id}

    return of


def test_each_month_of_a_run_for_several_is_told_by_its_own_tasks(told):
    of_each = {"green_tripdata_2024-01": "failed", "green_tripdata_2024-02": "success"}

    assert {target: told(target) for target in overview.LOADED_BY} == {
        "postgres": of_each,
        "lake": of_each,
        "bigquery": {},
    }


def test_a_month_of_a_run_for_several_is_under_way_until_its_last_task_has_ended(session, run_of_two_months, told):
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.state import DagRunState

    run = session.merge(run_of_two_months)
    run.state = DagRunState.RUNNING
    second = session.query(TaskInstance).filter_by(run_id=run.run_id, task_id="load", map_index=1).one()
    second.state = None
    session.flush()

    assert told("postgres")["green_tripdata_2024-02"] == "running"
    assert told("lake")["green_tripdata_2024-02"] == "success"


def test_what_the_overview_takes_for_granted_of_the_flows_is_so(dags_by_id):
    for flow, many in overview._MANY_MONTHS.items():
        assert dags_by_id[flow].params["target"] == many.target
        assert set(dags_by_id[flow].task_ids) >= {many.named_by, *overview._LAST_TASK.values()}


def test_a_warehouse_that_is_down_is_said_and_the_rest_is_there(session, ran, monkeypatch):
    nowhere = {"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "login": "x", "password": "y", "schema": "z"}
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_WAREHOUSE", json.dumps(nowhere))
    ran("one", "failed", {"colour": "green", "year": 2024, "month": 1})

    seen = overview.overview("postgres", session)

    assert "the warehouse does not answer" in seen.problems[0]
    assert "127.0.0.1" not in seen.problems[0]
    assert not seen.target_answers
    assert seen.cells[TripFile("green", Month(2024, 1))].state is State.FAILED
    assert seen.cells[TripFile("green", Month(2024, 2))].state is State.PUBLISHED


def test_a_look_at_the_start_reads_every_footer_of_the_lake_so_that_nobody_waits_for_it(
    deployment, ran, lake, landed_month, monkeypatch
):
    monkeypatch.setenv("AIRFLOW_VAR_TAXI_LAKE", f"file://{lake.root}")
    monkeypatch.setattr(overview, "_footers", {})
    file = landed_month("green_tripdata_2024-01")

    overview.look_once()

    assert [load.file for load in overview._footers.values()] == [file]


def test_the_terminal_tells_the_same_as_the_page(session, ran):
    ran("one", "failed", {"colour": "green", "year": 2024, "month": 2})
    seen = overview.overview("postgres", session)

    text, told = status.as_text(seen), overview.as_json(seen)

    assert "2024  oooooooooooo  oxoooooooooo  ooooo.......  oooooooooooo" in text.splitlines()
    assert "x     1  the last run failed" in text.splitlines()
    assert told["months"]["green"]["2024-02"] == "failed"
    assert json.loads(json.dumps(told))["counts"]["failed"] == 1


def test_who_reads_the_warehouse_changes_nothing_and_waits_for_nobody(deployment):
    with connections.warehouse_reader() as reader:
        with pytest.raises(ReadOnlySqlTransaction):
            reader.execute("CREATE TABLE mine (id int)")
        reader.rollback()
        assert reader.execute("SHOW statement_timeout").fetchone() == ("5s",)
        reader.execute("SET statement_timeout = '50ms'")
        with pytest.raises(QueryCanceled):
            reader.execute("SELECT pg_sleep(5)")


def test_a_reader_of_its_own_comes_first(deployment, warehouse, monkeypatch):
    with psycopg.connect(warehouse, autocommit=True) as connection:
        connection.execute("CREATE ROLE looker LOGIN PASSWORD 'looker'")
        try:
            target = connection.info
            reader = {"conn_type": "postgres", "host": target.host, "port": target.port, "login": "looker"}
            reader |= {"password": "looker", "schema": target.dbname}
            monkeypatch.setenv("AIRFLOW_CONN_TAXI_WAREHOUSE_READER", json.dumps(reader))
            with connections.warehouse_reader() as found:
                assert found.info.user == "looker"
        finally:
            connection.execute("DROP ROLE looker")
