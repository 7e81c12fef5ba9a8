"""With a running scheduler a month that is put into the lake reaches BigQuery once, and the asset graph is true.

The example that builds models of dbt runs beside it, with a program in dbt's place that writes down how it was called.
"""

import shlex
from pathlib import Path

import pytest

from devtools.emulators import LocalCloud
from devtools.generator import write_month
from devtools.servers.publisher import Publisher
from devtools.servers.whole_airflow import ENDED, Airflow
from include.nyc_taxi import TripFile, catalog

MONTHLY = "ingest_data.green"
EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "build_models.py"
FOLLOWS_GREEN, FOLLOWS_FHV, FOLLOWS_ANY = (f"etl_gcs_to_bq.{name}" for name in ("green", "fhv", "any"))
DEPLOYMENTS = [
    {
        "flow": "ingest_data",
        "name": "green",
        "description": "Green",
        "params": {"colour": "green"},
        "schedule": {"lag_months": 3},
        "start": "2014-01",
        "paused": False,
        "catchup": False,
    },
    *(
        {
            "flow": "etl_gcs_to_bq",
            "name": name,
            "description": "Follows",
            "params": params,
            "schedule": {"asset": name},
            "paused": False,
        }
        for name, params in (("green", {"colour": "green"}), ("fhv", {"colour": "fhv"}), ("any", {}))
    ),
]


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """A program in dbt's place, and the file of its calls, one in each line."""
    folder = tmp_path_factory.mktemp("dbt")
    program, called = folder / "dbt", folder / "calls"
    program.write_text(f'#!/bin/sh\necho "$@" >> {shlex.quote(str(called))}\n')
    program.chmod(0o700)
    return program, called


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, postgres_server, calls):
    folder = tmp_path_factory.mktemp("published")
    for name in ("green_tripdata_2022-01", "green_tripdata_2022-02", "fhv_tripdata_2022-01"):
        file = TripFile.parse(name)
        path = folder / catalog.source("official").path_of(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_month(file, path, rows=200)
    with Publisher(folder) as publisher, LocalCloud(tmp_path_factory.mktemp("cloud")) as cloud:
        airflow = Airflow(
            tmp_path_factory.mktemp("assets"),
            postgres_server,
            publisher=publisher.base_url,
            deployments=DEPLOYMENTS,
            AIRFLOW__CORE__EXECUTOR="LocalExecutor",
            DBT_EXECUTABLE=str(calls[0]),
            **cloud.environment,
        )
        example = EXAMPLE.read_text().replace('TARGET = "duckdb"', 'TARGET = "postgres"')
        (airflow.project / "dags" / EXAMPLE.name).write_text(example)
        try:
            airflow.start()
            for dag_id in (MONTHLY, FOLLOWS_GREEN, FOLLOWS_FHV, FOLLOWS_ANY, EXAMPLE.stem):
                airflow.knows(dag_id)
            airflow.unpause(EXAMPLE.stem)
            yield airflow
        finally:
            airflow.stop()


def events(airflow, run_id):
    found = airflow.get("/assets/events", source_run_id=run_id, limit=100)["asset_events"]
    return sorted((event["name"], event["partition_key"]) for event in found)


def followed(airflow, dag_id, key):
    """The ended runs of a Dag that an asset started for a partition."""

    def ended():
        runs = [run for run in airflow.runs(dag_id) if run["partition_key"] == key]
        return runs if runs and all(run["state"] in ENDED for run in runs) else []

    return [(run["run_type"], run["state"]) for run in airflow.wait(ended, f"{dag_id} for {key}")]


def test_months_of_a_dag_for_one_service_start_what_follows_that_service(airflow):
    run_id = airflow.post(f"/dags/{MONTHLY}/dagRuns", logical_date=None, partition_key="2022-01")["dag_run_id"]
    assert airflow.ended(MONTHLY, run_id)["state"] == "success"

    assert events(airflow, run_id) == [
        ("lake green", "2022-01"),
        ("postgres green", "2022-01"),
        ("raw green", "2022-01"),
    ]
    assert followed(airflow, FOLLOWS_GREEN, "2022-01") == [("asset_triggered", "success")]


def test_months_of_a_flow_for_any_service_start_what_follows_any_service(airflow):
    conf = {"colour": ["green", "fhv"], "year": 2022, "months": [1, 2]}  # fhv's February is not published
    run_id = airflow.post("/dags/etl_parent_flow/dagRuns", logical_date=None, conf=conf)["dag_run_id"]
    assert airflow.ended("etl_parent_flow", run_id)["state"] == "failed"

    keys = ["fhv|2022-01", "green|2022-01", "green|2022-02"]
    assert events(airflow, run_id) == [(f"{zone} any", key) for zone in ("lake", "raw") for key in keys]
    for key in keys:
        assert followed(airflow, FOLLOWS_ANY, key) == [("asset_triggered", "success")]
    assert len(airflow.runs(FOLLOWS_ANY)) == len(keys)
    assert [run for run in airflow.runs(FOLLOWS_GREEN) if run["partition_key"] != "2022-01"] == []
    assert airflow.runs(FOLLOWS_FHV) == []


def test_the_asset_graph_of_the_ui_leads_from_the_web_to_the_targets(airflow):
    assets = {asset["name"]: asset["id"] for asset in airflow.get("/assets", limit=100)["assets"]}

    answer = airflow.api.get(
        f"{airflow.url}/ui/dependencies",
        params={"node_id": f"asset:{assets['lake green']}", "dependency_type": "data"},
    ).json()

    labels = {node["id"]: node["label"] for node in answer["nodes"]}
    assert {(labels[edge["source_id"]], labels[edge["target_id"]]) for edge in answer["edges"]} == {
        ("web green", "ingest_data.green.extract_data"),
        ("ingest_data.green.extract_data", "raw green"),
        ("raw green", "ingest_data.green.transform_data"),
        ("ingest_data.green.transform_data", "lake green"),
        ("lake green", "ingest_data.green.load_data"),
        ("ingest_data.green.load_data", "postgres green"),
        ("lake green", "etl_gcs_to_bq.green.write_bq"),
        ("etl_gcs_to_bq.green.write_bq", "bigquery green"),
    }


def test_models_are_built_of_just_the_months_whose_rows_have_changed(airflow, calls):
    conf = {"colour": "green", "year": 2022, "month": 2}
    for _ in range(2):  # the second load finds the month up to date
        run_id = airflow.post("/dags/ingest_data/dagRuns", logical_date=None, conf=conf)["dag_run_id"]
        assert airflow.ended("ingest_data", run_id)["state"] == "success"

    assert followed(airflow, EXAMPLE.stem, "2022-01") == [("asset_triggered", "success")]
    built = airflow.wait(lambda: _ended_builds(airflow, "green|2022-02", 2), "two runs of the example")
    assert sorted(built) == ["skipped", "success"]
    selected = "build --select source:*.green_tripdata+ source:*.green_taxi_trips+ source:*.green_trips+ --vars"
    assert calls[1].read_text().splitlines() == [
        f'{selected} {{"service": "green", "month": "{month}"}}' for month in ("2022-01", "2022-02")
    ]


def _ended_builds(airflow, key, count):
    """Return the states of the example's task in the ended runs of a partition; none before `count` have ended."""
    runs = [run for run in airflow.runs(EXAMPLE.stem) if run["partition_key"] == key and run["state"] in ENDED]
    if len(runs) < count:
        return []
    instances = [
        airflow.get(f"/dags/{EXAMPLE.stem}/dagRuns/{run['dag_run_id']}/taskInstances")["task_instances"] for run in runs
    ]
    return [instance["state"] for some in instances for instance in some]
