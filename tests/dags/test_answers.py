"""What the connections point to is asked, and what does not answer is a line with what to do."""

import json

import pytest

from devtools.servers.publisher import Publisher
from include.nyc_taxi import catalog


@pytest.fixture
def told(deployment, tmp_path, monkeypatch):
    """The lines about sources and targets, while a publisher on loopback is the official source."""
    from include.orchestration import answers

    file = tmp_path / "published" / catalog.source("official").known_url().partition("net/")[2]
    file.parent.mkdir(parents=True)
    file.write_text("a file")
    for name in ("TAXI_CSV_MIRROR", "TAXI_CSV_ARCHIVE", "TAXI_GCP"):
        monkeypatch.delenv(f"AIRFLOW_CONN_{name}", raising=False)

    def ask():
        return [" ".join(str(answer).split()) for answer in answers.every()]

    with Publisher(tmp_path / "published") as publisher:
        monkeypatch.setenv("AIRFLOW_CONN_TAXI_SOURCE", json.dumps({"conn_type": "http", "host": publisher.base_url}))
        yield ask


def test_what_answers_is_well_and_what_is_not_set_up_is_noted(told, tmp_path):
    assert [line.split(" ny_taxi")[0] for line in told()[:3]] == [
        "ok source official (connection taxi_source): answers",
        "note source csv_mirror (connection taxi_csv_mirror) is not set",
        "note source csv_archive (connection taxi_csv_archive) is not set",
    ]
    lines = told()[3:]
    assert f"ok Lake (Variable taxi_lake): file://{tmp_path}/a lake" in [line.rstrip("/") for line in lines]
    assert [line for line in lines if line.startswith("ok Postgres (connection taxi_warehouse): database ")]
    assert "note BigQuery (connection taxi_gcp) is not set up: runs are not loaded into it" in lines


@pytest.mark.parametrize(
    ("variable", "value", "line", "advice"),
    [
        (
            "AIRFLOW_CONN_TAXI_SOURCE",
            '{"conn_type": "http", "host": "http://127.0.0.1:9"}',
            "problem source official (connection taxi_source): http://127.0.0.1:9/",
            "check network and proxy, or correct the connection taxi_source",
        ),
        (
            "AIRFLOW_CONN_TAXI_WAREHOUSE",
            '{"conn_type": "postgres", "host": "127.0.0.1", "port": 1}',
            "problem Postgres (connection taxi_warehouse): connection 'taxi_warehouse': ",
            "see that it answers from here, or correct the connection taxi_warehouse",
        ),
        (
            "AIRFLOW_VAR_TAXI_LAKE",
            "lake",
            "problem Lake (Variable taxi_lake): Variable 'taxi_lake' is 'lake'",
            "see that it answers from here, or correct the Variable taxi_lake",
        ),
        (
            "AIRFLOW_CONN_TAXI_GCP",
            '{"conn_type": "google_cloud_platform", "extra": {"project": "mine", "key_path": "/gone.json"}}',
            "problem BigQuery (connection taxi_gcp): ",
            "see that it answers from here, or correct the connection taxi_gcp",
        ),
    ],
)
def test_what_does_not_answer_is_a_problem_with_its_reason(told, monkeypatch, variable, value, line, advice):
    monkeypatch.setenv(variable, value)

    (found,) = [found for found in told() if found.startswith(line)]
    assert found.endswith(f"; {advice}")
