"""user: a new user with a fresh clone in a folder with a space, who types rows and runs `make ui`."""

from __future__ import annotations

import getpass
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from devtools.environment import POSTGRES_HOME, ROOT
from devtools.first_hour.row import BARE, CLONE, SHOWN, Done
from devtools.servers.postgres import EmbeddedPostgres
from devtools.servers.whole_airflow import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devtools.first_hour.row import Row

HOST = "127.0.0.1"
HIDDEN = "…"
READY = "Ctrl-C stops everything."
ROW_SECONDS, UI_SECONDS = 900, 600
# What the session of a developer has, and a new user's has not.
DEVELOPERS = re.compile(r"AIRFLOW|TAXI_|MAKE|VIRTUAL_ENV|PYTHON")
KNOWN_HOSTS = (
    r"127\.0\.0\.1|localhost|github\.com|docs\.docker\.com|files\.example\.org|d37ci6vzurychx\.cloudfront\.net"
)
# A generated password, or its beginning where Airflow breaks the cell of a table; an edition has 8 digits.
GENERATED = r"\b(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{9,}\b"
OLD_PYTHON = '#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.9.2" && exit\nexit 1\n'
NO_PIP = '#!/bin/sh\n[ "$1 $2" = "-m pip" ] && echo "No module named pip" >&2 && exit 1\nexec \'{python}\' "$@"\n'


class User:
    """Types rows in a fresh clone.

    Args:
        folder: for the clones; what is there already is used again.
        web: the variables with which programs find the web.
    """

    def __init__(self, folder: Path, web: dict[str, str]) -> None:
        self.folder = folder
        self.clone = folder / "NYC taxi"
        self.bare = folder / "NYC taxi 2"
        self.tools = folder / "tools"
        self.port = free_port()
        self.own = {name: value for name, value in os.environ.items() if not DEVELOPERS.match(name)}
        self.web = web
        self.password = ""

    def arrive(self) -> None:
        """Clone the repository, and create the programs of an older or smaller machine."""
        for clone in (self.clone, self.bare):
            if not clone.exists():
                subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)  # noqa: S607 - any git
        for name, program in (("old", OLD_PYTHON), ("no-pip", NO_PIP.format(python=sys.executable))):
            path = self.tools / name / "python3"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(program)
            path.chmod(0o755)

    def type(self, row: Row) -> Done:
        """Type the row, and return what came of it; afterwards, `.env` is as it was."""
        folder = {CLONE: self.clone, BARE: self.bare}[row.where]
        started = time.monotonic()
        try:
            with socket.create_server((HOST, 0)) as other:
                taken = other.getsockname()[1]
                command = self._filled(row.command, taken)
                done = subprocess.run(
                    ["/bin/sh", "-c", command],
                    cwd=folder,
                    env=self._environment(folder),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    timeout=ROW_SECONDS,
                    check=False,
                )
        finally:
            subprocess.run(["git", "checkout", "--quiet", ".env"], cwd=folder, check=True)  # noqa: S607 - any git
        printed = self.hide(done.stdout.replace(f"port {taken}", f"port {SHOWN['{taken}']}"))
        return Done(done.returncode, printed, time.monotonic() - started)

    @contextmanager
    def ui(self) -> Iterator[Done]:
        """Run `make ui` meanwhile; what it has printed up to then is given.

        Raises:
            RuntimeError: it ended, or was not ready in time.
        """
        log, started = self.folder / "ui.log", time.monotonic()
        with log.open("w") as output:
            process = subprocess.Popen(
                ["make", "ui", f"PORT={self.port}"],  # noqa: S607 - any make
                cwd=self.clone,
                env=self._environment(self.clone),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            while READY not in log.read_text():
                if process.poll() is not None or time.monotonic() > started + UI_SECONDS:
                    raise RuntimeError(f"make ui is not ready; it printed:\n{log.read_text()}")
                time.sleep(0.5)
            printed = log.read_text()
            found = re.search(r"^user (\S+), password (\S+)", printed, re.MULTILINE)
            self.password = found[2] if found else ""
            yield Done(0, self.hide(printed), time.monotonic() - started)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            process.wait()

    def hide(self, text: str) -> str:
        """Replace the paths, ports, hosts and names of this machine, and the password."""
        for secret in filter(None, (self.password, str(self.folder), str(ROOT), str(Path.home()))):
            text = text.replace(secret, HIDDEN)
        text = text.replace(f":{self.port}", ":8080")
        text = re.sub(rf"{re.escape(HOST)}:(?!8080\b)\d+", f"{HOST}:{HIDDEN}", text)
        text = re.sub(rf"(https?://)(?!(?:{KNOWN_HOSTS})\b)[^\s/\"',;)]+", rf"\g<1>{HIDDEN}", text)
        text = re.sub(r"(?<![\w/…])/(?:etc|home|opt|root|tmp|usr|var|work)/[^\s:'\",;]*", HIDDEN, text)
        text = re.sub(rf"{re.escape(HOST)}\", port \d+", f'{HOST}", port {HIDDEN}', text)
        text = re.sub(GENERATED, HIDDEN, text)
        text = re.sub(r"\x1b\[[0-9;]*m", "", text)
        for name in {socket.gethostname(), getpass.getuser()} - {"", "airflow"}:
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", HIDDEN, text)
        return text

    def _filled(self, command: str, taken: int) -> str:
        warehouse = EmbeddedPostgres(self.clone / POSTGRES_HOME.relative_to(ROOT))
        for name, value in (("taken", taken), ("port", self.port), ("tools", self.tools)):
            command = command.replace(f"{{{name}}}", str(value))
        if "{warehouse_port}" in command:
            command = command.replace("{warehouse_port}", str(warehouse.port))
        return command

    def _environment(self, folder: Path) -> dict[str, str]:
        """Return the variables of the user's shell. The packages come from the true web."""
        is_installed = (folder / ".venv" / "requirements-dev.txt").exists()
        return self.own | (self.web if is_installed else {})
