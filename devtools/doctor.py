"""Check what the project needs, and print a line for each with what to do.

    python -m devtools.doctor --port 8080

A line begins with `ok`, with `problem`, or with `note` for what only some commands need. Exits with 1 if there is a
problem. Before the installation it checks what the installation needs, with any Python from 3.8.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib.util
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[1]
OK, PROBLEM, NOTE = "ok", "problem", "note"
OLDEST, NEWEST = (3, 11), (3, 14)
VENV_GIGABYTES, DATA_GIGABYTES = 2.6, 1.0
OLDEST_COMPOSE = 2
CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
# The stack's ports on this machine, by the settings that change them.
STACK_PORTS = {"API_PORT": 8080, "WAREHOUSE_PORT": 5432, "FLOWER_PORT": 5555, "PGADMIN_PORT": 5050}
ANSWERS_SECONDS = 240


class Finding(NamedTuple):
    """What a check has found: `ok`, `problem` or `note`, and a line for people with what to do."""

    state: str
    text: str

    def __str__(self) -> str:
        return f"{self.state:<9}{self.text}"


def main() -> None:
    """Print a line for each check. Exit with 1 if there is a problem."""
    parser = argparse.ArgumentParser(prog="make doctor", description="Check what this project needs.")
    parser.add_argument("--port", type=int, default=STACK_PORTS["API_PORT"], help="the port of make ui")
    port = parser.parse_args().port
    is_well = True
    for finding in every(ROOT, port, os.environ):
        print(finding, flush=True)
        is_well = is_well and finding.state != PROBLEM
    sys.exit(0 if is_well else 1)


def every(root: Path, port: int, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Check everything, the quick things first."""
    is_installed = (root / ".venv" / "requirements-dev.txt").is_file()
    yield python(sys.version_info[:2], sys.executable)
    if not is_installed:
        yield from installers()
    yield installation(root)
    yield disk(root, is_installed=is_installed)
    yield from certificates(environment)
    lines = settings(root) if is_installed else [Finding(NOTE, ".env is checked once the packages are installed")]
    yield from lines
    engine = docker()
    yield from engine
    yield local_port(root, port)
    if all(each.state == OK for each in engine):
        yield from stack_ports(root, environment)
    if is_installed and all(line.state == OK for line in lines):
        yield from answers(root)
    else:
        yield Finding(NOTE, "whether sources, lake, warehouse and cloud answer is checked once the above is well")


def python(version: tuple[int, ...], program: str) -> Finding:
    """Check the version of the Python that runs this, which is that of .venv if there is one."""
    found = ".".join(map(str, version))
    if OLDEST <= version <= NEWEST:
        return Finding(OK, f"Python {found}")
    wanted = "3.11, 3.12, 3.13 or 3.14"
    return Finding(PROBLEM, f"Python {found} is {program}; expected {wanted}: make install PYTHON=python3.13")


