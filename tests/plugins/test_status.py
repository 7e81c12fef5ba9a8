"""`make status` with an API server and without one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def status(site):
    """Runs the command with an API server's address and a login, and gives its exit code, its JSON and its errors."""

    def run(*arguments, url=site.url, word="viewer"):
        login = {"AIRFLOW_API_URL": url, "AIRFLOW_API_USER": "viewer", "AIRFLOW_API_PASSWORD": word}
        command = [sys.executable, "-m", "include.orchestration.status", "--json", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=site.environment | login, capture_output=True, text=True, check=False
        )
        return done.returncode, json.loads(done.stdout), done.stderr

    return run


@pytest.fixture
def queued_month(site):
    """A run for green in June 2024 that waits."""
    conf = {"colour": "green", "year": 2024, "month": 6}
    with site.client("admin") as client:
        path = "/api/v2/dags/ingest_data/dagRuns"
        run = client.post(path, json={"logical_date": None, "conf": conf}).raise_for_status().json()
        yield "2024-06"
        client.delete(f"{path}/{run['dag_run_id']}").raise_for_status()


def test_runs_come_from_the_api_server(status, queued_month):
    code, seen, errors = status()

    assert (code, seen["runs_are_known"]) == (0, True)
    assert seen["months"]["green"][queued_month] == "running"
    assert seen["months"]["green"]["2025-01"] == "loaded"
    assert "not shown" not in errors


def test_without_an_api_server_targets_are_shown_and_one_line_says_what_is_not(status, queued_month):
    code, seen, errors = status(url="http://127.0.0.1:1")

    assert (code, seen["runs_are_known"]) == (0, False)
    assert seen["months"]["green"][queued_month] == "published"
    assert seen["months"]["green"]["2025-01"] == "loaded"
    assert "Running and failed loads are not shown: no API server answers at http://127.0.0.1:1" in errors


def test_a_refused_login_is_reported_without_the_password(status):
    _code, seen, errors = status(word="wrong-word")

    assert not seen["runs_are_known"]
    assert "refuses the login of 'viewer': HTTP 401" in errors
    assert "wrong-word" not in errors


def test_another_target_can_be_named(status):
    code, seen, _errors = status("--target", "lake")

    assert (code, seen["target"]) == (0, "lake")
    assert seen["months"]["green"]["2025-01"] == "loaded"
