"""The blocks: the connections and Variables that the flows need, in Airflow's database, where people can edit them.

The settings `TAXI_SOURCE` and so on describe them, and include.orchestration.blocks creates them. In a database that is
not this project's, nothing is created: there Airflow gets them as environment variables.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from devtools import metadata
from devtools.emulators.private import write_private
from devtools.environment import AIRFLOW_HOME, LOGS, ROOT, line_of
from include.orchestration.blocks import BEFORE, CONNECTIONS, MARK, OVERRIDING, VARIABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

WAREHOUSE_BLOCK = "TAXI_WAREHOUSE"
PROGRAM = "include.orchestration.blocks"
_CREATED = AIRFLOW_HOME / "blocks.json"  # where the embedded warehouse was when they were created
_DATABASE_CREATED = AIRFLOW_HOME / "migrated-to"
# What Airflow calls each of them in the environment.
_VARIABLES = {name.upper(): f"AIRFLOW_CONN_{name.upper()}" for name in CONNECTIONS} | {
    name.upper(): f"AIRFLOW_VAR_{name.upper()}" for name in VARIABLES
}


def create(environment: Mapping[str, str], *, again: bool = False) -> list[str]:
    """Create the blocks that are missing in this project's database, if they are due; return lines for people.

    Args:
        environment: describes them.
        again: look for missing ones even if an earlier call has created them.
    """
    if not metadata.is_own(environment):
        return []
    with (AIRFLOW_HOME / "blocks.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not again and not are_due(environment):  # another process was faster
            return []
        lines = _run(environment)
        write_private(_CREATED, json.dumps(environment.get(WAREHOUSE_BLOCK)))
    return lines


def are_due(environment: Mapping[str, str]) -> bool:
    """Whether the database may lack blocks, or has another address of the embedded warehouse than it has now."""
    if not metadata.is_own(environment):
        return False
    try:
        if _CREATED.stat().st_mtime_ns < _DATABASE_CREATED.stat().st_mtime_ns:
            return True
    except FileNotFoundError:
        return True
    return environment.get(WAREHOUSE_BLOCK, _before()) != _before()


def as_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that give Airflow the blocks if its database is not this project's."""
    if metadata.is_own(environment):
        return {}
    return {
        theirs: environment[ours]
        for ours, theirs in _VARIABLES.items()
        if environment.get(ours) and theirs not in environment
    }


def overriding(environment: Mapping[str, str]) -> list[str]:
    """Return the environment variables that Airflow uses in place of blocks, and where each is set."""
    return [f"{name} ({_origin(name)})" for name in _VARIABLES.values() if name in environment]


def _origin(name: str) -> str:
    if name in os.environ:
        return "set in the shell"
    return f".env line {line_of(name)}"


def _before() -> str | None:
    try:
        found = json.loads(_CREATED.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, str) else None


def _run(environment: Mapping[str, str]) -> list[str]:
    """Run the program, as Airflow takes seconds to import; return its lines for people."""
    before = {WAREHOUSE_BLOCK + BEFORE: found} if (found := _before()) else {}
    log = LOGS / "blocks.log"
    done = subprocess.run(
        [sys.executable, "-m", PROGRAM],
        cwd=ROOT,
        env={name: value for name, value in environment.items() if name != OVERRIDING} | before,
        capture_output=True,
        text=True,
        check=False,
    )
    write_private(log, done.stdout + done.stderr)
    if done.returncode:
        problem = done.stderr.strip().rpartition("\n")[2].removeprefix(MARK)
        sys.exit(f"cannot create the connections in Airflow's database: {problem or 'no reason given'}; see {log}")
    return [line.removeprefix(MARK) for line in done.stdout.splitlines() if line.startswith(MARK)]
