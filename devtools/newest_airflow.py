"""Try the bundle with the newest Airflow 3 that the package index has, in a throw-away environment.

    python -m devtools.newest_airflow                          `make newest-airflow`
    python -m devtools.newest_airflow --prerelease             betas and release candidates, too
    python -m devtools.newest_airflow --airflow ==3.3.1        another version

It resolves requirements.in without the pin of Airflow, installs that, parses the Dags, and runs a month from a
server on this machine into a lake and DuckDB. It prints which versions differ from the lock, and exits with 1 and the
reason if a step fails.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devtools.install import uv_environment
from devtools.layouts import LAYOUTS, write
from devtools.servers.publisher import Publisher
from devtools.wheels import locked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ROOT = Path(__file__).resolve().parents[1]
CHECK = ROOT / "devtools" / "bundle_check.py"
LAYOUT = LAYOUTS["composer"]
NEWEST = ">=3.3,<4"
FLOWS = {
    "etl_web_to_duckdb": {"colour": "green", "year": 2024, "month": 1},
    "flow_code": {},
}
FILE = "green_tripdata_2024-01"
_UV = [sys.executable, "-m", "uv"]
_SHOWN = 15  # of the last lines of a failed step


class Failed(Exception):
    """A step failed; the message says which, and why."""


def main() -> None:
    """Try it, and tell how it went."""
    parser = argparse.ArgumentParser(
        prog="python -m devtools.newest_airflow", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--airflow", default=NEWEST, help=f"which versions of Airflow may be chosen (default {NEWEST})")
    parser.add_argument("--prerelease", action="store_true", help="also betas and release candidates")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="newest-airflow-") as folder:
        try:
            _try(Path(folder), unpinned(arguments.airflow), prerelease=arguments.prerelease)
        except Failed as failure:
            sys.exit(str(failure))


def unpinned(airflow: str) -> str:
    """Return requirements.in with another specifier for Airflow."""
    text = (ROOT / "requirements.in").read_text(encoding="utf-8")
    return re.sub(r"^apache-airflow==\S+", f"apache-airflow{airflow}", text, count=1, flags=re.MULTILINE)


def differences(lock: str, resolved: str) -> list[str]:
    """Return a line for each package whose version differs from that in the lock."""
    ours = {package.name: package.version for package in locked(lock)}
    theirs = {package.name: package.version for package in locked(resolved)}
    return [
        f"{name} {ours.get(name, 'not locked')} -> {version}"
        for name, version in theirs.items()
        if ours.get(name) != version
    ]


def _try(folder: Path, requirements: str, *, prerelease: bool) -> None:
    (folder / "requirements.in").write_text(requirements, encoding="utf-8")
    resolved, python = folder / "resolved.txt", folder / "venv" / "bin" / "python"
    uv = uv_environment(os.environ)
    choice = ["--prerelease", "allow"] if prerelease else []
    compiling = [*_UV, "pip", "compile", "--quiet", "--no-header", "--no-annotate", *choice]
    _run("resolve", [*compiling, "--output-file", str(resolved), str(folder / "requirements.in")], uv)
    _show(resolved.read_text(encoding="utf-8"))
    _run("install", [*_UV, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")], uv)
    _run("install", [*_UV, "pip", "install", "--quiet", "--no-deps", "--python", str(python), "-r", str(resolved)], uv)
    write(LAYOUT, folder / "bundle")
    _run("create the database", [str(python), "-P", "-m", "airflow", "db", "migrate"], _environment(folder, ""))
    with Publisher(_published(folder)) as publisher:
        command = [str(python), "-P", str(CHECK), json.dumps(FLOWS)]
        printed = _run("parse and run", command, _environment(folder, publisher.base_url))
    _judge(found_in(printed))


def found_in(printed: str) -> dict[str, Any]:
    """Return what bundle_check.py found, from all that its process printed."""
    found: dict[str, Any] = json.loads(printed.partition("FOUND ")[2].partition("\n")[0])
    return found


def _show(resolved: str) -> None:
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    [airflow] = [package.version for package in locked(resolved) if package.name == "apache-airflow"]
    print(f"Airflow {airflow} on Python {sys.version_info.major}.{sys.version_info.minor}", flush=True)
    for line in differences(lock, resolved):
        print(f"  {line}", flush=True)


def _published(folder: Path) -> Path:
    from devtools.generator import write_month
    from include.nyc_taxi import TripFile, catalog

    file = TripFile.parse(FILE)
    path = folder / "published" / catalog.source("official").path_of(file)
    path.parent.mkdir(parents=True)
    write_month(file, path, rows=500)
    return folder / "published"


def _environment(folder: Path, source: str) -> dict[str, str]:
    caller = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    return caller | {
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "bundle" / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(folder / "bundle" / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "0",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder / 'airflow.db'}",
        "AIRFLOW_CONN_TAXI_SOURCE": json.dumps({"conn_type": "http", "host": source}),
        "AIRFLOW_CONN_TAXI_DUCKDB": json.dumps({"conn_type": "generic", "host": str(folder / "taxi.duckdb")}),
        "AIRFLOW_VAR_TAXI_LAKE": f"file://{folder / 'lake'}",
        "NO_PROXY": "127.0.0.1",
    }


def _run(step: str, command: list[str], environment: Mapping[str, str]) -> str:
    """Run a command, and return what it printed.

    Raises:
        Failed: its exit code is not 0; the message has its last lines.
    """
    ran = subprocess.run(
        command, env=dict(environment), cwd=tempfile.gettempdir(), capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise Failed(f"{step}: failed\n{_last(ran.stderr.splitlines() or ran.stdout.splitlines())}")
    return ran.stdout


def _last(lines: Iterable[str]) -> str:
    return "\n".join(f"  {line}" for line in list(lines)[-_SHOWN:])


def _judge(found: Mapping[str, Any]) -> None:
    """Print the outcome.

    Raises:
        Failed: a plugin or a Dag file cannot be imported, or a run did not succeed.
    """
    errors = {name: error for kind in ("plugin_errors", "import_errors") for name, error in found[kind].items()}
    wrong = [f"{name}: {error.strip().splitlines()[-1]}" for name, error in errors.items()]
    wrong += [f"{flow}: {found[flow]}; expected success" for flow in FLOWS if found[flow] != "success"]
    if wrong:
        raise Failed("parse and run: failed\n" + "\n".join(f"  {line}" for line in wrong))
    print(f"{len(found['dags'])} Dags parsed; {' and '.join(FLOWS)} succeeded")


if __name__ == "__main__":
    main()
