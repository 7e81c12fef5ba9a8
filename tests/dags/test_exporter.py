"""What the exporter serves: what is known of this deployment's months, and nothing of what is not."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from include.nyc_taxi import targets
from include.orchestration import exporter
from include.orchestration.overview import overview

ROOT = Path(__file__).resolve().parents[2]
[ALERTS] = yaml.safe_load((ROOT / "deploy/metrics/alerts.yml").read_text())["groups"]
POSTGRES = targets.get("postgres")
JANUARY = {"colour": "green", "year": 2024, "month": 1}


def served(samples):
    """The samples as a program reads them over HTTP, by name and values of labels."""
    answering = exporter.Served()
    answering.samples = tuple(samples)
    port = exporter.serve(answering, "127.0.0.1")
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).raise_for_status().text
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    labels = {gauge.name: gauge.labels for gauge in exporter.GAUGES}
    return {(each.name, *(each.labels[name] for name in labels[each.name])): each.value for each in found}


@pytest.fixture
def loaded(publish, bag, client):
    publish("green_tripdata_2024-01")
    run = bag("nyc-taxi").dags["ingest_data"].test(run_conf=JANUARY)
    assert run.state == "success"
    yield run
    client.delete(f"/api/v2/dags/ingest_data/dagRuns/{run.run_id}").raise_for_status()


def test_months_are_counted_by_service_target_and_state(loaded, api, ran):
    ran("failed", JANUARY | {"month": 2})

    seen = served(exporter.of_target(overview(POSTGRES, api)))

    assert seen["taxi_target_answers", "postgres"] == 1
    assert [seen["taxi_months", "green", "postgres", state] for state in ("loaded", "failed", "running")] == [1, 1, 0]
    assert seen["taxi_months", "yellow", "postgres", "loaded"] == 0
    assert {key[1:] for key in seen if key[0] == "taxi_newest_month_timestamp_seconds"} == {("green", "postgres")}
    began = datetime.fromtimestamp(seen["taxi_newest_month_timestamp_seconds", "green", "postgres"], UTC)
    assert began.isoformat() == "2024-01-01T00:00:00+00:00"
    assert seen["taxi_backlog_months", "green", "postgres"] > 12, "the catalogue knows the months since then"
    assert seen["taxi_backlog_months", "yellow", "postgres"] == 0, "nobody loads it here"


def test_a_look_has_every_metric_that_the_alerts_are_made_of(loaded, tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW_API_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_DUCKDB", json.dumps({"conn_type": "generic", "host": f"{tmp_path}/a.duckdb"}))

    seen = served(exporter.look({"scratch": tmp_path / "not yet there"}))

    assert {name for name, *_ in seen} == {gauge.name for gauge in exporter.GAUGES}
    assert seen["taxi_airflow_answers",] == 0
    assert [key for key in seen if key[-1] == "failed"] == [], "without Airflow, nobody knows"
    assert seen["taxi_target_bytes", "postgres"] > seen["taxi_target_bytes", "lake"] > 10_000
    assert {key[1] for key in seen if key[0] == "taxi_disk_free_bytes"} == {"lake", "duckdb", "scratch"}
    assert seen["taxi_target_bytes", "duckdb"] == 0, "nothing is loaded there yet"
    used = {name for rule in ALERTS["rules"] for name in re.findall(r"\btaxi_\w+", rule["expr"])}
    assert used
    assert used <= {name for name, *_ in seen}


def test_of_a_target_that_does_not_answer_nothing_is_said(deployment, api, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_WAREHOUSE", '{"conn_type": "postgres", "host": "127.0.0.1", "port": 9}')

    assert served(exporter.of_target(overview(POSTGRES, api))) == {("taxi_target_answers", "postgres"): 0}


def test_a_look_that_fails_leaves_what_was_found_before(deployment, monkeypatch):
    found = exporter.Served()
    found.samples = [(exporter.LOOKED, (), 1.0)]
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_GCP", "{")

    exporter.look_again(found, {"wrong": None})

    assert found.samples == [(exporter.LOOKED, (), 1.0)]


def test_without_the_list_of_published_months_none_is_said_to_wait(loaded, api, monkeypatch, tmp_path):
    (tmp_path / "a lake" / "published").mkdir()
    (tmp_path / "a lake" / "published" / "official.json").write_text("{")

    seen = served(exporter.of_target(overview(POSTGRES, api)))

    assert seen["taxi_months", "green", "postgres", "loaded"] == 1
    assert {key[0] for key in seen} == {"taxi_target_answers", "taxi_months", "taxi_newest_month_timestamp_seconds"}
    assert {key[-1] for key in seen if key[0] == "taxi_months"}.isdisjoint({"published", "stale"})


@pytest.mark.parametrize("wrong", ["warehouse", "=/tmp", "warehouse=relative"])
def test_a_disk_is_a_name_and_an_absolute_folder(wrong, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["exporter", "--disk", wrong])

    with pytest.raises(SystemExit):
        exporter.main()

    assert f"{wrong!r} is not NAME=FOLDER with an absolute path" in capsys.readouterr().err
