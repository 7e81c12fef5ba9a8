"""The flow from end to end: a publisher on loopback, a lake, a Postgres, and Airflow's own way of running it."""

import json
import logging
import os
import re
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import NoneType

import pytest
import structlog
from airflow.sdk.exceptions import ParamValidationError

from devtools.generator import write_month
from devtools.quiet import AIRFLOWS_LEVELS, quieten
from devtools.servers.publisher import Publisher
from include.nyc_taxi import Month, TripFile, catalog
from tests.dags.runs import events_of, labels, publish_at, result, states, tries

GREEN = TripFile("green", Month(2024, 1))
ROWS = 3000


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder that plays the official source, and what is in its file."""
    folder = tmp_path_factory.mktemp("published")
    path = folder / catalog.source("official").path_of(GREEN)
    path.parent.mkdir(parents=True)
    return folder, write_month(GREEN, path, rows=ROWS)


@pytest.fixture
def airflow(deployment, published, monkeypatch):
    """A deployment whose publisher is on loopback."""
    with Publisher(published[0]) as publisher:
        publish_at(monkeypatch, publisher.base_url)
        yield


@pytest.fixture
def run(airflow, bag):
    """Runs the flow with a conf, as `airflow dags test` does."""

    def test_run(logical_date=None, **conf):
        return bag("nyc-taxi").dags["ingest_data"].test(logical_date=logical_date, run_conf=conf)

    return test_run


JANUARY = {"colour": "green", "year": 2024, "month": 1}


def test_a_run_without_a_month_takes_the_newest_published_one(run, query):
    finished = run(colour="green")

    assert finished.state == "success"
    assert result(finished, "extract_data")["file"] == GREEN.name
    assert labels(finished) == dict.fromkeys(("extract_data", "transform_data", "load_data"), "green-2024-01")
    assert query("SELECT DISTINCT file_month::text FROM green_taxi_trips") == [("2024-01-01",)]


def test_every_row_of_the_month_is_loaded_or_rejected(run, query, published):
    finished = run(**JANUARY)

    generated = published[1]
    kept = generated.rows - generated.without_passengers
    assert finished.state == "success"
    assert query("SELECT file_month::text, count(*) FROM green_taxi_trips GROUP BY 1") == [("2024-01-01", kept)]
    assert query(
        "SELECT dag_id, run_id, rows_read, rows_loaded, rows_rejected, rejected_by_reason FROM load_ledger"
    ) == [
        (
            "ingest_data",
            finished.run_id,
            generated.rows,
            kept,
            generated.without_passengers,
            {"no_passengers": generated.without_passengers},
        )
    ]


def test_the_log_names_the_table_and_counts_the_rows_without_passengers(run, published, caplog):
    run(**JANUARY)

    said = caplog.text
    assert "Logging Subflow for: public.green_taxi_trips" in said
    assert f"pre: rows with passenger_count 0: {published[1].without_passengers}\n" in said
    assert "post: rows with passenger_count 0: 0\n" in said


def test_each_step_has_an_event_of_the_month(run):
    assert events_of(run(**JANUARY)) == [
        ("raw any", "green|2024-01"),
        ("lake any", "green|2024-01"),
        ("postgres any", "green|2024-01"),
    ]


def test_a_second_run_changes_nothing_and_says_so(run, query, caplog):
    run(**JANUARY)
    before = query("SELECT tableoid, count(*) FROM green_taxi_trips GROUP BY 1")
    caplog.clear()

    finished = run(**JANUARY)

    said = caplog.text
    assert finished.state == "success"
    assert "no request made" in said
    assert "is up to date with" in said
    assert query("SELECT tableoid, count(*) FROM green_taxi_trips GROUP BY 1") == before
    assert query("SELECT count(*) FROM load_ledger") == [(1,)]


def test_force_does_every_step_again(run, query):
    run(**JANUARY)

    assert run(**JANUARY, force=True).state == "success"
    assert query("SELECT count(*) FROM load_ledger") == [(2,)]


def test_another_quality_profile_replaces_the_month(run, query):
    run(**JANUARY)

    run(**JANUARY, quality="none")

    assert query("SELECT count(*) FROM green_taxi_trips") == [(ROWS,)]
    assert query("SELECT quality_profile FROM load_ledger ORDER BY load_id") == [("notes",), ("none",)]


def test_a_date_alone_decides_the_month(run, query):
    assert run(logical_date=datetime(2024, 1, 1, tzinfo=UTC), colour="green").state == "success"
    assert query("SELECT DISTINCT month FROM load_ledger") == [("2024-01",)]


def test_the_csv_mirror_and_a_table_of_another_schema_can_be_asked_for(run, query, tmp_path, monkeypatch):
    file = TripFile("green", Month(2021, 1))
    path = tmp_path / "mirror" / catalog.source("csv_mirror").path_of(file)
    path.parent.mkdir(parents=True)
    generated = write_month(file, path, source="csv_mirror", rows=ROWS)
    with Publisher(tmp_path / "mirror") as mirror:
        monkeypatch.setenv("AIRFLOW_CONN_TAXI_CSV_MIRROR", json.dumps({"conn_type": "http", "host": mirror.base_url}))
        finished = run(colour="green", year=2021, month=1, source="csv_mirror", table_name="Course.rides")

    assert finished.state == "success"
    assert query('SELECT count(*) FROM "Course".rides') == [(generated.rows - generated.without_passengers,)]


@pytest.mark.parametrize("service", ["yellow", "fhv", "fhvhv"])
def test_every_service_goes_the_same_way(run, query, published, service):
    file = TripFile(service, Month(2024, 3))
    generated = write_month(file, published[0] / catalog.source("official").path_of(file), rows=ROWS)

    finished = run(colour=service, year=2024, month=3)

    assert finished.state == "success"
    assert query("SELECT target_table, rows_read, rows_loaded, schema_era FROM load_ledger") == [
        (
            f"public.{service}_taxi_trips",
            ROWS,
            ROWS - generated.without_passengers,
            catalog.service(service).era("official", file.month).name,
        )
    ]


def test_only_addresses_and_counts_go_through_xcom(run):
    finished = run(**JANUARY)

    for task_id in ("extract_data", "transform_data", "load_data"):
        value = result(finished, task_id)
        claim = value.pop("claim", {})
        assert value
        assert {type(item) for item in (*value.values(), *claim.values())} <= {str, int, NoneType}


def test_the_edition_and_the_claim_of_a_run_are_told_from_task_to_task(run, query):
    finished = run(**JANUARY)

    raw, landed = result(finished, "extract_data"), result(finished, "transform_data")
    [(sha256, number, asked_at, asked_for)] = query(
        "SELECT source_sha256, edition_number, asked_at, asked_for FROM load_ledger"
    )
    assert (raw["edition"], raw["outcome"]) == (sha256, "downloaded")
    assert raw["key"] == f"raw/official/green/{GREEN.name}.{sha256[:16]}.parquet"
    assert landed["claim"]["source_sha256"] == sha256
    assert (number, asked_for) == (landed["claim"]["edition_number"], None) == (1, None)
    assert asked_at == landed["claim"]["asked_at"]


def test_an_unknown_param_is_refused_by_name_before_anything_is_done(run, query, errors):
    finished = run(**JANUARY, monthz=2)

    assert states(finished)["log_subflow.log_table_name"] == "failed"
    assert states(finished)["extract_data"] == "upstream_failed"
    assert "params ['monthz'] are not known to ingest_data" in errors[0]
    assert query("SELECT to_regclass('load_ledger')") == [(None,)]


FIRST = "log_subflow.log_table_name"
EVIL = ["'; DROP TABLE load_ledger; --", "../../etc"]


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("param", ["colour", "source", "quality", "unknown_columns"])
def test_a_word_that_is_not_offered_is_refused_when_the_run_is_asked_for(run, param, evil):
    with pytest.raises(ParamValidationError) as refusal:
        run(**JANUARY | {param: evil})

    assert param in str(refusal.value)
    assert evil in str(refusal.value)


@pytest.mark.parametrize("evil", EVIL)
def test_a_table_name_that_is_none_is_refused_before_anything_is_done(run, tmp_path, evil, errors):
    finished = run(**JANUARY, table_name=evil)

    assert states(finished)["log_subflow.log_table_name"] == "failed"
    assert evil in errors[0].replace("\\'", "'")
    assert not (tmp_path / "a lake").exists()


def test_a_month_that_is_not_published_fails_at_once_with_a_clear_word(run, errors):
    finished = run(colour="green", year=2024, month=2)

    assert states(finished)["extract_data"] == "failed"
    assert tries(finished, "extract_data") == 1
    assert "HTTP 404: the source does not have the file; official has green from 2014-01" in errors[0]


@pytest.fixture
def quiet(airflow, monkeypatch):
    """The logs as `bin/airflow dags test` shows them."""
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in AIRFLOWS_LEVELS}
    handlers = {handler: list(handler.filters) for handler in logging.getLogger().handlers}
    configured = structlog.get_config()
    quieten()
    yield
    structlog.configure(**configured)
    for logger, level in levels.items():
        logger.setLevel(level)
    for handler, filters in handlers.items():
        handler.filters = filters


def test_a_failed_task_is_told_in_one_line(quiet, run, capfd, caplog):
    run(**JANUARY, table_name="a.b.trips")

    told = "".join(capfd.readouterr()) + caplog.text
    assert told.count("ValueError: table name 'a.b.trips' is not table or schema.table") == 1
    assert "Traceback" not in told


def test_a_month_before_the_first_is_refused_with_the_span_of_the_source(run, errors):
    finished = run(colour="green", year=2012, month=2)

    assert tries(finished, "extract_data") == 1
    assert "source 'official' has green from 2014-01 on" in errors[0]


def test_a_missing_connection_fails_at_once(run, monkeypatch, errors):
    monkeypatch.delenv("AIRFLOW_CONN_TAXI_SOURCE")

    finished = run(**JANUARY)

    assert states(finished)[FIRST] == "failed"
    assert tries(finished, FIRST) == 1
    assert errors[0].startswith("ValueError: connection 'taxi_source' is not set")


def test_a_missing_lake_variable_fails_at_once(run, monkeypatch, errors):
    monkeypatch.delenv("AIRFLOW_VAR_TAXI_LAKE")

    finished = run(**JANUARY)

    assert tries(finished, FIRST) == 1
    assert "Variable 'taxi_lake' is not set; expected file:///folder" in errors[0]


def test_throttling_is_tried_again_until_it_ends(run, monkeypatch, published, query):
    path = published[0] / catalog.source("official").path_of(GREEN)
    refusals = iter([429, 429])

    class Throttling(BaseHTTPRequestHandler):
        def do_GET(self):
            status = next(refusals, 200)
            body = path.read_bytes() if status == 200 else b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Throttling) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        publish_at(monkeypatch, f"http://127.0.0.1:{server.server_port}")
        finished = run(**JANUARY)
        server.shutdown()

    assert finished.state == "success"
    assert tries(finished, "extract_data") == 3
    assert query("SELECT rows_read FROM load_ledger") == [(ROWS,)]


def test_a_warehouse_that_is_down_is_tried_again_before_anything_is_downloaded(run, monkeypatch, query):
    good = json.loads(os.environ["AIRFLOW_CONN_TAXI_WAREHOUSE"])
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_WAREHOUSE", json.dumps(good | {"port": 1}))
    failed = run(**JANUARY)
    failed_states, failed_tries = states(failed), tries(failed, FIRST)
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_WAREHOUSE", json.dumps(good))

    finished = run(**JANUARY)

    assert (failed_states[FIRST], failed_states["extract_data"]) == ("failed", "upstream_failed")
    assert failed_tries == 4
    assert finished.state == "success"
    assert query("SELECT count(*) FROM load_ledger") == [(1,)]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "wrong"}, "WarehouseRefused: connection 'taxi_warehouse': .*password authentication failed"),
        ({"schema": "nowhere"}, "WarehouseRefused: connection 'taxi_warehouse': .*database \"nowhere\" does not exist"),
        ({"login": "nobody"}, "WarehouseRefused: connection 'taxi_warehouse': .*(nobody|role)"),
        ({"extra": {"sslmode": "maybe"}}, "WarehouseRefused: connection 'taxi_warehouse': .*invalid sslmode"),
        ({"extra": {"sslmode": "require"}}, "WarehouseRefused: connection 'taxi_warehouse': .*does not support SSL"),
        ({"extra": {"foo": "bar"}}, 'WarehouseRefused: .*invalid connection option "foo"'),
        ({"port": 70000}, "ValueError: connection 'taxi_warehouse' has port 70000; expected 1 to 65535"),
        ({"extra": "no json"}, "ValueError: the extra of connection 'taxi_warehouse' is not a JSON object"),
    ],
)
def test_a_warehouse_that_is_set_up_wrongly_fails_at_once_before_a_download(run, monkeypatch, errors, wrong, said):
    good = json.loads(os.environ["AIRFLOW_CONN_TAXI_WAREHOUSE"])
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_WAREHOUSE", json.dumps(good | wrong))

    failed = run(**JANUARY)

    assert (tries(failed, FIRST), states(failed)["extract_data"]) == (1, "upstream_failed")
    assert re.match(said, errors[0]), errors
    assert good["password"] not in errors[0]


def test_a_task_that_was_marked_as_success_by_hand_is_named(dags_by_id, monkeypatch):
    from include.orchestration import requests

    task = dags_by_id["ingest_data"].get_task("transform_data")
    monkeypatch.setattr(requests, "get_current_context", lambda: {"task": task})

    with pytest.raises(ValueError, match="the task before, extract_data, returned nothing"):
        requests.given(None)
