"""A month from the web into a DuckDB file, through Airflow."""

import json

import duckdb
import pytest

from include.nyc_taxi import targets
from include.nyc_taxi.errors import SetUpError
from tests.dags.runs import events_of, result, states


@pytest.fixture
def file(deployment, tmp_path, monkeypatch):
    """The file that the connection names."""
    path = tmp_path / "a folder" / "taxi.duckdb"
    name(monkeypatch, host=str(path))
    return path


@pytest.fixture
def run(publish, bag):
    """Runs a flow with a conf, as `airflow dags test` does."""

    def test_run(dag_id, **conf):
        return bag("nyc-taxi").dags[dag_id].test(run_conf=conf)

    return test_run


def name(monkeypatch, **connection):
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_DUCKDB", json.dumps({"conn_type": "generic", **connection}))


def ask(file, question):
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.execute(question).fetchall()


def test_a_month_goes_from_the_web_into_the_file_once(run, publish, file):
    generated = publish("green_tripdata_2024-01")
    conf = {"colour": "green", "year": 2024, "month": 1}

    finished, again = run("etl_web_to_duckdb", **conf), run("etl_web_to_duckdb", **conf)

    assert set(states(finished).values()) == set(states(again).values()) == {"success"}
    assert [result(each, "load")["outcome"] for each in (finished, again)] == ["replaced", "unchanged"]
    assert ("duckdb any", "green|2024-01") in events_of(finished)
    kept = generated.rows - generated.without_passengers
    assert ask(file, "SELECT count(*) FROM green_taxi_trips") == [(kept,)]
    assert ask(file, "SELECT dag_id, rows_read, rows_loaded FROM load_ledger") == [
        ("etl_web_to_duckdb", generated.rows, kept)
    ]


def test_the_parent_flow_loads_several_months_into_a_schema_of_the_file(run, publish, file):
    for month in ("2024-01", "2024-02"):
        publish(f"green_tripdata_{month}")

    finished = run("etl_parent_flow", colour="green", year=2024, months=[1, 2], target="duckdb", schema="prod")

    assert finished.state == "success"
    assert ask(file, "SELECT count(DISTINCT file_month) FROM prod.green_taxi_trips") == [(2,)]


def test_a_file_that_is_not_there_yet_holds_nothing_and_is_not_made_by_a_look(file):
    from include.orchestration import overview

    seen = overview.overview(targets.get("duckdb"), None)

    assert (seen.target_answers, seen.problems) == (True, ())
    assert not any(cell.load for cell in seen.cells.values())
    assert not file.parent.exists()


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        ({"host": "taxi.duckdb"}, "has the host 'taxi.duckdb'; expected the absolute path of a DuckDB file"),
        ({"host": "md:taxi"}, "expected the absolute path"),
        ({}, "expected the absolute path"),
        ({"host": "/x.duckdb", "extra": {"threads": 0}}, "threads in the extra .* is 0; expected a whole number"),
        ({"host": "/x.duckdb", "extra": {"memory_limit": 1}}, "memory_limit .* is 1; expected a size such as 2GB"),
        ({"host": "/x.duckdb", "extra": {"patience_seconds": "1"}}, "expected a number of seconds"),
    ],
)
def test_a_connection_that_is_wrong_says_what_was_expected(airflow_database, monkeypatch, connection, words):
    from include.orchestration import connections

    name(monkeypatch, **connection)

    with pytest.raises(ValueError, match=words), connections.opened(targets.get("duckdb")):
        pass


def test_a_folder_that_is_a_file_is_a_set_up_error(airflow_database, monkeypatch, tmp_path):
    from include.orchestration import connections

    (tmp_path / "folder").touch()
    name(monkeypatch, host=str(tmp_path / "folder" / "taxi.duckdb"))

    with pytest.raises(SetUpError, match="is a file; expected a folder"), connections.opened(targets.get("duckdb")):
        pass


def test_a_uri_and_an_extra_are_taken(airflow_database, monkeypatch, tmp_path):
    from include.orchestration import connections

    monkeypatch.setenv("AIRFLOW_CONN_TAXI_DUCKDB", f"duckdb://{tmp_path}/taxi.duckdb?threads=1")
    with pytest.raises(ValueError, match="threads in the extra"), connections.opened(targets.get("duckdb")):
        pass
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_DUCKDB", f"duckdb://{tmp_path}/taxi.duckdb")
    with connections.opened(targets.get("duckdb"), read_only=True) as database:
        assert (database.path, database.is_read_only, database.patience_seconds) == (
            tmp_path / "taxi.duckdb",
            True,
            5.0,
        )
