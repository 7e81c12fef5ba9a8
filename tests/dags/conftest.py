"""Airflow for the tests: an AIRFLOW_HOME of this session, with the project's own environment around it."""

import json
import os
import secrets
import tempfile
from pathlib import Path
from urllib.parse import quote

import psycopg
import pyarrow as pa
import pytest
from psycopg.conninfo import conninfo_to_dict
from pyarrow import compute, parquet

from devtools.generator import write_month
from devtools.servers.publisher import Publisher
from include.nyc_taxi import TripFile, catalog
from tests.dags.runs import checked, publish_at

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = {"nyc-taxi": ROOT, "tests": ROOT / "tests" / "dags" / "bundle", "examples": ROOT / "docs" / "examples"}

# Airflow reads its settings when it is first imported, so they must be there before any test module is.
_home = tempfile.TemporaryDirectory(prefix="nyc-taxi-airflow-")
os.environ |= {
    "AIRFLOW_HOME": _home.name,
    "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
    "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "0",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_home.name}/airflow.db",
    "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(
        [
            {
                "name": name,
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": str(path)},
            }
            for name, path in BUNDLES.items()
        ]
    ),
}


def pytest_collection_modifyitems(items):
    """Only our own warnings are errors here: Airflow and what it stands on have theirs."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))
            item.add_marker(pytest.mark.filterwarnings(r"error:::include\."))


@pytest.fixture(scope="session")
def airflow_database():
    """A metadata database with the DAGs of every bundle in it."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import sync_bag_to_db
    from airflow.utils.db import initdb

    initdb()
    DagBundlesManager().sync_bundles_to_db()
    for name in BUNDLES:
        sync_bag_to_db(_parsed(name), name, None)
    yield
    _home.cleanup()


def _parsed(name):
    from airflow.dag_processing.dagbag import BundleDagBag

    return BundleDagBag(BUNDLES[name], bundle_path=BUNDLES[name], bundle_name=name)


@pytest.fixture
def deployment(airflow_database, warehouse, tmp_path, monkeypatch):
    """The connection and the Variable of a deployment with a warehouse and a lake of this test's own."""
    target = conninfo_to_dict(warehouse)
    connection = {
        "conn_type": "postgres",
        "host": target["host"],
        "port": int(target["port"]),
        "login": target["user"],
        "password": target["password"],
        "schema": target["dbname"],
    }
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_WAREHOUSE", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW_VAR_TAXI_LAKE", f"file://{tmp_path / 'a lake'}")


@pytest.fixture(scope="session")
def bag():
    """Parses a bundle, by name, as the DAG processor does."""
    return _parsed


@pytest.fixture
def publish(deployment, tmp_path, monkeypatch):
    """Generates a month, by name, and publishes it on loopback where the official source is looked for."""
    folder = tmp_path / "published"
    folder.mkdir()

    def put(name, rows=500):
        file = TripFile.parse(name)
        path = folder / catalog.source("official").path_of(file)
        path.parent.mkdir(exist_ok=True)
        return write_month(file, path, rows=rows)

    with Publisher(folder) as publisher:
        publish_at(monkeypatch, publisher.base_url)
        yield put


@pytest.fixture
def republish(publish, tmp_path):
    """Publishes another edition of a file: without its first rows, and with the rows that follow them a second time.

    Returns the rows of the new edition, and by how much it changed the sum of the total amounts.
    """

    def put(name, *, removed=0, added=0):
        path = tmp_path / "published" / catalog.source("official").path_of(TripFile.parse(name))
        before = parquet.read_table(path)
        kept = before.slice(removed)
        after = pa.concat_tables([kept, kept.slice(0, added)])
        parquet.write_table(after, path)
        return after.num_rows, round(_total(after) - _total(before), 2)

    return put


def _total(table):
    return compute.sum(table["total_amount"]).as_py()


@pytest.fixture
def query(warehouse):
    def rows(statement):
        with psycopg.connect(warehouse) as connection:
            return connection.execute(statement).fetchall()

    return rows


@pytest.fixture
def errors(airflow_database):
    """What failed tasks say, as a listener of Airflow's hears it."""
    from airflow.listeners import hookimpl
    from airflow.sdk.listener import get_listener_manager

    class Listener:
        def __init__(self):
            self.heard = []

        @hookimpl
        def on_task_instance_failed(self, error):
            self.heard.append(f"{type(error).__name__}: {error}")

    listener = Listener()
    get_listener_manager().add_listener(listener)
    yield listener.heard
    get_listener_manager().pm.unregister(listener)


@pytest.fixture
def dags_by_id(airflow_database, bag):
    return bag("nyc-taxi").dags


@pytest.fixture(scope="module")
def client(airflow_database):
    """Airflow's API server, in this process, over the metadata database of the tests without their runs."""
    from airflow.api_fastapi.app import create_app
    from fastapi.testclient import TestClient

    with TestClient(create_app(apps="core"), base_url="http://localhost") as client:
        while runs := checked(client.get("/api/v2/dags/~/dagRuns", params={"limit": 100}))["dag_runs"]:
            for run in runs:
                path = f"/api/v2/dags/{run['dag_id']}/dagRuns/{quote(run['dag_run_id'])}"
                client.delete(path).raise_for_status()
        yield client


@pytest.fixture
def api(client):
    from include.orchestration.airflow_api import AirflowApi

    return AirflowApi(client)


@pytest.fixture
def ran(client, deployment):
    """Creates a run of `ingest_data`, with a state that a person may give it; all of them are deleted afterwards."""
    created = []

    def ran(state, conf=None, **keys):
        body = {"conf": conf or {}, "logical_date": None} | keys
        run = checked(client.post("/api/v2/dags/ingest_data/dagRuns", json=body))["dag_run_id"]
        created.append(run)
        checked(client.patch(f"/api/v2/dags/ingest_data/dagRuns/{run}", json={"state": state}))
        return run

    yield ran
    for run in created:
        client.delete(f"/api/v2/dags/ingest_data/dagRuns/{run}").raise_for_status()
