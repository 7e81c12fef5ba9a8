"""Every command of docs/notes-to-airflow.md runs as it is written there, against servers of this machine."""

import json
import multiprocessing
import os
import re
import shlex
import sqlite3
import sys
import traceback
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from psycopg.conninfo import conninfo_to_dict

from devtools.emulators import LocalCloud
from devtools.generator import write_month, zone_files
from devtools.servers.publisher import Publisher
from devtools.servers.web import Web
from include.nyc_taxi import TripFile, catalog, download, landing, zones
from include.nyc_taxi.lake import Lake

ROOT = Path(__file__).resolve().parents[2]
NOTES = (ROOT / "docs" / "notes-to-airflow.md").read_text()
TRY = [line.rstrip("| ").rpartition(" | ")[2] for line in NOTES.splitlines() if line.startswith("| ")]
COMMANDS = list(dict.fromkeys(re.findall(r"`((?:bin/airflow|airflowctl|make) [^`]+)`", "\n".join(TRY))))
# These serve until they are stopped, install, or take minutes; other tests run what they are made of.
RUN_ELSEWHERE = {
    "bin/airflow celery worker --queues demo": (
        "test_a_task_runs_on_the_worker_of_its_queue_and_waits_while_there_is_none"
    ),
    "make demo": "test_the_demo_reports_true_counts_and_its_second_run_is_a_no_op",
    "make install": "test_the_workflow_installs_and_tests_by_targets_that_exist",
    "make psql": "test_psql_connects_without_a_password_on_its_command_line",
    "make ui": "test_the_ui_starts_the_scheduler_when_the_api_server_answers",
}
RUN_HERE = [command for command in COMMANDS if command.startswith("bin/") and command not in RUN_ELSEWHERE]
# A client for a server elsewhere, which is not among the locked packages.
NOT_LOCKED = [command for command in COMMANDS if command.startswith("airflowctl ")]

MONTHS = {
    "official": [
        *(f"{service}_tripdata_2021-{month:02}" for service in ("yellow", "green") for month in (1, 2, 3)),
        *(f"yellow_tripdata_2020-{month:02}" for month in (1, 2)),
        *(f"green_tripdata_2020-{month:02}" for month in (1, 2, 3)),
    ],
    "csv_mirror": ["green_tripdata_2021-01"],
}
IN_THE_LAKE = ["yellow_tripdata_2021-01", "green_tripdata_2021-01"]
HOST_OF_THE_WEB = "d37ci6vzurychx.cloudfront.net"
PATIENCE_SECONDS = 120


class Done(NamedTuple):
    code: int
    log: str


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder with the files of both sources."""
    folder = tmp_path_factory.mktemp("published")
    for source, names in MONTHS.items():
        for name in names:
            path = folder / catalog.source(source).path_of(TripFile.parse(name))
            path.parent.mkdir(exist_ok=True)
            write_month(TripFile.parse(name), path, source=source, rows=200)
    for path, content in ((zones.LOOKUP, zone_files.lookup_bytes()), (zones.SHAPES, zone_files.shapes_bytes())):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def web(published, tmp_path_factory):
    """The variables with which a client finds the web on this machine."""
    with Web(published, [HOST_OF_THE_WEB], certificate=tmp_path_factory.mktemp("web") / "host.pem") as web:
        yield web.environment


@pytest.fixture(scope="module")
def settings(airflow_database, published, web, postgres_server, tmp_path_factory):
    """The environment of a user's shell: a warehouse, a lake with a month of each service, a cloud and the web."""
    postgres_server.create_database("notes")
    server = conninfo_to_dict(postgres_server.conninfo("notes"))
    warehouse = {"conn_type": "postgres", "host": server["host"], "port": int(server["port"]), "login": server["user"]}
    warehouse |= {"password": server["password"], "schema": server["dbname"]}
    root = tmp_path_factory.mktemp("lake")
    with ExitStack() as servers:
        url = servers.enter_context(Publisher(published)).base_url
        cloud = servers.enter_context(LocalCloud(tmp_path_factory.mktemp("cloud")))
        for name in IN_THE_LAKE:
            download.fetch(TripFile.parse(name), Lake.at(root), base_url=url)
            landing.land(TripFile.parse(name), Lake.at(root))
        source = json.dumps({"conn_type": "http", "host": url})
        file = tmp_path_factory.mktemp("duckdb") / "nyc_taxi.duckdb"
        yield {
            "AIRFLOW_CONN_TAXI_SOURCE": source,
            "AIRFLOW_CONN_TAXI_CSV_MIRROR": source,
            "AIRFLOW_CONN_TAXI_WAREHOUSE": json.dumps(warehouse),
            "AIRFLOW_CONN_TAXI_DUCKDB": json.dumps({"conn_type": "generic", "host": str(file)}),
            "AIRFLOW_VAR_TAXI_LAKE": f"file://{root}",
            "AIRFLOW_VAR_TAXI_URL_HOSTS": HOST_OF_THE_WEB,
            **web,
            **cloud.environment,
        }


