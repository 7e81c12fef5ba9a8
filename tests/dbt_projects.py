"""What tests with dbt share: its executable, the Zoomcamp's project, and what a call of dbt did."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

EXECUTABLE = os.environ.get("DBT_EXECUTABLE") or shutil.which("dbt") or ""
COURSE = os.environ.get("DBT_COURSE", "")

needs_dbt = pytest.mark.skipif(not EXECUTABLE, reason="dbt is not installed: DBT_EXECUTABLE names it, or it is on PATH")
_NOTHING_SENT = {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}


def copy_of_course(folder: Path, **outputs: dict[str, Any]) -> Path:
    """Copy the Zoomcamp's dbt project into a folder, with a profile of these outputs; without it, skip the test."""
    found = [path.parent for path in Path(COURSE).rglob("dbt_project.yml") if path.parent.name == "taxi_rides_ny"]
    if not (COURSE and found):
        pytest.skip("DBT_COURSE names no folder with the dbt project taxi_rides_ny of the Data Engineering Zoomcamp")
    if not (found[0] / "dbt_packages" / "dbt_utils").is_dir():
        pytest.skip(f"{found[0]} has no dbt_packages: run `dbt deps` there")
    project = folder / "taxi_rides_ny"
    shutil.copytree(found[0], project, ignore=shutil.ignore_patterns("target", "logs", "*.duckdb*", "data"))
    profiles = {"taxi_rides_ny": {"target": next(iter(outputs)), "outputs": outputs}}
    (project / "profiles.yml").write_text(json.dumps(profiles))  # JSON is YAML
    return project


def environment_of(project: Path) -> dict[str, str]:
    """Return the variables that tell dbt where a project is."""
    folders = dict.fromkeys(("DBT_PROJECT_DIR", "DBT_PROFILES_DIR"), str(project))
    return {"DBT_EXECUTABLE": EXECUTABLE, **folders, **_NOTHING_SENT}


def call(project: Path, *arguments: str, **environment: str) -> None:
    """Call dbt in a project; a failure shows the end of what it printed."""
    variables = {**os.environ, **environment_of(project), **environment}
    done = subprocess.run([EXECUTABLE, *arguments], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]


def models_of(project: Path) -> set[str]:
    """The names of a project's models."""
    return {path.stem for path in (project / "models").rglob("*.sql")}


def results(project: Path) -> dict[str, str]:
    """What became of each model, seed and test of the last call of dbt, by name."""
    found = json.loads((project / "target" / "run_results.json").read_text())["results"]
    return {result["unique_id"].split(".")[2]: result["status"] for result in found}
