"""Airflow with users in its database, as in the stack: what each role sees of the page, and what a clean-up leaves."""

import base64
import json
import os
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import httpx
import maintenance
import psycopg
import pytest
from cryptography.fernet import Fernet

from devtools.environment import ROOT
from devtools.servers.whole_airflow import Airflow

FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
PASSWORD = "--chosen"  # a command line could take it for an option
LOOKING = ["Viewer", "User", "Op", "Admin"]
STARTING = {"User", "Op", "Admin"}
PATHS = ["", "static/main.js", "static/icon.svg", "api/about", "api/coverage", "api/months/green/2025-01"]
BLOCK = {"conn_type": "postgres", "host": "db", "login": "taxi", "password": "its-secret"}
FERNET_KEY = base64.urlsafe_b64encode(os.urandom(32)).decode()
TOO_EARLY = {"colour": "green", "year": 2008, "month": 1}

# As at each start of the stack, and again; then Airflow learns the Dags.
MIGRATE = """
import runpy, sys
from pathlib import Path
from airflow.__main__ import main
script, *files = sys.argv[1:]
for _ in range(2):
    sys.argv = [script, *files]
    runpy.run_path(script, run_name="__main__")
sys.argv = ["airflow", "dags", "reserialize"]
main()
"""


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, postgres_server):
    home = tmp_path_factory.mktemp("roles")
    settings = {"AIRFLOW__CORE__AUTH_MANAGER": FAB, "AIRFLOW__CORE__FERNET_KEY": FERNET_KEY}
    airflow = Airflow(home, postgres_server, publisher="http://127.0.0.1:9", deployments=[], **settings)
    (home / "password").write_text(PASSWORD)
    (home / "password of metrics").write_text(a("Viewer"))
    (home / "blocks").write_text(json.dumps({"TAXI_WAREHOUSE": json.dumps(BLOCK), "TAXI_LAKE": "file:///lake"}))
    files = [home / name for name in ("password", "password of metrics", "blocks")]
    with (home / "migrate.log").open("w") as log:
        subprocess.run(
            [sys.executable, "-P", "-c", MIGRATE, ROOT / "deploy/migrate.py", *files],
            env=airflow.environment,
            cwd=home,
            stdout=log,
            stderr=log,
            check=True,
        )
    try:
        airflow.start_server("api-server")
        airflow.wait(lambda: log_in(airflow, "admin", PASSWORD), "the API server to answer", 120)
        with log_in(airflow, "admin", PASSWORD) as admin:
            for role in [*LOOKING, "Public"]:
                user = dict.fromkeys(("username", "password", "email", "first_name", "last_name"), a(role))
                admin.post("/auth/fab/v1/users", json=user | {"roles": [{"name": role}]}).raise_for_status()
        yield airflow
    finally:
        airflow.stop()


def a(role):
    """The name, and the password, of a user with that role."""
    return f"a-{role}"


def log_in(airflow, user, password):
    """A client that is logged in; None if the server does not answer yet."""
    with suppress(httpx.TransportError):
        login = {"username": user, "password": password}
        answer = httpx.post(f"{airflow.url}/auth/token", json=login, trust_env=False, timeout=30)
        token = answer.raise_for_status().json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=airflow.url, headers=headers, trust_env=False, timeout=30)


@pytest.mark.parametrize("role", LOOKING)
def test_each_role_sees_the_page_and_starts_the_runs_that_it_may_start(airflow, role):
    """Airflow's navigation shows the entry to those who may list plugins."""
    with log_in(airflow, a(role), a(role)) as client:
        told = {path: client.get(f"/taxi/{path}").status_code for path in PATHS}
        plugins = client.get("/api/v2/plugins").raise_for_status().json()["plugins"]
        menu = client.get("/ui/auth/menus").raise_for_status().json()["authorized_menu_items"]
        coverage = client.get("/taxi/api/coverage").json()
        started = client.post("/api/v2/dags/ingest_data/dagRuns", json={"logical_date": None, "conf": TOO_EARLY})

    assert told == dict.fromkeys(PATHS, 200)
    assert "taxi" in [plugin["name"] for plugin in plugins]
    assert ("Plugins" in menu) is (role in {"Op", "Admin"})
    assert (coverage["problems"], coverage["runs_are_known"]) == ([], True)
    assert coverage["load"]["allowed"] is (role in STARTING)
    assert started.status_code == (400 if role in STARTING else 403)  # 400 is about the year


