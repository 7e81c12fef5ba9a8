"""Migrate the metadata database to this version of Airflow, and create the administrator if there is none.

One process does both, because importing Airflow takes most of the time, and to keep the password off the command line.
"""

import sys
from pathlib import Path

from airflow.__main__ import main

COMMANDS = [
    ["db", "migrate"],
    [
        *("users", "create", "--role", "Admin", "--username", "admin", "--email", "admin@localhost"),
        *("--firstname", "Airflow", "--lastname", "Admin"),
        f"--password={Path('/run/secrets/admin_password').read_text()}",  # it may begin with a dash
    ],
]

for command in COMMANDS:
    sys.argv = ["airflow", *command]
    main()  # type: ignore[no-untyped-call] # published half typed
