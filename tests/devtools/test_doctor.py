"""Each check of `make doctor` finds what is wrong, and says what to do."""

import fcntl
import json
import re
import shutil
import socket
import stat
import subprocess
import sys

import certifi
import pytest
from psycopg.conninfo import conninfo_to_dict

from devtools import doctor
from devtools.doctor import NOTE, OK, PROBLEM
from devtools.environment import ROOT
from devtools.servers.whole_airflow import free_port


@pytest.fixture
def taken():
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """Puts a program `docker` on the path, which is given by its shell script; None takes it away."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def put(script):
        program = tmp_path / "docker"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(stat.S_IRWXU)

    return put


def texts(findings):
    return [str(finding) for finding in findings]


@pytest.mark.parametrize(("version", "state"), [((3, 10), PROBLEM), ((3, 11), OK), ((3, 14), OK), ((3, 15), PROBLEM)])
def test_only_supported_pythons_are_well(version, state):
    assert doctor.python(version, "/usr/bin/python3").state == state


def test_a_packages_lock_that_differs_is_noted(tmp_path):
    (tmp_path / "requirements-dev.txt").write_text("new")
    without = doctor.installation(tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/requirements-dev.txt").write_text("old")
    older = doctor.installation(tmp_path)
    (tmp_path / ".venv/requirements-dev.txt").write_text("new")

    assert (without.state, older.state, doctor.installation(tmp_path).state) == (NOTE, NOTE, OK)
    assert "make install" in without.text
    assert "older than requirements-dev.txt" in older.text


def test_a_disk_without_room_for_the_packages_is_a_problem(tmp_path, monkeypatch):
    free = shutil.disk_usage(tmp_path).free / 1e9
    monkeypatch.setattr(doctor, "DATA_GIGABYTES", free - doctor.VENV_GIGABYTES / 2)

    assert doctor.disk(tmp_path, is_installed=True).state == OK
    found = doctor.disk(tmp_path, is_installed=False)
    assert found.state == PROBLEM
    assert re.search(r"[\d.]+ GB free; expected [\d.]+ GB for \.venv \(2\.6 GB\) and data: free some", found.text)


def test_files_of_certificates_are_read(tmp_path):
    (tmp_path / "none.pem").write_text("no certificate")
    named = {"SSL_CERT_FILE": certifi.where(), "PIP_CERT": str(tmp_path / "gone.pem")}
    named |= {"CURL_CA_BUNDLE": str(tmp_path / "none.pem")}

    found = {finding.text.split("=")[0].split()[-1]: finding for finding in doctor.certificates(named)}
    (both,) = texts(doctor.certificates(dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT"), certifi.where())))

    assert {name: finding.state for name, finding in found.items()} == {
        "SSL_CERT_FILE": OK,
        "PIP_CERT": PROBLEM,
        "CURL_CA_BUNDLE": PROBLEM,
    }
    assert both == f"ok       certificates: SSL_CERT_FILE, PIP_CERT={certifi.where()}"
    assert "gone.pem: No such file or directory; expected" in found["PIP_CERT"].text
    assert "none.pem: no certificates in PEM format; expected" in found["CURL_CA_BUNDLE"].text
    assert texts(doctor.certificates({}))[0].startswith("ok       certificates: the usual authorities")


@pytest.fixture
def tree(tmp_path):
    """A folder with the project's documentation and `.env`."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("images"))
    shutil.copy(ROOT / ".env", tmp_path)
    return tmp_path


def test_the_projects_own_settings_are_well(tree):
    assert [finding.state for finding in doctor.settings(tree)] == [OK]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("TAXI_SOURCES=x", "line 1: found TAXI_SOURCES, which nothing reads; expected TAXI_SOURCE"),
        ("AIRFLOW_CONN_TAXI_GPC=a://b", "line 1: found AIRFLOW_CONN_TAXI_GPC, which nothing reads; expected AIRFLOW"),
        ("WAREHOUSE_PORTS=1", "line 1: found WAREHOUSE_PORTS, which nothing reads; expected WAREHOUSE_PORT"),
        ("\nAPI_PORT=eighty", "line 2: API_PORT: found 'eighty'; expected a whole number"),
        ("API_PORT=1\nAPI_PORT=2", "line 2: found API_PORT again; expected it once, but line 1 sets it"),
        ("TAXI_SOURCE=x", "line 1: TAXI_SOURCE: found neither JSON nor a URI; expected a connection as JSON, "),
        ("HTTPS_PROXY=http://proxy:3128\nAIRFLOW_CONN_MINE=a://b\nAIRFLOW__CORE__PARALLELISM=4", None),
    ],
)  # fmt: skip
def test_lines_of_the_settings_that_nothing_reads_are_found(tree, lines, told):
    (tree / ".env").write_text(lines + "\n")

    (found,) = doctor.settings(tree)

    assert found.state == (PROBLEM if told else OK)
    assert found.text.startswith(f".env {told}" if told else ".env: 3 settings")