def test_a_role_without_rights_sees_nothing(airflow):
    with log_in(airflow, a("Public"), a("Public")) as client:
        assert {client.get(f"/taxi/{path}").status_code for path in PATHS} == {403}


def test_who_may_edit_connections_sees_the_blocks_and_nobody_their_passwords(airflow):
    told, path = {}, "/api/v2/connections/taxi_warehouse"
    for role in [*LOOKING, "Public"]:
        with log_in(airflow, a(role), a(role)) as client:
            answer = client.get(path)
            lake = client.get("/api/v2/variables/taxi_lake")
        told[role] = (answer.status_code, lake.status_code)
        assert BLOCK["password"] not in answer.text

    with log_in(airflow, a("Op"), a("Op")) as client:
        shown = client.get(path).json()
        edited = {"connection_id": "taxi_warehouse", **{key: shown[key] for key in ("conn_type", "login", "password")}}
        client.patch(path, json=edited | {"host": "other"}).raise_for_status()
    with metadata(airflow) as connection:
        host, password = connection.execute("SELECT host, password FROM connection WHERE login = 'taxi'").fetchone()

    assert {role for role, codes in told.items() if codes == (200, 200)} == {"Op", "Admin"}
    assert {role for role, codes in told.items() if codes == (403, 403)} == {"Viewer", "User", "Public"}
    assert (shown["password"], host) == ("***", "other")
    assert Fernet(FERNET_KEY).decrypt(password.encode()).decode() == BLOCK["password"], "editing keeps it"


def test_a_viewer_finds_the_page_in_the_navigation(airflow, browser):
    context = browser.new_context(base_url=airflow.url)
    page = context.new_page()
    page.goto("/")
    page.locator("input[name=username]").fill(a("Viewer"))
    page.locator("input[name=password]").fill(a("Viewer"))
    page.locator("[type=submit]").click()

    page.get_by_role("link", name="Taxi").click()

    page.frame_locator("iframe").locator("#coverage-says").wait_for()
    context.close()


def test_a_clean_up_deletes_old_runs_and_keeps_the_last_that_no_person_started(airflow, monkeypatch, tmp_path):
    for name, value in airflow.environment.items():
        monkeypatch.setenv(name, value)
    with log_in(airflow, "admin", PASSWORD) as admin:
        runs = [
            admin.post("/api/v2/dags/flow_code/dagRuns", json={"logical_date": None, "dag_run_id": name})
            for name in ("new", "old", "first_by_clock", "last_by_clock")
        ]
        assert {run.status_code for run in runs} == {200}
        with metadata(airflow) as connection:
            connection.execute("UPDATE dag_run SET start_date = now(), state = 'success'")
            connection.execute("UPDATE dag_run SET start_date = now() - interval '401 days' WHERE run_id <> 'new'")
            connection.execute("UPDATE dag_run SET run_type = 'scheduled' WHERE run_id LIKE '%_by_clock'")
            connection.execute(
                "UPDATE dag_run SET start_date = start_date + interval '1 hour' WHERE run_id = 'last_by_clock'"
            )

        now = datetime.now(UTC)
        maintenance.clean(tmp_path, now - timedelta(days=30), now - timedelta(days=400))

        left = admin.get("/api/v2/dags/flow_code/dagRuns").json()["dag_runs"]
    assert {run["dag_run_id"] for run in left} == {"new", "last_by_clock"}
    with metadata(airflow) as connection:
        archives = connection.execute("SELECT relname FROM pg_class WHERE relname LIKE '%airflow_deleted%'").fetchall()
    assert archives == []


def metadata(airflow):
    return psycopg.connect(
        airflow.environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", ""), autocommit=True
    )
