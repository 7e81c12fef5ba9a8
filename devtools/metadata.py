"""metadata: a copy of Airflow's metadata database for a command that runs tasks by itself.

`airflow dags test` records its run as a running one, and so does the demo. In a database that a scheduler uses too,
that scheduler would take the run's tasks, and run them with other settings. So such a command gets a copy of the
database, with its connections, variables and Dags, and no one else sees its run.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from devtools.emulators.private import private_folder
from devtools.environment import AIRFLOW_HOME, METADATA_DATABASE, is_set

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DATABASE = AIRFLOW_HOME / "airflow.db"
COPIES = AIRFLOW_HOME / "copies"


def is_own(environment: Mapping[str, str]) -> bool:
    """Whether Airflow's metadata database is this project's, and not one that the caller names."""
    return environment["AIRFLOW_HOME"] == str(AIRFLOW_HOME) and not is_set(METADATA_DATABASE, environment)


def copied(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for a command that must not share the metadata database.

    The copy is this process's until it ends, also after an exec; the next call deletes it then. A database that the
    caller names is shared.
    """
    if not is_own(environment):
        return {}
    private_folder(COPIES)
    with (COPIES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _delete_unused()
        copy = COPIES / f"{os.getpid()}.db"
        held = os.open(copy.with_suffix(".used"), os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(held, fcntl.LOCK_EX)
        os.set_inheritable(held, True)
    with closing(sqlite3.connect(DATABASE)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return {METADATA_DATABASE: f"sqlite:///{copy}"}


def _delete_unused() -> None:
    """Delete the copies whose processes have ended, which their locks tell."""
    for used in COPIES.glob("*.used"):
        with used.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _delete(used)


def _delete(used: Path) -> None:
    for part in COPIES.glob(f"{used.stem}.*"):
        part.unlink(missing_ok=True)
