"""Airflow as it runs in earnest, on loopback, for tests and benchmarks: servers as processes, metadata in Postgres."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import psutil
import yaml

from devtools.environment import ROOT
from devtools.run import AIRFLOW, warehouse_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from devtools.servers.postgres import EmbeddedPostgres

HOST = "127.0.0.1"
ENDED = ("success", "failed")

_Answer = TypeVar("_Answer")


class Airflow:
    """Servers over a copy of the project, with deployments, a warehouse and a lake of its own.

    Args:
        home: an empty folder, or none yet; its name becomes part of the databases' names.
        postgres: runs, and gets a database for the metadata and one that is the warehouse.
        publisher: the base URL of the official files.
        deployments: what is written into deployments.yaml.
        settings: more environment variables.
    """

    def __init__(
        self,
        home: Path,
        postgres: EmbeddedPostgres,
        *,
        publisher: str,
        deployments: list[dict[str, Any]],
        **settings: str,
    ) -> None:
        self.home = home
        self.project = home / "a project"
        self.lake = home / "a lake"
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for part in ("dags", "include", "plugins"):
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
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.project / "plugins"),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{address}",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql://{address}",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            # What a killed scheduler or task leaves behind is found in seconds, not minutes.
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "2",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
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

    def start(self, servers: Sequence[str] = ("api-server", "dag-processor", "scheduler")) -> None:
        """Have these servers up; unless told otherwise, all but workers of Celery."""
        self.command("db", "migrate")
        for name in servers:
            self.start_server(name)
        self.wait(self._answers, "the API server to answer", 120)

    def start_server(self, name: str, *arguments: str) -> None:
        """Start a server by its command; what follows an @ in its name tells it from others of that command."""
        with (self.home / f"{name}.log").open("a") as log:
            self.processes[name] = subprocess.Popen(
                [*AIRFLOW, *name.partition("@")[0].split(), *arguments],
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
        """End everything, warm where that takes no more than seconds."""
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
            [*AIRFLOW, *arguments],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def wait(self, condition: Callable[[], _Answer], what: str, seconds: float = 300) -> _Answer:
        """The first truthy answer of the condition."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended: {self.log(name)}")
            if answer := condition():
                return answer
            time.sleep(0.3)
        logs = "\n\n".join(f"{name}:\n{self.log(name)}" for name in self.processes)
        raise TimeoutError(f"waited {seconds} s in vain for {what}\n{logs}")

    def log(self, name: str) -> str:
        """The end of what a server said."""
        return (self.home / f"{name}.log").read_text()[-3000:]

    def get(self, path: str, **params: str | int) -> dict[str, Any]:
        """What the REST API answers."""
        return _json(self.api.get(path, params=params))

    def post(self, path: str, **body: object) -> dict[str, Any]:
        """As `get`, of what changes something."""
        return _json(self.api.post(path, json=body))

    def unpause(self, dag_id: str) -> None:
        """Let the DAG's runs run."""
        _json(self.api.patch(f"/dags/{dag_id}", json={"is_paused": False}))

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """The last hundred runs of the DAG."""
        return list(self.get(f"/dags/{dag_id}/dagRuns", limit=100)["dag_runs"])

    def ended(self, dag_id: str, run_id: str, seconds: float = 300) -> dict[str, Any]:
        """The run, once it has ended."""

        def run() -> dict[str, Any]:
            run = self.get(f"/dags/{dag_id}/dagRuns/{run_id}")
            return run if run["state"] in ENDED else {}

        return self.wait(run, f"{dag_id} {run_id}", seconds)

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """The run's task instances, by task id."""
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


def _json(answer: httpx.Response) -> dict[str, Any]:
    if not answer.is_success:
        raise RuntimeError(f"{answer.request.method} {answer.url}: HTTP {answer.status_code}: {answer.text}")
    found: dict[str, Any] = answer.json()
    return found


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=5)
