"""The environment variables for Airflow in this project: those of the caller, those of `.env`, and defaults.

The caller's override `.env`, which overrides the defaults: `AIRFLOW_HOME=/elsewhere bin/airflow info` works.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from devtools import settings_file
from devtools.emulators.private import OWNERS_ONLY, private_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = ROOT / ".env"
LOCAL = ROOT / ".local"
AIRFLOW_HOME = LOCAL / "airflow"
LOGS = LOCAL / "logs"
POSTGRES_HOME = LOCAL / "postgres"

PASSED_THROUGH = 0o711  # others can open what they know by name, and is not closed itself
LOOPBACK = "127.0.0.1"
BUNDLE = "nyc-taxi"
METADATA_DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
WAREHOUSE = "AIRFLOW_CONN_TAXI_WAREHOUSE"
CLOUD = "AIRFLOW_CONN_TAXI_GCP"


def project_environment(caller: Mapping[str, str]) -> dict[str, str]:
    """Return all variables for a command of this project.

    They name a warehouse only if the caller or `.env` does, because the port of the embedded Postgres is known only
    when it runs. A line of `.env` or a connection that cannot be read ends the program.
    """
    environment = dict(caller)
    for defaults in (_settings_file(caller), _defaults()):
        environment |= {name: value for name, value in defaults.items() if not is_set(name, environment)}
    for name in ("NO_PROXY", "no_proxy"):  # proxies cannot reach servers on loopback
        environment[name] = ",".join(filter(None, [environment.get(name), LOOPBACK]))
    programs = str(Path(sys.executable).parent)
    path = environment.get("PATH", os.defpath).split(os.pathsep)
    if programs not in path:  # `airflow standalone` searches it for `airflow`
        environment["PATH"] = os.pathsep.join([programs, *path])
    return environment


def private_local() -> None:
    """Create `.local`, with keys, passwords, logs and data in it, and close it to other users."""
    # A Postgres that root has started runs as `nobody`, and must still reach its files.
    is_passed_through = os.geteuid() == 0 and (POSTGRES_HOME / "data").exists()
    private_folder(LOCAL, PASSED_THROUGH if is_passed_through else OWNERS_ONLY)


def is_set(name: str, environment: Mapping[str, str]) -> bool:
    """Whether a setting has a value under any of the names that Airflow accepts for it."""
    return any(name + suffix in environment for suffix in ("", "_CMD", "_SECRET"))


def line_of(name: str) -> int | None:
    """Return the number of the line of `.env` that sets a name."""
    return next((line.number for line in reversed(settings_file.lines(SETTINGS)) if line.name == name), None)


def _settings_file(caller: Mapping[str, str]) -> dict[str, str]:
    try:
        lines = settings_file.lines(SETTINGS)
    except ValueError as error:
        sys.exit(str(error))
    if found := settings_file.problems(SETTINGS, lines) + settings_file.problems_of(caller):
        sys.exit("\n".join(found))
    return settings_file.values(lines)


def _defaults() -> dict[str, str]:
    bundle = {
        "name": BUNDLE,
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(ROOT), "refresh_interval": 30},
    }
    return {
        "AIRFLOW_HOME": str(AIRFLOW_HOME),
        # The bundle is the whole tree, so that DAG files can import `include`; .airflowignore excludes all but dags/.
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": str(max(4, 2 * (os.cpu_count() or 1))),
        "AIRFLOW__API__HOST": "127.0.0.1",
        # Airflow warns of both at every start, and neither matters to users.
        "PYTHONWARNINGS": "ignore:Could not import graphviz,ignore:GitWildMatchPattern",
    } | _homes_of_targets()


def _homes_of_targets() -> dict[str, str]:
    """Return what describes the connections, and the Variable, of the targets that need no server."""
    from include.nyc_taxi import targets

    homes = {target.connection.upper(): target.home(LOCAL) for target in targets.every()}
    return {name: home for name, home in homes.items() if home is not None}
