"""deploy/git-bundle.env, with a repository of this test's own in place of the one that it names."""

import json
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest
from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = dotenv_values(ROOT / "deploy" / "git-bundle.env", interpolate=False)


@pytest.fixture
def repository(tmp_path):
    """A clone of nothing but what a bundle is made of, with one commit."""
    folder = tmp_path / "repository"
    for name in ("dags", "include"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for command in (
        ("init", "--quiet", "--initial-branch", "main"),
        ("add", "."),
        ("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "--message", "first"),
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not on this machine")
def test_the_bundle_comes_from_git_and_a_run_keeps_its_commit(airflow_database, repository, tmp_path, monkeypatch):
    connection = json.loads(SETTINGS["AIRFLOW_CONN_TAXI_GIT"]) | {"host": str(repository)}
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_GIT", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(tmp_path / "bundles"))
    [bundle] = json.loads(SETTINGS["DAG_BUNDLES"])
    module, _, name = bundle["classpath"].rpartition(".")
    bundle_class = getattr(import_module(module), name)

    tracked = bundle_class(name=bundle["name"], **bundle["kwargs"])
    tracked.initialize()
    version = tracked.get_current_version().version
    of_a_run = bundle_class(name=bundle["name"], version=version, **bundle["kwargs"])
    of_a_run.initialize()

    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True)
    assert version == head.stdout.strip()
    for path in ("dags/ingest_data.py", "include/__init__.py"):
        assert (tracked.path / path).is_file()
        assert (of_a_run.path / path).is_file()
    assert of_a_run.path.name == version
