"""Airflow as it runs in earnest, on loopback: servers as processes, metadata in Postgres, the project as bundle."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import yaml

from include.local_servers.postgres import EmbeddedPostgres
from include.local_servers.run import warehouse_connection

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
ENDED = ("success", "failed")


class Airflow:
    """Servers over a copy of the project, with deployments, a warehouse and a lake of its own."""

    def __init__(self, home: Path, postgres: EmbeddedPostgres, *, publisher: str, deployments: list[dict], **settings):
        self.home = home
        self.project = home / "a project"
        self.lake = home / "a lake"
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.processes: dict[str, subprocess.Popen] = {}
        for part in ("dags", "include"):
            shutil.copytree(ROOT / part, self.project / part)
        shutil.copy2(ROOT / ".airflowignore", self.project)
        (self.project / "include" / "deployments.yaml").write_text(yaml.safe_dump(deployments))
        metadata = f"{home.name}_metadata".replace("-", "_")
        warehouse = f"{home.name}_warehouse".replace("-", "_")
        for database in (metadata, warehouse):
            postgres.create_database(database)
        self.warehouse = postgres.conninfo(warehouse)
        address = f"{postgres.user}:{postgres.password}@{postgres.host}:{postgres.port}/{metadata}"
        target = json.loads(warehouse_connection(postgres)) | {"schema": warehouse}
        bundle = {
            "name": "nyc-taxi",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(self.project)},
        }
        callers = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        self.environment = callers | {
            "AIRFLOW_HOME": str(home / "airflow"),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__HOST": HOST,
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.project / "dags"),
            "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{address}",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql://{address}",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            # What a killed scheduler or task leaves behind is found in seconds, not minutes.
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "2",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "6",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            "AIRFLOW_CONN_TAXI_SOURCE": json.dumps({"conn_type": "http", "host": publisher}),
            "AIRFLOW_CONN_TAXI_WAREHOUSE": json.dumps(target),
            "AIRFLOW_VAR_TAXI_LAKE": f"file://{self.lake}",
            **settings,
        }
        self.api = httpx.Client(base_url=f"{self.url}/api/v2", timeout=30, trust_env=False)

    def start(self) -> None:
        """Have everything up but workers of Celery."""
        self.command("db", "migrate")
        for name in ("api-server", "dag-processor", "scheduler"):
            self.start_server(name)
        self.wait(self._answers, "the API server to answer", 120)

    def start_server(self, name: str, *arguments: str) -> None:
        with (self.home / f"{name}.log").open("a") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-P", "-m", "airflow", *name.partition("@")[0].split(), *arguments],
                cwd=self.home,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """As when the machine goes: no farewell, neither its own nor its children's."""
        process = self.processes.pop(name)
        _kill([psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)])
        process.wait()

    def stop(self) -> None:
        self.api.close()
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        started = [psutil.Process(process.pid) for process in self.processes.values() if process.poll() is None]
        every = started + [child for each in started for child in each.children(recursive=True)]
        _gone, left = psutil.wait_procs(every, timeout=5)
        _kill(left)
        for process in self.processes.values():
            process.wait()

    def command(self, *arguments: str) -> str:
        """What a command of Airflow's says; it must end well."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "airflow", *arguments],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def wait(self, condition, what: str, seconds: float = 120):
        """The first truthy answer of the condition."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} ended: {self.log(name)}"
            if answer := condition():
                return answer
            time.sleep(0.3)
        logs = "\n\n".join(f"{name}:\n{self.log(name)}" for name in self.processes)
        raise AssertionError(f"waited {seconds} s in vain for {what}\n{logs}")

    def log(self, name: str) -> str:
        return (self.home / f"{name}.log").read_text()[-3000:]

    def get(self, path: str, **params) -> dict:
        answer = self.api.get(path, params=params)
        assert answer.is_success, answer.text
        return answer.json()

    def post(self, path: str, **body) -> dict:
        answer = self.api.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def runs(self, dag_id: str) -> list[dict]:
        return self.get(f"/dags/{dag_id}/dagRuns", limit=100)["dag_runs"]

    def ended(self, dag_id: str, run_id: str, seconds: float = 120) -> dict:
        """The run, once it has ended."""

        def run():
            run = self.get(f"/dags/{dag_id}/dagRuns/{run_id}")
            return run if run["state"] in ENDED else None

        return self.wait(run, f"{dag_id} {run_id}", seconds)

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict]:
        found = self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {ti["task_id"]: ti for ti in found}

    def knows(self, dag_id: str) -> None:
        """Wait until the DAG can be run."""
        self.wait(lambda: self.api.get(f"/dags/{dag_id}").is_success, f"{dag_id} to be parsed")

    def _answers(self) -> bool:
        with suppress(httpx.HTTPError):
            token = self.api.get(f"{self.url}/auth/token")
            if token.is_success:
                self.api.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
                return True
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=5)
