"""Migrate the metadata database to this version of Airflow, and create its users if they are missing.

    migrate.py /run/secrets/admin_password /run/secrets/metrics_password /run/secrets/blocks

The users are `admin`, and `metrics`, which may look and is the login of the exporter of metrics.
Then it creates those connections and Variables of the flows that the last file describes and that are missing. It also
lets the roles Viewer and User list plugins, because Airflow shows the entry of the coverage page only to users who may.
One process does all this, because importing Airflow takes most of the time, and to keep the passwords off the command
line.
"""

import json
import os
import runpy
import sys
from pathlib import Path

from airflow.__main__ import main


def commands(admin_password: str, metrics_password: str) -> list[list[str]]:
    """Return the arguments of Airflow's commands, in order."""
    return [
        ["db", "migrate"],
        _create("admin", "Admin", admin_password),
        _create("metrics", "Viewer", metrics_password),
        ["roles", "add-perms", "Viewer", "User", "--resource", "Plugins", "--action", "can_read"],
    ]


def _create(user: str, role: str, password: str) -> list[str]:
    return [
        *("users", "create", "--role", role, "--username", user, "--email", f"{user}@localhost"),
        *("--firstname", "Airflow", "--lastname", user.title()),
        f"--password={password}",  # it may begin with a dash
    ]


if __name__ == "__main__":
    *passwords, blocks = (Path(name).read_text() for name in sys.argv[1:])
    for command in commands(*passwords):
        sys.argv = ["airflow", *command]
        main()  # type: ignore[no-untyped-call] # published half typed
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    os.environ.update(json.loads(blocks))  # of this process alone: the container's environment has no passwords
    runpy.run_module("include.orchestration.blocks", run_name="__main__")
