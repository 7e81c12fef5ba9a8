"""A task finds its connections in a file, and its log in the bucket of the lake, with Airflow's own servers."""

import json

import psycopg
import pytest
import yaml

from devtools.emulators import LocalCloud
from devtools.generator import write_month
from devtools.servers.publisher import Publisher
from devtools.servers.whole_airflow import Airflow
from include.nyc_taxi import Month, TripFile, catalog

BUCKET = "nyc-taxi"
LOGS = f"gs://{BUCKET}/logs"
FILE = TripFile("green", Month(2023, 1))
CONNECTION, VARIABLE = "AIRFLOW_CONN_", "AIRFLOW_VAR_"


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, postgres_server):
    published = tmp_path_factory.mktemp("published")
    path = published / catalog.source("official").path_of(FILE)
    path.parent.mkdir(parents=True)
    write_month(FILE, path, rows=200)
    with Publisher(published) as publisher, LocalCloud(tmp_path_factory.mktemp("cloud")) as cloud:
        cloud.create_bucket(BUCKET)
        airflow = Airflow(
            tmp_path_factory.mktemp("secrets"),
            postgres_server,
            publisher=publisher.base_url,
            deployments=[],
            AIRFLOW__CORE__EXECUTOR="LocalExecutor",
            AIRFLOW__LOGGING__REMOTE_LOGGING="True",
            AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER=LOGS,
            AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID="taxi_gcp",
            **cloud.environment,
        )
        airflow.environment |= file_backend(airflow.home, taken(airflow.environment))
        try:
            airflow.start()
            airflow.knows("ingest_data")
            yield airflow
        finally:
            airflow.stop()


def taken(environment):
    """Remove the connections and Variables from the environment, and return them."""
    names = [name for name in environment if name.startswith((CONNECTION, VARIABLE))]
    return {name: environment.pop(name) for name in names}


def file_backend(folder, described):
    """Write connections and Variables to files, and return the settings that make Airflow look there."""
    connections = {
        name.removeprefix(CONNECTION).lower(): json.loads(value)
        for name, value in described.items()
        if name.startswith(CONNECTION)
    }
    variables = {
        name.removeprefix(VARIABLE).lower(): value for name, value in described.items() if name.startswith(VARIABLE)
    }
    assert {"taxi_source", "taxi_warehouse", "taxi_gcp"} <= connections.keys()
    assert variables.keys() == {"taxi_lake"}
    files = {"connections_file_path": folder / "connections.yaml", "variables_file_path": folder / "variables.json"}
    files["connections_file_path"].write_text(yaml.safe_dump(connections))
    files["variables_file_path"].write_text(json.dumps(variables))
    return {
        "AIRFLOW__SECRETS__BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({name: str(path) for name, path in files.items()}),
    }


@pytest.fixture(scope="module")
def loaded(airflow):
    """The run that loads the month."""
    airflow.unpause("ingest_data")
    conf = {"colour": FILE.service, "year": FILE.month.year, "month": FILE.month.month}
    return airflow.post("/dags/ingest_data/dagRuns", logical_date=None, conf=conf)["dag_run_id"]


def test_a_run_finds_its_connections_and_the_lake_in_the_files_of_the_secrets_backend(airflow, loaded):
    assert airflow.ended("ingest_data", loaded)["state"] == "success"

    assert airflow.get("/connections")["total_entries"] == 0, "none is in Airflow's database"
    with psycopg.connect(airflow.warehouse) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM green_taxi_trips").fetchone() == (True,)
    assert [path.stem for path in airflow.lake.rglob("*.parquet") if "data" in path.parts] == [FILE.name]


def test_the_log_of_a_task_is_in_the_bucket_and_the_web_page_reads_it_there(airflow, loaded):
    airflow.ended("ingest_data", loaded)
    task = f"/dags/ingest_data/dagRuns/{loaded}/taskInstances/load_data"

    def uploaded():
        lines = airflow.get(f"{task}/logs/1", full_content="true")["content"]
        return lines if LOGS in json.dumps(lines) else None

    lines = airflow.wait(uploaded, "the log to be uploaded", 60)

    assert any(f"{FILE.name}: loaded" in str(line.get("event")) for line in lines)
    local = airflow.home.glob(f"airflow/logs/dag_id=ingest_data/run_id={loaded}/task_id=load_data/*.log")
    assert [path.stat().st_size for path in local] == [0], "the bucket has the only copy"