@pytest.fixture(scope="module")
def run(settings, tmp_path_factory):
    """Runs commands of Airflow's, all in one fork of this process, as building an API server for each takes seconds.

    The fork has a copy of the metadata database, so that what commands leave there disturbs no other test.
    """
    folder = tmp_path_factory.mktemp("commands")
    database, log = folder / "airflow.db", folder / "log"
    with (
        closing(sqlite3.connect(Path(os.environ["AIRFLOW_HOME"], "airflow.db"))) as of_session,
        closing(sqlite3.connect(database)) as copy,
    ):
        of_session.backup(copy)
    forking = multiprocessing.get_context("fork")
    ours, theirs = forking.Pipe()
    process = forking.Process(target=_serve, args=(theirs, settings, database, log))
    process.start()

    def start(command):
        program, *words = shlex.split(command)
        assert program == "bin/airflow"
        ours.send(words)
        assert ours.poll(PATIENCE_SECONDS), log.read_text()
        return Done(ours.recv(), log.read_text())

    yield start
    process.kill()
    process.join()


def _serve(asked, settings, database, log):
    os.environ.update(settings, AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{database}")
    written = os.open(log, os.O_RDWR | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(written, stream)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    from airflow import settings as of_airflow
    from airflow.sdk.execution_time.supervisor import in_process_api_server

    in_process_api_server.cache_clear()  # a fork has none of the threads that serve it
    of_airflow.configure_vars()
    of_airflow.configure_orm()
    while True:
        sys.argv = ["airflow", *asked.recv()]
        os.truncate(log, 0)
        os.lseek(written, 0, os.SEEK_SET)
        code = _code_of_main()
        sys.stdout.flush()
        asked.send(code)


def _code_of_main():
    """Run the command that sys.argv has, and return what its process would end with."""
    from airflow.__main__ import main

    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(end.code)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:  # noqa: BLE001 - a process ends with any
        traceback.print_exc()
        return 1
    return 0


@pytest.mark.parametrize("command", RUN_HERE)
def test_a_command_of_the_notes_does_what_it_says_and_prints_no_password(run, settings, command):
    done = run(command)

    assert done.code == 0, done.log
    password = json.loads(settings["AIRFLOW_CONN_TAXI_WAREHOUSE"])["password"]
    assert password[:10] not in done.log  # a table breaks it into several lines


@pytest.mark.parametrize("name", ["daily", "daily_lake", "daily_bigquery", "daily_duckdb"])
def test_a_dag_with_a_deadline_can_be_tested(run, name):
    conf = json.dumps({"colours": ["fhv"], "since": f"{datetime.now(UTC):%Y-%m}"})

    done = run(f"bin/airflow dags test sync_published_months.{name} -c '{conf}'")

    assert done.code == 0, done.log


def test_every_other_command_is_run_by_a_test_that_is_named_or_needs_a_client_of_its_own():
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))

    assert len(RUN_HERE) > 25
    assert {*COMMANDS} == {*RUN_HERE, *RUN_ELSEWHERE, *NOT_LOCKED}
    assert [test for test in RUN_ELSEWHERE.values() if f"def {test}(" not in tests] == []
    assert "apache-airflow-ctl" not in (ROOT / "requirements-dev.txt").read_text()
