"""Run Airflow's command line, or psql, with this project's settings.

    python -m devtools.run airflow dags test etl_web_to_gcs 2021-01-01
    python -m devtools.run psql -c 'select 1'

The command replaces this process, so that it gets the signals and the terminal, and its exit code is returned. Before
that, the metadata database is created if it is missing, and the embedded Postgres and the local cloud are started for
commands that run tasks.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, NoReturn

from devtools import blocks, metadata
from devtools import environment as project
from devtools.blocks import WAREHOUSE_BLOCK
from devtools.emulators.private import private_folder
from devtools.environment import (
    AIRFLOW_HOME,
    CLOUD,
    LOCAL,
    LOGS,
    POSTGRES_HOME,
    ROOT,
    WAREHOUSE,
)
from devtools.quiet import AIRFLOWS_LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from devtools.servers.postgres import EmbeddedPostgres

# -P keeps the current folder off the import path, where its `include` would hide that of a versioned bundle.
AIRFLOW = [sys.executable, "-P", "-m", "airflow"]
QUIET_AIRFLOW = [sys.executable, "-P", str(ROOT / "devtools" / "quiet.py")]

# On one machine the API server reads logs from disk. Airflow's log servers would listen on all addresses.
WITHOUT_LOG_SERVER = {"scheduler": ["--skip-serve-logs"], "triggerer": ["--skip-serve-logs"]}
USES_SERVERS = {
    ("api-server",),  # serves the coverage page
    ("celery", "worker"),
    ("connections", "test"),
    ("dags", "test"),
    ("scheduler",),
    ("standalone",),
    ("tasks", "test"),
}
# They run tasks themselves, so a scheduler must not know of their runs.
RUNS_TASKS_ALONE = {("dags", "test"), ("tasks", "test")}
NAMESPACE_LEVELS = "AIRFLOW__LOGGING__NAMESPACE_LEVELS"
LOG_LEVEL = "AIRFLOW__LOGGING__LOGGING_LEVEL"
BUCKET = "nyc-taxi"
NEEDS_NO_AIRFLOW = {"--lake", "-h", "--help"}
NEEDS_NO_DATABASE = {"cheat-sheet", "config", "db", "info", "providers", "version"}

# One process for both, because importing Airflow takes most of the time. Errors in DAG files are ignored here.
MIGRATE = """
import contextlib, sys
from airflow.__main__ import main
sys.argv = ["airflow", "db", "migrate"]
main()
sys.argv = ["airflow", "dags", "reserialize"]
with contextlib.suppress(Exception, SystemExit):
    main()
"""


def main(arguments: Sequence[str]) -> NoReturn:
    """Become the command, or print how to call this program."""
    project.private_local()
    try:
        match arguments:
            case ["airflow", *rest]:
                _become_airflow(rest)
            case ["psql", *rest]:
                _become_psql(rest)
            case ["status", *rest]:
                _become_program("include.orchestration.status", rest)
            case ["sql", *rest]:
                _become_sql(rest)
            case ["answers", *rest]:
                _become_program("include.orchestration.answers", rest)
            case ["metrics", *rest]:
                # At each look Airflow would warn of the underscore in the name of a connection type, which is its own.
                os.environ.setdefault(NAMESPACE_LEVELS, "airflow.models.connection=ERROR")
                _become_program("include.orchestration.exporter", rest)
            case ["prune", *rest]:
                _become_program("include.orchestration.editions", rest)
            case ["keep-warehouse"]:
                _keep_warehouse()
            case _:
                sys.exit("usage: python -m devtools.run airflow|answers|metrics|psql|sql|status|prune [ARGUMENT ...]")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def prepare_airflow(environment: Mapping[str, str]) -> None:
    """Create secrets and metadata database in this project's AIRFLOW_HOME, once per Airflow version.

    The DAGs are written to the database too, so that `airflow dags list` and `airflow dags trigger` know them. Another
    AIRFLOW_HOME or database is left alone.
    """
    if not metadata.is_own(environment):
        return
    private_folder(AIRFLOW_HOME)
    stamp = AIRFLOW_HOME / "migrated-to"
    airflow = version("apache-airflow-core")
    with (AIRFLOW_HOME / "migrate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        migrated_to = stamp.read_text() if stamp.exists() and metadata.DATABASE.exists() else None
        if migrated_to == airflow:
            return
        print("creating Airflow's metadata database (once, about ten seconds)", file=sys.stderr, flush=True)
        if migrated_to is None:
            for part in AIRFLOW_HOME.glob("airflow.db*"):  # an interrupted migration cannot be continued
                part.unlink()
        _make_secrets(AIRFLOW_HOME / "airflow.cfg")
        log = log_file("migrate")
        with log.open("w") as output:
            done = subprocess.run(
                [sys.executable, "-P", "-c", MIGRATE],
                env=environment,
                stdout=output,
                stderr=output,
                check=False,
                pass_fds=[lock.fileno()],  # if this process is killed, the child keeps the lock until it ends
            )
        if done.returncode:
            sys.exit(f"cannot create the metadata database; the end of {log}:\n{tail(log)}")
        stamp.write_text(airflow)


def warehouse_connection(server: EmbeddedPostgres) -> str:
    """Return the Airflow connection to a running embedded Postgres, in JSON."""
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": server.host,
            "port": server.port,
            "login": server.user,
            "password": server.password,
            "schema": server.database,
        }
    )


def names_warehouse(environment: Mapping[str, str]) -> bool:
    """Whether the caller or `.env` names another warehouse than the embedded one."""
    return project.is_set(WAREHOUSE, environment) or bool(environment.get(WAREHOUSE_BLOCK))


def addresses(cloud: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a local cloud without its connection, which is a block."""
    return {name: value for name, value in cloud.items() if name != CLOUD}


