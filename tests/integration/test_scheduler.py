"""With a running scheduler each run loads the right month, however it was created, even if processes are killed."""

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import httpx
import psutil
import psycopg
import pytest

from devtools.emulators import LocalCloud
from devtools.generator import write_month
from devtools.servers.publisher import Publisher
from devtools.servers.whole_airflow import ENDED, Airflow
from include.nyc_taxi import Month, TripFile, catalog, landing, targets
from include.nyc_taxi.lake import Lake
from include.orchestration.airflow_api import AirflowApi
from include.orchestration.attempt_logs import step_of
from include.orchestration.attempts import attempts

ROWS = 200
MONTHS = list(Month.range(Month(2022, 1), Month(2023, 12)))
LAG = 3
# The months of two runs that are due: last month's and this month's.
DUE = [Month.of(datetime.now(UTC)) - LAG - 1, Month.of(datetime.now(UTC)) - LAG]
TASK = re.compile(r"airflow worker -- [0-9a-f]{8}-")  # the title of a task's process
MONTHLY = "ingest_data.monthly"
CATCHUP = "ingest_data.catchup"
LATE = "flow_code.late"
DEPLOYMENTS = [
    {
        "flow": "ingest_data",
        "name": "monthly",
        "description": "Green, from now on",
        "params": {"colour": "green"},
        "schedule": {"lag_months": LAG},
        "start": "2014-01",
    },
    {
        "flow": "ingest_data",
        "name": "catchup",
        "description": "Green, since two months ago",
        "params": {"colour": "green", "table_name": "caught_up"},
        "schedule": {"lag_months": LAG},
        "start": str(DUE[0]),
        "catchup": True,
        "paused": False,
    },
    {
        "flow": "flow_code",
        "name": "late",
        "description": "Its run misses the deadline, because the DAG is paused",
        "paused": True,
        "deadline_hours": 0.0001,
    },
]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The folder that is served as the publisher's, and how many rows of each file are loaded."""
    folder = tmp_path_factory.mktemp("published")
    publish(folder, Month(2025, 1), "yellow")
    return folder, {str(month): publish(folder, month) for month in [*MONTHS, *DUE]}


def publish(folder, month, service="green"):
    file = TripFile(service, month)
    path = folder / catalog.source("official").path_of(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    written = write_month(file, path, rows=ROWS + month.month)
    return written.rows - written.without_passengers


class Webhook(BaseHTTPRequestHandler):
    """Receives alerts."""

    received: ClassVar[list[str]] = []

    def log_message(self, *_):
        """Log nothing."""

    def do_POST(self):
        self.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
        self.send_response(HTTPStatus.NO_CONTENT)
        self.end_headers()


@pytest.fixture(scope="module")
def webhook():
    with ThreadingHTTPServer(("127.0.0.1", 0), Webhook) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        yield {"conn_type": "http", "host": f"http://127.0.0.1:{server.server_port}"}
        server.shutdown()


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, postgres_server, published, webhook):
    with Publisher(published[0]) as publisher, LocalCloud(tmp_path_factory.mktemp("cloud")) as cloud:
        airflow = Airflow(
            tmp_path_factory.mktemp("scheduler"),
            postgres_server,
            publisher=publisher.base_url,
            deployments=DEPLOYMENTS,
            AIRFLOW__CORE__EXECUTOR="LocalExecutor",
            AIRFLOW_CONN_TAXI_ALERTS=json.dumps(webhook),
            **cloud.environment,
        )
        try:
            airflow.start()
            airflow.knows(MONTHLY)
            yield airflow
        finally:
            airflow.stop()


@pytest.fixture
def ledger(airflow):
    """Returns the months that were loaded into a table, with their runs, in order."""

    def loads(table="green_taxi_trips"):
        with psycopg.connect(airflow.warehouse) as connection:
            if connection.execute("SELECT to_regclass('load_ledger')").fetchone() == (None,):
                return []
            found = connection.execute(
                "SELECT month, run_id FROM load_ledger WHERE target_table = %s ORDER BY load_id", [f"public.{table}"]
            )
            return found.fetchall()

    return loads


def backfill(airflow, **body):
    """Backfill December 2021 and January 2022, and wait for the end."""
    span = {"from_date": "2021-12-01T00:00:00Z", "to_date": "2022-01-01T00:00:00Z"}
    airflow.post("/backfills", dag_id=MONTHLY, **span | body)
    ended_backfill(airflow)


def ended_backfill(airflow, seconds=300):
    """Wait for all runs, and close the backfill, which the scheduler does only twice a minute."""
    airflow.wait(lambda: all(run["state"] in ENDED for run in airflow.runs(MONTHLY)), "the backfill", seconds)
    for made in airflow.get("/backfills", dag_id=MONTHLY)["backfills"]:
        if made["completed_at"] is None:
            airflow.api.put(f"/backfills/{made['id']}/cancel").raise_for_status()


