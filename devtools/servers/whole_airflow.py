"""Run a complete Airflow on loopback, for tests and benchmarks: servers as processes, metadata in Postgres."""

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
import psycopg
import yaml

from devtools.environment import ROOT
from devtools.run import AIRFLOW, WITHOUT_LOG_SERVER, warehouse_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from devtools.servers.postgres import EmbeddedPostgres

HOST = "127.0.0.1"
ENDED = ("success", "failed")

SETTINGS = {
    "AIRFLOW__API__HOST": HOST,
    "AIRFLOW__API__WORKERS": "1",
    "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__PARALLELISM": "4",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    # Detect what a killed scheduler or task leaves within seconds, not minutes.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
}

_Answer = TypeVar("_Answer")


class Airflow:
    """Airflow's servers with a copy of the project, and deployments, a warehouse and a lake of their own.

    Args:
        home: an empty or missing folder; its name becomes part of the databases' names.
        postgres: a running server, which gets a database for the metadata and one as the warehouse.
        publisher: the base URL of the official files.
        deployments: the content of deployments.yaml.
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
        _copy_project(self.project, deployments)
        metadata, warehouse = (f"{home.name}_{name}".replace("-", "_") for name in ("metadata", "warehouse"))
        for database in (metadata, warehouse):
            postgres.create_database(database)
        self.metadata, self.warehouse = postgres.conninfo(metadata), postgres.conninfo(warehouse)
        callers = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        callers.pop("PYTHONDONTWRITEBYTECODE", None)  # every task would compile the bundle
        target = json.loads(warehouse_connection(postgres)) | {"schema": warehouse}
        self.environment = callers | SETTINGS | self._folders() | _servers(postgres, metadata, self.url)
        self.environment |= {
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW_CONN_TAXI_SOURCE": json.dumps({"conn_type": "http", "host": publisher}),
            "AIRFLOW_CONN_TAXI_WAREHOUSE": json.dumps(target),
            "AIRFLOW_VAR_TAXI_LAKE": f"file://{self.lake}",
            **settings,
        }
        self.api = httpx.Client(base_url=f"{self.url}/api/v2", timeout=30, trust_env=False)

    def _folders(self) -> dict[str, str]:
        bundle = {
            "name": "nyc-taxi",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(self.project)},
        }
        return {
            "AIRFLOW_HOME": str(self.home / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.project / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.project / "plugins"),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
        }

    def start(self, servers: Sequence[str] = ("api-server", "dag-processor", "scheduler")) -> None:
        """Start these servers, and wait until the API server answers."""
        self.command("db", "migrate")
        for name in servers:
            self.start_server(name, *WITHOUT_LOG_SERVER.get(name, []))
        self.wait(self._answers, "the API server to answer", 120)

    def start_server(self, name: str, *arguments: str) -> None:
        """Start a server by its command; a suffix such as `@2` distinguishes servers of the same command."""
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
        """Kill a server and its children at once, as when the machine is lost."""
        process = self.processes.pop(name)
        _kill([psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)])
        process.wait()

    def stop(self) -> None:
        """Stop all servers gracefully, and kill those that take more than seconds."""
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
        """Run a command of Airflow, and return its output; raise if it fails."""
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
        """Wait for the condition to be truthy, and return its value."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} exited: {self.log(name)}")
            if answer := condition():
                return answer
            time.sleep(0.3)
        logs = "\n\n".join(f"{name}:\n{self.log(name)}" for name in self.processes)
        raise TimeoutError(f"waited {seconds} s for {what}\n{logs}")

    def log(self, name: str) -> str:
        """Return the end of a server's log."""
        return (self.home / f"{name}.log").read_text()[-3000:]

    def get(self, path: str, **params: str | int) -> dict[str, Any]:
        """Send a GET request to the REST API, and return the answer."""
        return _json(self.api.get(path, params=params))

    def post(self, path: str, **body: object) -> dict[str, Any]:
        """Send a POST request to the REST API, and return the answer."""
        return _json(self.api.post(path, json=body))

    def unpause(self, dag_id: str) -> None:
        """Unpause a DAG."""
        _json(self.api.patch(f"/dags/{dag_id}", json={"is_paused": False}))

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the last hundred runs of the DAG."""
        return list(self.get(f"/dags/{dag_id}/dagRuns", limit=100)["dag_runs"])

    def ended(self, dag_id: str, run_id: str, seconds: float = 300) -> dict[str, Any]:
        """Wait for the run to end, and return it."""

        def run() -> dict[str, Any]:
            run = self.get(f"/dags/{dag_id}/dagRuns/{run_id}")
            return run if run["state"] in ENDED else {}

        return self.wait(run, f"{dag_id} {run_id}", seconds)

    def ended_runs(self, dag_id: str, run_type: str) -> dict[str, str]:
        """Return the states of a Dag's ended runs, by run id, from the database: asking the API would cost it CPU."""
        with psycopg.connect(self.metadata) as connection:
            found = connection.execute(
                "SELECT run_id, state FROM dag_run WHERE dag_id = %s AND run_type = %s AND state = ANY(%s)",
                (dag_id, run_type, sorted(ENDED)),
            )
            return dict(found.fetchall())

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Return the run's task instances, by task id."""
        found = self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {ti["task_id"]: ti for ti in found}

    def knows(self, dag_id: str) -> None:
        """Wait until Airflow knows the DAG."""
        self.wait(lambda: self.api.get(f"/dags/{dag_id}").is_success, f"{dag_id} to be parsed")

    def _answers(self) -> bool:
        with suppress(httpx.HTTPError):
            token = self.api.get(f"{self.url}/auth/token")
            if token.is_success:
                self.api.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
                return True
        return False


def _copy_project(folder: Path, deployments: list[dict[str, Any]]) -> None:
    for part in ("dags", "include", "plugins"):
        shutil.copytree(ROOT / part, folder / part)
    shutil.copy2(ROOT / ".airflowignore", folder)
    (folder / "include" / "deployments.yaml").write_text(yaml.safe_dump(deployments))


def _servers(postgres: EmbeddedPostgres, metadata: str, url: str) -> dict[str, str]:
    """Return the settings for the metadata database, the API server at this URL, and their secrets."""
    database = f"{postgres.user}:{postgres.password}@{postgres.host}:{postgres.port}/{metadata}"
    return {
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql://{database}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
    }


def _json(answer: httpx.Response) -> dict[str, Any]:
    if not answer.is_success:
        raise RuntimeError(f"{answer.request.method} {answer.url}: HTTP {answer.status_code}: {answer.text}")
    found: dict[str, Any] = answer.json()
    return found


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=5)
