"""The zones from end to end: a publisher on loopback, a lake, a Postgres, and Airflow's own way of running it."""

import json
from pathlib import Path
from re import fullmatch

import psycopg
import pytest
from airflow.sdk.exceptions import ParamValidationError

from devtools.generator import write_month
from devtools.generator.zone_files import OF_2020, lookup_bytes, shapes_bytes, zone_rows
from devtools.servers.publisher import Publisher
from include.nyc_taxi import Month, TripFile, catalog
from include.nyc_taxi.lake import Lake

GREEN = TripFile("green", Month(2024, 1))
ROWS = 500


@pytest.fixture
def published(tmp_path):
    """A folder that plays the publisher: a month of green trips, and the zones."""
    folder = tmp_path / "published"
    for path in (trips := folder / catalog.source("official").path_of(GREEN), folder / "misc" / "zones"):
        path.parent.mkdir(parents=True)
    write_month(GREEN, trips, rows=ROWS)
    (folder / "misc" / "taxi_zone_lookup.csv").write_bytes(lookup_bytes())
    (folder / "misc" / "taxi_zones.zip").write_bytes(shapes_bytes())
    return folder


@pytest.fixture
def airflow(deployment, published, tmp_path, monkeypatch):
    """A deployment with a DuckDB file too, whose publisher is on loopback."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_TAXI_DUCKDB", json.dumps({"conn_type": "generic", "host": str(duckdb_of(tmp_path))})
    )
    with Publisher(published) as publisher:
        source = json.dumps({"conn_type": "http", "host": publisher.base_url})
        monkeypatch.setenv("AIRFLOW_CONN_TAXI_SOURCE", source)
        yield


@pytest.fixture
def run(airflow, bag):
    """Runs a DAG with a conf, as `airflow dags test` does."""
    return lambda dag_id="ingest_taxi_zones", **conf: bag("nyc-taxi").dags[dag_id].test(run_conf=conf)


@pytest.fixture
def query(warehouse):
    def rows(statement):
        with psycopg.connect(warehouse) as connection:
            return connection.execute(statement).fetchall()

    return rows


def duckdb_of(tmp_path):
    return tmp_path / "taxi.duckdb"


def returned(run, task_id):
    return run.get_task_instance(task_id).xcom_pull(task_ids=task_id)


def loaded(run):
    """What `load_zones` returned, by target."""
    tasks = [ti for ti in run.get_task_instances() if ti.task_id == "load_zones"]
    results = [ti.xcom_pull(task_ids="load_zones", map_indexes=ti.map_index) for ti in tasks]
    return {result["target"]: result for result in results if result}


def test_trips_join_to_boroughs_and_names(run, query):
    run("ingest_data", colour="green", year=2024, month=1, quality="none")

    finished = run()

    assert finished.state == "success"
    assert query("SELECT count(*), count(shape) FROM taxi_zones") == [(265, 263)]
    assert query("SELECT count(*) FROM green_trips_with_zones") == [(ROWS,)]
    named = "SELECT DISTINCT pickup_borough, dropoff_borough FROM green_trips_with_zones WHERE pickup_zone LIKE 'Zone%'"
    assert ("Borough 1", "Borough 2") in query(named)


def test_a_second_run_changes_nothing_and_says_so(run, query, caplog):
    run()
    before = query("SELECT xmin, location_id FROM taxi_zones")
    caplog.clear()

    finished = run()

    assert finished.state == "success"
    assert "unchanged at http" in caplog.text
    assert "is up to date with 265 zones" in caplog.text
    assert returned(finished, "land_zones")["outcome"] == "unchanged"
    assert {name: result["outcome"] for name, result in loaded(finished).items()} == {
        "postgres": "unchanged",
        "duckdb": "unchanged",
        "lake": "landed",
    }
    assert query("SELECT xmin, location_id FROM taxi_zones") == before


def test_a_new_edition_of_the_publisher_is_loaded(run, query, published):
    run()
    Path(published, "misc", "taxi_zone_lookup.csv").write_bytes(lookup_bytes(zone_rows(OF_2020)))

    assert loaded(run(target="postgres"))["postgres"]["outcome"] == "replaced"
    assert query("SELECT zone FROM taxi_zones WHERE location_id = 265") == [("NA",)]


def test_an_edition_with_a_row_too_few_fails_at_once_and_leaves_the_zones_in_place(run, query, published):
    run()
    Path(published, "misc", "taxi_zone_lookup.csv").write_bytes(lookup_bytes(zone_rows()[:-1]))

    finished = run()

    assert finished.get_task_instance("land_zones").state == "failed"
    assert finished.get_task_instance("land_zones").try_number == 1
    assert query("SELECT count(*) FROM taxi_zones") == [(265,)]


def test_only_addresses_and_counts_go_through_xcom(run):
    finished = run()

    assert fullmatch(
        r"raw/official/misc/taxi_zone_lookup\.[0-9a-f]{16}\.csv", returned(finished, "fetch_zones")["lookup"]
    )
    for result in (returned(finished, "fetch_zones"), returned(finished, "land_zones"), *loaded(finished).values()):
        assert {type(value) for value in result.values()} <= {str, int}


def test_only_the_targets_that_are_asked_for_are_loaded(run, query, tmp_path):
    """An empty list stands for all that are set up, as in the second test; none stops in the lake."""
    assert set(loaded(run(target="none"))) == {"lake"}
    assert set(loaded(run(target=["postgres"]))) == {"postgres"}

    assert query("SELECT count(*) FROM taxi_zones") == [(265,)]
    assert Lake.at(tmp_path / "a lake").size("zones/zones.parquet") > 0
    assert not duckdb_of(tmp_path).exists()


def test_a_target_that_fails_does_not_stop_the_others(run, query, tmp_path):
    duckdb_of(tmp_path).write_bytes(b"no database" * 1000)

    finished = run()

    assert finished.state == "failed"
    assert {"postgres", "lake"} == set(loaded(finished))
    assert query("SELECT count(*) FROM taxi_zones") == [(265,)]


@pytest.mark.parametrize(
    ("target", "said"), [(["bigquery"], "set connection taxi_gcp"), ("elsewhere", "target 'elsewhere' is not one of")]
)
def test_a_target_that_is_not_set_up_or_unknown_is_refused(run, caplog, target, said):
    finished = run(target=target)

    assert finished.get_task_instance("which_targets").state == "failed"
    assert said in caplog.text


def test_the_form_refuses_a_list_with_an_unknown_target(run):
    with pytest.raises(ParamValidationError, match="elsewhere"):
        run(target=["postgres", "elsewhere"])


def test_an_unknown_param_is_refused(run):
    finished = run(force=True)

    assert finished.get_task_instance("which_targets").state == "failed"
    assert finished.get_task_instance("which_targets").try_number == 1


def test_it_runs_monthly_and_does_not_catch_up(airflow_database, bag):
    dag = bag("nyc-taxi").dags["ingest_taxi_zones"]

    assert dag.timetable.expression == "0 6 5 * *"
    assert dag.catchup is False