def keep_warehouse() -> EmbeddedPostgres:
    """Keep the embedded Postgres running as long as this process and its forks, also after an exec.

    A second process uses the server until a socket closes that only this process and its forks hold open. So even
    `kill -9` stops the server.
    """
    from devtools.servers.postgres import EmbeddedPostgres

    log = log_file("warehouse")
    ours, keepers = socket.socketpair()
    with log.open("w") as errors, keepers:
        subprocess.Popen(
            [sys.executable, "-m", "devtools.run", "keep-warehouse"],
            cwd=ROOT,
            stdin=keepers.fileno(),
            stdout=keepers.fileno(),
            stderr=errors,
            start_new_session=True,  # Ctrl-C must not reach it
        )
    if not ours.recv(1):
        sys.exit(f"the embedded Postgres did not start; the end of {log}:\n{tail(log)}")
    ours.set_inheritable(True)
    ours.detach()
    return EmbeddedPostgres(POSTGRES_HOME)


def keep_cloud() -> Mapping[str, str]:
    """Keep the local cloud running as long as this process, and return the variables that point to it."""
    from devtools.emulators import LocalCloud

    cloud = LocalCloud(LOCAL / "cloud").keep()
    cloud.create_bucket(BUCKET)
    return cloud.environment


def log_file(name: str) -> Path:
    """Return the path for the log of a program."""
    private_folder(LOGS)
    return LOGS / f"{name}.log"


def tail(log: Path) -> str:
    """Return the end of a log, for people."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def _become_airflow(arguments: Sequence[str]) -> NoReturn:
    environment = project.project_environment(os.environ)
    if arguments and {"-h", "--help"}.isdisjoint(arguments) and arguments[0] not in NEEDS_NO_DATABASE:
        prepare_airflow(environment)
        uses_servers = not USES_SERVERS.isdisjoint([tuple(arguments[:1]), tuple(arguments[:2])])
        _provide(environment, uses_servers=uses_servers)
        if tuple(arguments[:2]) in RUNS_TASKS_ALONE:
            environment |= metadata.copied(environment)
            if {"-v", "--verbose"}.isdisjoint(arguments) and not project.is_set(LOG_LEVEL, environment):
                _become_quiet_airflow(arguments, environment)
    skipping = WITHOUT_LOG_SERVER.get(arguments[0], []) if arguments else []
    _become([*AIRFLOW, *arguments, *skipping], environment)


def _become_quiet_airflow(arguments: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Become Airflow's command line with the lines of this bundle, and of Airflow's own only warnings and errors."""
    levels = " ".join(f"{name}={level}" for name, level in AIRFLOWS_LEVELS.items())
    _become([*QUIET_AIRFLOW, *arguments], {NAMESPACE_LEVELS: levels, **environment})


def _provide(environment: dict[str, str], *, uses_servers: bool) -> None:
    """Start the servers that the command uses, and have the flows' connections where Airflow looks for them."""
    if (uses_servers or blocks.are_due(environment)) and not names_warehouse(environment):
        environment[WAREHOUSE_BLOCK] = warehouse_connection(keep_warehouse())
    if uses_servers and not project.is_set(CLOUD, environment):
        environment |= addresses(keep_cloud())
    environment |= blocks.as_variables(environment)
    for line in blocks.create(environment):
        print(line, file=sys.stderr, flush=True)


def _become_program(module: str, arguments: Sequence[str]) -> NoReturn:
    environment = project.project_environment(os.environ)
    prepare_airflow(environment)
    _provide(environment, uses_servers=True)
    os.chdir(ROOT)
    _become([sys.executable, "-m", module, *arguments], environment)


def _become_psql(arguments: Sequence[str]) -> NoReturn:
    environment = project.project_environment(os.environ)
    if names_warehouse(environment):
        sys.exit(f"{WAREHOUSE} or {WAREHOUSE_BLOCK} names another warehouse: connect to it with your own psql")
    server = keep_warehouse()
    _become([*server.psql_command(), *arguments], environment | server.psql_environment())


def _become_sql(arguments: Sequence[str]) -> NoReturn:
    """Become the prompt for the lake, which needs Airflow only to know where the lake is, and no warehouse."""
    environment = project.project_environment(os.environ)
    if not any(argument.split("=")[0] in NEEDS_NO_AIRFLOW for argument in arguments):
        prepare_airflow(environment)
        _provide(environment, uses_servers=False)
        if (LOCAL / "cloud").exists() and not project.is_set(CLOUD, environment):
            environment |= addresses(keep_cloud())  # a lake of an earlier run may lie there
    _become([sys.executable, "-m", "include.orchestration.lake_sql", *arguments], environment)


def _become(command: list[str], environment: Mapping[str, str]) -> NoReturn:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would keep it ignored
    os.execve(command[0], command, environment)


def _keep_warehouse() -> NoReturn:
    from devtools.servers.postgres import EmbeddedPostgres

    with EmbeddedPostgres(POSTGRES_HOME):
        print(flush=True)
        sys.stdin.read()
    sys.exit()


def _make_secrets(config: Path) -> None:
    """Write an airflow.cfg with generated keys only; Airflow would write one that freezes its defaults."""
    if config.exists():
        return
    new = config.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(
        "# Generated keys. You can add other settings here.\n"
        f"[core]\nfernet_key = {base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}\n"
        f"[api]\nsecret_key = {secrets.token_hex(32)}\n"
        f"[api_auth]\njwt_secret = {secrets.token_hex(64)}\n"
    )
    new.rename(config)


if __name__ == "__main__":
    main(sys.argv[1:])
