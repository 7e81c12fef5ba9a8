"""Run Airflow with its web page locally, until Ctrl-C: warehouse, API server, DAG processor, scheduler, triggerer.

    python -m devtools.ui --port 8080

This process starts a supervisor in a session of its own. The supervisor starts the servers, and stops them when its
standard input closes, which happens even if this process is killed with `kill -9`.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil

from devtools import blocks
from devtools.emulators import LocalCloud
from devtools.environment import (
    CLOUD,
    LOCAL,
    LOGS,
    POSTGRES_HOME,
    ROOT,
    is_set,
    private_local,
    project_environment,
)
from devtools.run import (
    AIRFLOW,
    BUCKET,
    WITHOUT_LOG_SERVER,
    addresses,
    log_file,
    names_warehouse,
    prepare_airflow,
    tail,
    warehouse_connection,
)
from devtools.servers.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST = "127.0.0.1"
LOCK = LOCAL / "ui.lock"  # locked while any process of a UI runs; holds the pid to stop
PASSWORDS_FILE = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"
USERS = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"

# Airflow's servers, and their names in the API server's health report.
SERVERS = {
    "api-server": "metadatabase",
    "dag-processor": "dag_processor",
    "scheduler": "scheduler",
    "triggerer": "triggerer",
}
CLOSED_PORT = "1"  # asked for the logs of running tasks; nobody but root could listen there in place of a log server
UP_WITHIN_SECONDS = "600"
TASKS_END_WITHIN_SECONDS = 20
SERVERS_END_WITHIN_SECONDS = 4  # the triggerer would take ten

Servers = dict[str, subprocess.Popen[bytes]]


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="make ui", description="Airflow with its web page, until Ctrl-C.")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--remove", action="store_true", help="stop a running UI and delete the warehouse")
    parser.add_argument("--supervise", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.default_int_handler)
    if options.supervise:
        with suppress(KeyboardInterrupt):
            _supervise(options.port)
    elif options.remove:
        _stop_running()
        EmbeddedPostgres(POSTGRES_HOME).remove()
    else:
        _serve(options.port)


def _serve(port: int) -> None:
    private_local()
    with LOCK.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("the UI of this folder is already running; stop it there with Ctrl-C")
        _refuse_taken(port)
        lock.truncate(0)
        print(os.getpid(), file=lock, flush=True)
        environment = _environment(port)
        if overriding := blocks.overriding(environment):
            print(f"environment variables override what is in Admin: {', '.join(overriding)}", flush=True)
        prepare_airflow(environment)
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "devtools.ui", "--supervise", "--port", str(port)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            start_new_session=True,
            pass_fds=[lock.fileno()],
        )
        try:
            sys.exit(_wait(supervisor))
        except KeyboardInterrupt:
            print("\nstopping; press Ctrl-C again to stop without waiting for running tasks", flush=True)
        try:
            supervisor.communicate()  # closes its input
        except KeyboardInterrupt:
            supervisor.terminate()
            supervisor.wait()


def _wait(supervisor: subprocess.Popen[bytes]) -> int:
    """Return the exit code of the supervisor. A closed terminal counts as Ctrl-C; make may not pass on SIGHUP."""
    on_terminal = os.isatty(0)
    while supervisor.poll() is None:
        if on_terminal and not os.isatty(0):
            raise KeyboardInterrupt
        time.sleep(0.5)
    return supervisor.returncode


def _stop_running() -> None:
    """Stop the UI of this folder, if one runs, and wait until all of its processes have ended."""
    with suppress(FileNotFoundError), LOCK.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(lock.read()), signal.SIGTERM)
            fcntl.flock(lock, fcntl.LOCK_EX)


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            sys.exit(f"cannot use port {port}: {str(error).rstrip('.')}. Choose another: make ui PORT=8081")


def _environment(port: int) -> dict[str, str]:
    environment = project_environment(os.environ) | {"AIRFLOW__API__PORT": str(port)}
    defaults = {
        "AIRFLOW__API__BASE_URL": f"http://{HOST}:{port}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{port}/execution/",
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": CLOSED_PORT,
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": CLOSED_PORT,
        # The one user of this page may test any connection that they may edit.
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
    }
    environment |= {name: value for name, value in defaults.items() if not is_set(name, environment)}
    return environment


def _supervise(port: int) -> None:
    """Run the servers until standard input closes or one of them ends."""
    environment = dict(os.environ)
    up_within = _up_within(environment)
    passwords = _passwords(environment)
    started = time.monotonic()
    print(f"starting Airflow; logs are in {LOGS}", flush=True)
    with ExitStack() as stack:
        environment |= _targets(stack, environment, started)
        environment |= blocks.as_variables(environment)
        servers: Servers = {}
        stack.callback(_end, servers)
        for name in sorted(SERVERS.keys() - {"scheduler"}):
            servers[name] = _start(name, environment)
        for line in blocks.create(environment, again=True):  # while these start; the scheduler starts later
            print(f"  {line}", flush=True)
        awaited = set(SERVERS)
        while not select.select([sys.stdin], [], [], 0.5)[0]:
            for name, server in servers.items():
                if server.poll() is not None:
                    sys.exit(f"{name} exited with {server.returncode}; the end of its log:\n{tail(log_file(name))}")
            if not awaited:
                continue
            for name in sorted(awaited & servers.keys() & _healthy(port)):
                _say_up(name, started)
                awaited.remove(name)
                _follow(name, servers, environment)
            if not awaited:
                _say_ready(port, passwords)
            elif time.monotonic() > started + up_within:
                sys.exit(f"not healthy after {up_within} s: {', '.join(sorted(awaited))}; logs are in {LOGS}")


def _up_within(environment: Mapping[str, str]) -> int:
    """Return how many seconds the servers have to become healthy."""
    value = environment.get("UP_WITHIN_SECONDS", UP_WITHIN_SECONDS)
    if not value.isascii() or not value.isdecimal():
        sys.exit(f"UP_WITHIN_SECONDS: found {value!r}, expected a whole number of seconds")
    return int(value)


def _follow(name: str, servers: Servers, environment: Mapping[str, str]) -> None:
    """Start the servers that wait for this one: the scheduler's tasks fail without the API server."""
    if name == "api-server":
        servers["scheduler"] = _start("scheduler", environment)


