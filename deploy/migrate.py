"""Bring the metadata database to this Airflow's version, and make the administrator where there is none.

One process for both, as most of the time goes into importing Airflow; and the password stays off the command line.
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
    main()