def installers() -> Iterator[Finding]:
    """Check that pip and venv can make .venv."""
    missing = [name for name in ("pip", "venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if {"pip", "venv"} & set(missing):
        names = " and ".join(name for name in missing if name != "ensurepip")
        yield Finding(
            PROBLEM, f"{sys.executable} has no {names}; on Debian and Ubuntu: apt install python3-pip python3-venv"
        )
    else:
        yield Finding(OK, "pip and venv")
    absent = [name for name in ("make", "git") if shutil.which(name) is None]
    if absent:
        yield Finding(PROBLEM, f"{' and '.join(absent)} not found; install it with your system's package manager")
    else:
        yield Finding(OK, "make and git")


def installation(root: Path) -> Finding:
    """Check that .venv has the locked packages."""
    lock, installed = root / "requirements-dev.txt", root / ".venv" / "requirements-dev.txt"
    if not installed.is_file():
        return Finding(NOTE, "the packages are not installed in .venv; any target of make installs them: make install")
    if lock.read_bytes() != installed.read_bytes():
        return Finding(NOTE, "the packages in .venv are older than requirements-dev.txt; update them: make install")
    return Finding(OK, "the packages in .venv are those of requirements-dev.txt")


def disk(root: Path, *, is_installed: bool) -> Finding:
    """Check that the folder's disk has room for what is still to come."""
    needed = DATA_GIGABYTES if is_installed else VENV_GIGABYTES + DATA_GIGABYTES
    what = "data" if is_installed else f".venv ({VENV_GIGABYTES} GB) and data"
    free = shutil.disk_usage(root).free / 1e9
    if free < needed:
        return Finding(
            PROBLEM, f"disk of {root}: {free:.1f} GB free; expected {needed:.1f} GB for {what}: free some, or move it"
        )
    return Finding(OK, f"disk: {free:.0f} GB free; {what} needs {needed:.1f} GB")


def certificates(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Check the files with certificate authorities that the environment names, for proxies that encrypt anew."""
    named: dict[str, list[str]] = {}
    for name in CERTIFICATES:
        if environment.get(name):
            named.setdefault(environment[name], []).append(name)
    for path, names in named.items():
        setting = f"{', '.join(names)}={path}"
        try:
            ssl.create_default_context().load_verify_locations(cafile=path)
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror if isinstance(error, FileNotFoundError) else "no certificates in PEM format"
            yield Finding(PROBLEM, f"{setting}: {reason}; expected your authorities' file, or unset {', '.join(names)}")
        else:
            yield Finding(OK, f"certificates: {setting}")
    if not named:
        yield Finding(OK, "certificates: the usual authorities; to add one of your network, set SSL_CERT_FILE")


def settings(root: Path) -> list[Finding]:
    """Check the lines of `.env`."""
    from devtools import settings_file

    file = root / ".env"
    try:
        lines = settings_file.lines(file)
    except ValueError as error:
        return [Finding(PROBLEM, str(error))]
    known = _documented(root)
    wrong = settings_file.problems(file, lines) + settings_file.unlikely(file, lines, known)
    wrong += settings_file.problems_of(os.environ)
    if wrong:
        return [Finding(PROBLEM, text) for text in wrong]
    return [Finding(OK, f".env: {len(lines)} settings")]


def _documented(root: Path) -> set[str]:
    """Return the settings that the documentation lists, and those that override connections and Variables."""
    from include.orchestration import blocks

    text = "".join((root / "docs" / name).read_text(encoding="utf-8") for name in ("settings.md", "stack.md"))
    named = {
        name for row in re.findall(r"^\| (`[A-Z].*?) \|", text, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    overriding = {f"AIRFLOW_CONN_{name.upper()}" for name in (*blocks.CONNECTIONS, "taxi_git")}
    return named | overriding | {f"AIRFLOW_VAR_{name.upper()}" for name in blocks.VARIABLES}


def docker() -> list[Finding]:
    """Check the Docker engine and Compose, which only the stack needs."""
    if shutil.which("docker") is None:
        return [Finding(NOTE, "Docker is not installed; only make up needs it: https://docs.docker.com/engine/install")]
    version, error = _printed("docker", "version", "--format", "{{.Server.Version}}")
    if version is None:
        return [Finding(NOTE, f"Docker does not answer ({error}); for make up, start it, and join the group docker")]
    compose, _ = _printed("docker", "compose", "version", "--short")
    major = re.match(r"v?(\d+)", compose or "")
    if major is None or int(major[1]) < OLDEST_COMPOSE:
        wanted = "expected Compose v2 for make up: https://docs.docker.com/compose/install"
        return [Finding(NOTE, f"Docker {version} with Compose {compose or 'missing'}; {wanted}")]
    return [Finding(OK, f"Docker {version} with Compose {compose}")]


def _printed(*command: str) -> tuple[str | None, str]:
    """Return what a command prints, None if it fails, and the end of its errors."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, type(error).__name__
    errors = done.stderr.strip().splitlines() or ["no reason given"]
    return (done.stdout.strip() if done.returncode == 0 else None), errors[-1]


def local_port(root: Path, port: int) -> Finding:
    """Check that `make ui` can listen on its port, or already does."""
    if _can_listen(port):
        return Finding(OK, f"port {port} is free for make ui")
    if _runs_here(root):
        return Finding(OK, f"port {port} is in use, and a make ui of this folder runs")
    return Finding(PROBLEM, f"port {port} is taken by another program; choose another: make ui PORT={port + 1}")


def stack_ports(root: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Check the ports that the stack opens on this machine, unless it runs."""
    running, _ = _printed("docker", "compose", "--project-directory", str(root), "--profile", "*", "ps", "--quiet")
    if running:
        yield Finding(OK, "the stack of this folder runs, with its ports")
        return
    chosen = {name: int(environment.get(name) or port) for name, port in STACK_PORTS.items()}
    taken = {name: port for name, port in chosen.items() if not _can_listen(port)}
    for name, port in taken.items():
        yield Finding(PROBLEM, f"port {port} is taken by another program; for make up: make up {name}={port + 10000}")
    if not taken:
        yield Finding(OK, f"ports {', '.join(map(str, chosen.values()))} are free for make up")


def _can_listen(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def _runs_here(root: Path) -> bool:
    """Whether a process of `make ui` holds its lock."""
    with suppress(FileNotFoundError), (root / ".local" / "ui.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def answers(root: Path) -> Iterator[Finding]:
    """Ask sources, lake, warehouse and cloud, through the connections that tasks use."""
    command = [sys.executable, "-m", "devtools.run", "answers"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=ANSWERS_SECONDS)
    except subprocess.TimeoutExpired:
        yield Finding(PROBLEM, f"sources, lake, warehouse and cloud: no answer within {ANSWERS_SECONDS} s; try again")
        return
    found = re.findall(rf"^({OK}|{PROBLEM}|{NOTE}) +(.+)$", done.stdout, re.MULTILINE)
    yield from (Finding(state, text) for state, text in found)
    if not found or (done.returncode and PROBLEM not in {state for state, _ in found}):
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        yield Finding(PROBLEM, f"sources, lake, warehouse and cloud could not be asked: {reason}")


if __name__ == "__main__":
    main()