def kill_a_task(airflow):
    """Kill the process of a running task."""

    def killed():
        for child in psutil.Process(airflow.processes["scheduler"].pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess, IndexError):
                if TASK.match(" ".join(child.cmdline())):
                    child.kill()
                    return child
        return None

    airflow.wait(killed, "a running task")


def alerts(airflow, start):
    return airflow.wait(lambda: [text for text in Webhook.received if text.startswith(start)], f"an alert {start}")


def test_servers_listen_on_loopback_alone(airflow, postgres_server):
    """As `make ui` starts them: Airflow's log servers would listen on all addresses."""
    started = [*(process.pid for process in airflow.processes.values()), postgres_server.server_pid()]
    parents = [psutil.Process(pid) for pid in started]
    processes = parents + [child for parent in parents for child in parent.children(recursive=True)]

    listening = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # a task, which has ended meanwhile
            listening += [found.laddr for found in process.net_connections() if found.status == psutil.CONN_LISTEN]

    assert {airflow.port, postgres_server.port} <= {address.port for address in listening}
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1"}


def test_a_run_that_misses_its_deadline_sends_an_alert(airflow):
    airflow.knows(LATE)
    run_id = airflow.post(f"/dags/{LATE}/dagRuns", logical_date=None)["dag_run_id"]

    (alert,) = alerts(airflow, f"{LATE}: not ended within 0.0001 h of being queued")

    assert run_id in alert


def test_the_schedule_catches_up_month_by_month(airflow, ledger):
    airflow.wait(lambda: len(ledger("caught_up")) == len(DUE), "the runs that are due")

    runs = airflow.wait(
        lambda: all(run["state"] in ENDED for run in airflow.runs(CATCHUP)) and airflow.runs(CATCHUP), "them to end"
    )
    assert sorted((run["run_type"], run["partition_key"], run["state"]) for run in runs) == [
        ("scheduled", str(month), "success") for month in DUE
    ]
    assert {run["logical_date"] for run in runs} == {None}
    by_run = {run["dag_run_id"]: run["partition_key"] for run in runs}
    assert {run_id: month for month, run_id in ledger("caught_up")} == by_run


def test_a_backfill_of_two_years_succeeds_even_if_scheduler_and_task_are_killed(airflow, ledger, published):
    airflow.unpause(MONTHLY)
    airflow.command("backfill", "create", "--dag-id", MONTHLY, "--from-date", "2022-01-01", "--to-date", "2023-12-01")
    airflow.wait(lambda: len(ledger()) >= 3, "the first loads")
    airflow.kill("scheduler")
    airflow.start_server("scheduler")
    before = len(ledger())
    airflow.wait(lambda: len(ledger()) >= before + 3, "loads after the scheduler's death")
    kill_a_task(airflow)

    ended_backfill(airflow, 400)

    expected = [str(month) for month in MONTHS]
    backfilled = [run for run in airflow.runs(MONTHLY) if run["run_type"] == "backfill"]
    assert sorted((run["partition_key"], run["state"]) for run in backfilled) == [(m, "success") for m in expected]
    assert sorted(month for month, _ in ledger()) == sorted([*expected, str(DUE[1])])
    with psycopg.connect(airflow.warehouse) as connection:
        counted = connection.execute(
            "SELECT to_char(file_month, 'YYYY-MM'), count(*) FROM green_taxi_trips GROUP BY 1"
        ).fetchall()
    rows = published[1]
    assert dict(counted) == {month: rows[month] for month in [*expected, str(DUE[1])]}
    lake = Lake.at(airflow.lake)
    assert {m: landing.landed(lake, TripFile("green", Month.parse(m))).rows_accepted for m in rows} == rows


def test_reprocess_behavior_decides_what_a_second_backfill_loads_again(airflow, ledger, published):
    def loads():
        return [month for month, _ in ledger() if month in ("2021-12", "2022-01")]

    airflow.unpause(MONTHLY)
    backfill(airflow, reprocess_behavior="none")

    states = {run["partition_key"]: run["state"] for run in airflow.runs(MONTHLY)}
    assert (states["2021-12"], states["2022-01"]) == ("failed", "success")  # December 2021 is not published
    assert loads() == ["2022-01"]
    (alert,) = alerts(airflow, f"{MONTHLY}: extract_data failed")
    assert "NotPublished" in alert

    publish(published[0], Month(2021, 12))
    backfill(airflow, reprocess_behavior="failed")

    assert loads() == ["2022-01", "2021-12"]

    backfill(airflow, reprocess_behavior="completed", dag_run_conf={"force": True})

    assert sorted(loads()) == ["2021-12", "2021-12", "2022-01", "2022-01"]
    # Airflow keeps the earlier run of a month, and creates another one.
    made = [run["partition_key"] for run in airflow.runs(MONTHLY) if run["partition_key"] in ("2021-12", "2022-01")]
    assert sorted(made) == ["2021-12", "2021-12", "2021-12", "2022-01", "2022-01"]