def _targets(stack: ExitStack, environment: Mapping[str, str], started: float) -> dict[str, str]:
    """Start the embedded warehouse and the local cloud unless others are named; return the variables for them."""
    targets: dict[str, str] = {}
    if not names_warehouse(environment):
        warehouse = stack.enter_context(EmbeddedPostgres(POSTGRES_HOME))
        targets[blocks.WAREHOUSE_BLOCK] = warehouse_connection(warehouse)
        _say_up("warehouse", started)
    if not is_set(CLOUD, environment):
        cloud = stack.enter_context(LocalCloud(LOCAL / "cloud"))
        cloud.create_bucket(BUCKET)
        targets |= addresses(cloud.environment)
        _say_up("cloud", started)
    return targets


def _passwords(environment: Mapping[str, str]) -> Path:
    """Return the file with the users' passwords. Airflow would create it readable for others, and log its content."""
    default = Path(environment["AIRFLOW_HOME"], "simple_auth_manager_passwords.json.generated")
    file = Path(environment.get(PASSWORDS_FILE, default))
    if file == default and not file.exists() and not is_set(USERS, environment):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(json.dumps({"admin": secrets.token_hex(9)}))
    return file


def _start(name: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with log_file(name).open("w") as log:
        return subprocess.Popen(
            [*AIRFLOW, name, *WITHOUT_LOG_SERVER.get(name, [])],
            cwd=LOCAL,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,
        )


def _healthy(port: int) -> set[str]:
    """Return the servers that the API server reports as healthy; none while it does not answer."""
    try:
        report = httpx.get(f"http://{HOST}:{port}/api/v2/monitor/health", timeout=5, trust_env=False).json()
        return {name for name, reported in SERVERS.items() if report[reported]["status"] == "healthy"}
    except (httpx.HTTPError, ValueError, KeyError):
        return set()


def _say_up(name: str, started: float) -> None:
    print(f"  {name:<14}up after {time.monotonic() - started:.0f} s", flush=True)


def _say_ready(port: int, passwords: Path) -> None:
    print(f"\nhttp://{HOST}:{port}")
    print(f"http://{HOST}:{port}/dags?tags=flow shows the flows without their deployments")
    if passwords.exists():
        for user, password in json.loads(passwords.read_text() or "{}").items():
            print(f"user {user}, password {password}")
    print("Ctrl-C stops everything.", flush=True)


def _end(servers: Servers) -> None:
    """Stop the servers gracefully, so that each ends its children. Then kill what is left."""
    started_by_us = set(psutil.Process().children(recursive=True))
    for server in servers.values():
        server.terminate()
    with suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
        if scheduler := servers.get("scheduler"):  # waits for running tasks
            scheduler.wait(TASKS_END_WITHIN_SECONDS)
        _wait_for_end(started_by_us)
    left = _alive(started_by_us | _of_our_session())
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _wait_for_end(left)


def _wait_for_end(processes: set[psutil.Process]) -> None:
    deadline = time.monotonic() + SERVERS_END_WITHIN_SECONDS
    while _alive(processes) and time.monotonic() < deadline:
        time.sleep(0.1)


def _alive(processes: set[psutil.Process]) -> set[psutil.Process]:
    """Return those that still run. Zombies do not: in a container nobody may reap them, and psutil would wait."""
    alive = set()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                alive.add(process)
    return alive


def _of_our_session() -> set[psutil.Process]:
    """Return the other processes of this session, also those whose parent has ended."""
    found = set()
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == os.getsid(0) and process.pid != os.getpid():
                found.add(process)
    return found


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
