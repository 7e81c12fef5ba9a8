"""Migrate the metadata database to this version of Airflow, and create the administrator if there is none.

    migrate.py /run/secrets/admin_password /run/secrets/blocks

Then it creates those connections and Variables of the flows that the second file describes and that are missing. It
also lets the roles Viewer and User list plugins, because Airflow shows the entry of the coverage page only to users who
may. One process does all this, because importing Airflow takes most of the time, and to keep the password off the
command line.
"""

import json
import os
import runpy
import sys
from pathlib import Path

from airflow.__main__ import main


def commands(password: str) -> list[list[str]]:
    """Return the arguments of Airflow's commands, in order."""
    return [
        ["db", "migrate"],
        [
            *("users", "create", "--role", "Admin", "--username", "admin", "--email", "admin@localhost"),
            *("--firstname", "Airflow", "--lastname", "Admin"),
            f"--password={password}",  # it may begin with a dash
        ],
        ["roles", "add-perms", "Viewer", "User", "--resource", "Plugins", "--action", "can_read"],
    ]


if __name__ == "__main__":
    password, blocks = (Path(name).read_text() for name in sys.argv[1:])
    for command in commands(password):
        sys.argv = ["airflow", *command]
        main()  # type: ignore[no-untyped-call] # published half typed
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    os.environ.update(json.loads(blocks))  # of this process alone: the container's environment has no passwords
    runpy.run_module("include.orchestration.blocks", run_name="__main__")