def test_a_trigger_loads_the_month_of_its_params_its_partition_key_or_its_date(airflow, ledger):
    def trigger(conf=None, **body):
        body = {"logical_date": None, "conf": {"force": True} | (conf or {})} | body
        return airflow.post(f"/dags/{MONTHLY}/dagRuns", **body)["dag_run_id"]

    airflow.unpause(MONTHLY)
    asked = {
        trigger(partition_key="2022-03"): "2022-03",
        trigger(logical_date="2022-04-17T13:00:00Z"): "2022-04",
        trigger({"year": 2022, "month": 5}): "2022-05",
    }
    asked_for_none = trigger()

    for run_id in [*asked, asked_for_none]:
        assert airflow.ended(MONTHLY, run_id)["state"] == "success"
    loaded = {run_id: month for month, run_id in ledger()}
    assert {run_id: month for run_id, month in loaded.items() if run_id in asked} == asked
    assert loaded[asked_for_none] == str(max(DUE))

    cleared = next(iter(asked))
    airflow.post(f"/dags/{MONTHLY}/dagRuns/{cleared}/clear", dry_run=False)
    airflow.wait(lambda: [run_id for _, run_id in ledger()].count(cleared) == 2, "the cleared run to load again")
    assert {month for month, run_id in ledger() if run_id == cleared} == {"2022-03"}


WATCH = """file => {
    const note = () => {
        const { state } = document.querySelector(`[data-file="${file}"] .cell`).dataset;
        if (state !== states.at(-1)) states.push(state);
    };
    window.states = [];
    note();
    new MutationObserver(note).observe(document.getElementById("calendars"), { childList: true });
}"""


@pytest.mark.parametrize(  # in this order, as BigQuery is loaded from the lake
    ("target", "place", "dag_id"),
    [
        ("Lake", "the lake", "etl_web_to_gcs"),
        ("BigQuery", "BigQuery", "etl_gcs_to_bq"),
        ("Postgres", "Postgres", "ingest_data"),
    ],
)
def test_a_month_is_loaded_from_the_page_which_shows_it_running_and_loaded(airflow, browser, target, place, dag_id):
    page = browser.new_page(base_url=airflow.url)
    page.set_default_timeout(120_000)
    page.goto("/taxi/")
    page.get_by_text(target, exact=True).click()
    page.get_by_text(f"months are in {place}").wait_for()
    page.evaluate(WATCH, "yellow 2025-01")

    page.locator("[data-file='yellow 2025-01']").click()
    page.get_by_role("button", name=f"Load into {place}", exact=True).click()

    page.locator("[data-file='yellow 2025-01'] [data-state=loaded]").wait_for()
    page.get_by_role("button", name=f"Load again into {place}").wait_for()
    assert page.evaluate("states") == ["published", "running", "loaded"]
    (run,) = [run for run in airflow.runs(dag_id) if run["run_type"] == "manual"]
    assert (run["state"], run["conf"]) == ("success", {"colour": "yellow", "year": 2025, "month": 1})
    page.close()


@pytest.fixture
def api(airflow):
    with httpx.Client(base_url=airflow.url, headers=airflow.api.headers, trust_env=False, timeout=30) as client:
        yield AirflowApi(client)


def test_a_failed_run_tells_its_error_and_a_running_one_the_step_that_it_is_at(airflow, api):
    def step(month):
        attempt = attempts(api, targets.get("postgres")).get(TripFile("green", Month(2021, month)))
        return attempt and step_of(api, attempt)

    def trigger(month):
        conf = {"colour": "green", "year": 2021, "month": month}
        return airflow.post("/dags/ingest_data/dagRuns", logical_date=None, conf=conf)["dag_run_id"]

    assert airflow.ended("ingest_data", trigger(10))["state"] == "failed"  # it is not published
    failed = step(10)
    assert (failed.task_id, failed.state) == ("extract_data", "failed")
    assert failed.error.startswith("NotPublished: ")
    assert "HTTP 404: the source does not have the file; official has green from 2014-01 to " in failed.error

    with psycopg.connect(airflow.warehouse) as connection:
        connection.execute("LOCK TABLE load_ledger")  # so that the run waits
        waiting = trigger(12)
        seen = airflow.wait(lambda: (now := step(12)) and now.state == "running" and now, "a step that runs")
    assert seen.task_id in {"log_subflow.log_table_name", "extract_data", "transform_data", "load_data"}
    assert (seen.error, seen.percent) == (None, None)
    assert airflow.ended("ingest_data", waiting)["state"] in ENDED


def test_a_failed_run_whose_month_nobody_said_is_shown_at_the_newest_month(airflow, api):
    conf = {"colour": "green", "edition": "0" * 64}
    run_id = airflow.post("/dags/ingest_data/dagRuns", logical_date=None, conf=conf)["dag_run_id"]
    assert airflow.ended("ingest_data", run_id)["state"] == "failed"  # no edition has that sha256

    attempt = attempts(api, targets.get("postgres"))[TripFile("green", max(DUE))]

    assert (attempt.run_id, attempt.state) == (run_id, "failed")
    assert step_of(api, attempt).error.startswith("NotPublished: edition '0000")
