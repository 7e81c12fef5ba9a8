"""The daily run: a publisher on loopback puts out, replaces and spoils files, and just what is new comes in."""

import json
import os

import psycopg
import pytest

from devtools.generator import write_month
from devtools.servers.publisher import Publisher
from include.nyc_taxi import Month, TripFile, catalog, publications, targets
from include.orchestration import connections, sync_steps
from include.orchestration.requests import Destination, Scope

ROWS = 300
SINCE = Month(2024, 1)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "published"


@pytest.fixture
def publish(folder):
    """Puts out a file, or puts another in its place."""

    def put(name, rows=ROWS, content=None):
        file = TripFile.parse(name)
        path = folder / catalog.source("official").path_of(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_month(file, path, rows=rows)
        if content is not None:
            path.write_bytes(content)

    put("green_tripdata_2024-01")
    put("green_tripdata_2024-02")
    return put


@pytest.fixture
def publisher(deployment, publish, folder, monkeypatch):
    with Publisher(folder) as publisher:
        monkeypatch.setenv("AIRFLOW_CONN_TAXI_SOURCE", json.dumps({"conn_type": "http", "host": publisher.base_url}))
        yield publisher


@pytest.fixture
def run(publisher, bag):
    """A day's run for green since 2024."""

    def test_run(**conf):
        conf = {"colours": ["green"], "since": "2024-01", "max_files_per_run": 100} | conf
        return bag("nyc-taxi").dags["sync_published_months"].test(run_conf=conf)

    return test_run


@pytest.fixture
def loads(warehouse):
    """The months in the order of their loads."""

    def months():
        with psycopg.connect(warehouse) as connection:
            return [month for (month,) in connection.execute("SELECT month FROM load_ledger ORDER BY load_id")]

    return months


@pytest.fixture
def events():
    """What a run has told those that follow: asset, partition and note."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    def told(run):
        with create_session() as session:
            found = session.execute(
                select(AssetModel.name, AssetEvent.partition_key, AssetEvent.extra)
                .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
                .where(AssetEvent.source_run_id == run.run_id)
                .order_by(AssetModel.name, AssetEvent.partition_key)
            )
            return [(name, key, extra.get("note")) for name, key, extra in found]

    return told


def scope(target, since=SINCE):
    return Scope(services=["green"], since=since, source="official", destination=Destination(target))


def said(run):
    return run.get_task_instance("report").xcom_pull(task_ids="report")


def test_the_first_day_catches_up_and_later_days_bring_just_what_is_new_or_replaced(run, loads, publish):
    first = run()

    assert first.state == "success"
    assert sorted(loads()) == ["2024-01", "2024-02"]
    assert said(first).startswith(
        "loaded 2 of 2 files (green_tripdata_2024-02, green_tripdata_2024-01); 0 remaining; newest: green 2024-02"
    )

    second = run()

    assert second.state == "success"
    assert len(loads()) == 2
    assert said(second).startswith("loaded 0 of 0 files (none); 0 remaining")
    assert {ti.state for ti in second.get_task_instances() if ti.task_id in ("fetch", "land", "load")} == {"skipped"}

    publish("green_tripdata_2024-03")
    publish("green_tripdata_2024-01", rows=ROWS + 1)
    third = run()

    assert third.state == "success"
    assert sorted(loads()[2:]) == ["2024-01", "2024-03"]
    assert "loaded 2 of 2 files (green_tripdata_2024-03, green_tripdata_2024-01)" in said(third)


def test_a_month_published_anew_with_the_same_bytes_is_brought_once(run, publish, folder):
    run()
    january = folder / catalog.source("official").path_of(TripFile.parse("green_tripdata_2024-01"))
    later = january.stat().st_mtime + 60
    os.utime(january, (later, later))  # the publisher of this test makes the ETag of it

    assert "loaded 1 of 1 files (green_tripdata_2024-01); 0 remaining" in said(run())
    assert "loaded 0 of 0 files (none); 0 remaining" in said(run())


def test_a_spoilt_month_is_red_and_does_not_keep_the_others_from_coming(run, loads, publish, events, caplog):
    publish("green_tripdata_2024-03", content=b"no parquet")

    finished = run()

    assert finished.state == "failed"
    assert sorted(loads()) == ["2024-01", "2024-02"]
    assert "loaded 2 of 3 files" in said(finished)
    assert "1 remaining" in said(finished)
    assert "sync_published_months: fetch[0] failed: run" in caplog.text
    assert "the newest month is old: green 2024-02; expected 20" in caplog.text
    assert events(finished) == [
        ("lake any", "green|2024-01", None),
        ("lake any", "green|2024-02", None),
        ("published months", None, said(finished)),
        ("raw any", "green|2024-01", None),
        ("raw any", "green|2024-02", None),
    ]


def test_a_publisher_that_does_not_answer_ends_the_survey_and_not_the_run(run, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_SOURCE", json.dumps({"conn_type": "http", "host": "http://127.0.0.1:9"}))

    finished = run()

    assert finished.state == "success"
    assert "the survey ended early: http://127.0.0.1:9/trip-data/green_tripdata_" in said(finished)


def test_no_more_than_the_asked_number_is_chosen_and_the_newest_first(publisher, publish):
    for month in ("03", "04", "05"):
        publish(f"green_tripdata_2024-{month}")
    publications.survey(
        connections.lake(), base_url=publisher.base_url, services=["green"], since=Month(2024, 1), recheck=100
    )

    chosen = sync_steps.choose(scope("postgres"), max_files=2)

    assert chosen == ["green_tripdata_2024-05", "green_tripdata_2024-04"]


def test_a_month_that_only_another_table_has_is_to_be_brought(publisher, warehouse, lake, landed_month):
    publications.survey(
        connections.lake(), base_url=publisher.base_url, services=["green"], since=Month(2024, 1), recheck=100
    )
    target = targets.get("postgres")
    with psycopg.connect(warehouse, autocommit=True) as connection:
        for name, table in (("2024-01", "other"), ("2024-02", "green_taxi_trips")):
            file = landed_month(f"green_tripdata_{name}")
            target.replace_month(connection, file, lake, table=target.parse_table(table))

    assert sync_steps.choose(scope("postgres"), max_files=10) == ["green_tripdata_2024-01"]


def test_what_no_survey_has_seen_is_not_chosen(publisher):
    assert sync_steps.choose(scope("none", since=None), max_files=10) == []


def test_the_result_of_the_dag_is_the_report(airflow_database, bag):
    dag = bag("nyc-taxi").dags["sync_published_months"]

    assert [task.task_id for task in dag.tasks if task.returns_dag_result] == ["report"]