def test_settings_that_are_no_text_are_a_problem(tree):
    (tree / ".env").write_bytes(b"A=\xff\n")

    assert texts(doctor.settings(tree)) == ["problem  .env: found byte 2 that is not UTF-8; expected text in UTF-8"]


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (None, "note     Docker is not installed; only make up needs it: https://docs.docker.com/"),
        (
            "echo permission denied >&2; exit 1",
            "note     Docker does not answer (permission denied); for make up, start",
        ),
        (
            'test "$1" = version && echo 20.10',
            "note     Docker 20.10 with Compose missing; expected Compose v2 for make up",
        ),
        ('test "$1" = version && echo 20.10 || echo 1.29.2', "note     Docker 20.10 with Compose 1.29.2; expected"),
        ('test "$1" = version && echo 28.1 || echo v2.26.1', "ok       Docker 28.1 with Compose v2.26.1"),
    ],
)
def test_the_engine_and_compose_are_asked(docker, script, told):
    if script:
        docker(script)

    (found,) = texts(doctor.docker())

    assert found.startswith(told)


def test_a_port_that_another_program_has_is_a_problem(tmp_path, taken):
    assert doctor.local_port(tmp_path, free_port()).state == OK
    assert texts([doctor.local_port(tmp_path, taken)]) == [
        f"problem  port {taken} is taken by another program; choose another: make ui PORT={taken + 1}"
    ]


def test_a_port_that_the_ui_of_this_folder_has_is_well(tmp_path, taken):
    (tmp_path / ".local").mkdir()
    with (tmp_path / ".local/ui.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = doctor.local_port(tmp_path, taken)

    assert (found.state, found.text) == (OK, f"port {taken} is in use, and a make ui of this folder runs")


def test_the_ports_of_the_stack_are_looked_at_unless_it_runs(docker, tmp_path, taken):
    ports = {name: str(free_port()) for name in doctor.STACK_PORTS} | {"WAREHOUSE_PORT": str(taken)}

    docker("echo a-container")
    assert texts(doctor.stack_ports(tmp_path, ports)) == ["ok       the stack of this folder runs, with its ports"]
    docker("")
    (found,) = texts(doctor.stack_ports(tmp_path, ports))
    assert found.startswith(f"problem  port {taken} is taken by another program; for make up: make up WAREHOUSE_PORT=")


def test_it_works_before_anything_is_installed(tmp_path):
    """-S leaves out the installed packages."""
    (tmp_path / "devtools").mkdir()
    for file in ("devtools/__init__.py", "devtools/doctor.py", "requirements-dev.txt", ".env"):
        shutil.copy(ROOT / file, tmp_path / file)

    done = subprocess.run(
        [sys.executable, "-S", "-m", "devtools.doctor", "--port", str(free_port())],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.stderr == ""
    assert "\nnote     the packages are not installed in .venv; any target of make installs them: make install\n" in (
        done.stdout
    )
    assert done.returncode == (1 if "\nproblem " in f"\n{done.stdout}" else 0)
    assert {line.split()[0] for line in done.stdout.splitlines()} <= {OK, NOTE, PROBLEM}


def test_the_connections_of_a_deployment_are_asked(tmp_path, warehouse, monkeypatch):
    target = conninfo_to_dict(warehouse)
    connection = {"conn_type": "postgres", "host": target["host"], "port": int(target["port"])}
    connection |= {"login": target["user"], "password": target["password"], "schema": target["dbname"]}
    nowhere = json.dumps({"conn_type": "http", "host": "http://127.0.0.1:9"})
    cloud = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True}}
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_WAREHOUSE", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_SOURCE", nowhere)
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_CSV_MIRROR", nowhere)
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_GCP", json.dumps(cloud))
    monkeypatch.setenv("AIRFLOW_VAR_TAXI_LAKE", f"file://{tmp_path}/lake")
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_DUCKDB", json.dumps({"conn_type": "generic", "host": f"{tmp_path}/taxi.db"}))
    for name in ("BIGQUERY_EMULATOR_HOST", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)

    found = {" ".join(finding.text.split()[:2]): finding for finding in doctor.answers(ROOT)}

    assert {about: finding.state for about, finding in found.items()} == {
        "source official": PROBLEM,
        "source csv_mirror": PROBLEM,
        "source csv_archive": NOTE,
        "Postgres (connection": OK,
        "Lake (Variable": OK,
        "BigQuery (connection": NOTE,
        "DuckDB (connection": OK,
    }
    assert target["dbname"] in found["Postgres (connection"].text


def test_what_stops_the_questions_is_told(tmp_path):
    """A folder without the project cannot ask."""
    (found,) = texts(doctor.answers(tmp_path))

    assert found.startswith("problem  sources, lake, warehouse and cloud could not be asked: ")
    assert "No module named" in found
