"""The example of docs/examples: models of dbt are built for just the months that changed, in a DuckDB file."""

import shutil
from pathlib import Path

import duckdb
import pytest

from include.nyc_taxi import targets
from include.nyc_taxi.targets.duckdb.database import DatabaseFile
from tests import dbt_projects

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
DUCKDB = targets.get("duckdb")
JANUARY, FEBRUARY = "green_tripdata_2024-01", "green_tripdata_2024-02"


@pytest.fixture
def use_project(monkeypatch):
    """Has dbt work in a project, as the environment of a worker does."""

    def use(folder):
        for name, value in dbt_projects.environment_of(folder).items():
            monkeypatch.setenv(name, value)

    return use


@pytest.fixture
def build(airflow_database, bag):
    """Runs the Dag for a file by hand."""

    def run(file):
        return bag("examples").dags["build_models"].test(run_conf={"file": str(file)})

    return run


def ask(path, question):
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(question).fetchall()


def test_the_dag_is_started_by_the_loaded_months_of_one_target(airflow_database, bag):
    parsed = bag("examples")

    assert parsed.import_errors == {}
    (dag,) = parsed.dags.values()
    refs = {ref.name for ref in dag.timetable.asset_condition.objects}
    assert refs == {f"duckdb {service}" for service in ("yellow", "green", "fhv", "fhvhv", "any")}
    assert dag.max_active_runs == 1  # DuckDB lets one process write


@dbt_projects.needs_dbt
def test_a_month_that_is_loaded_again_is_built_again_and_no_other(
    use_project, build, lake, landed_month, tmp_path, monkeypatch
):
    project, database = tmp_path / "trips_by_day", DatabaseFile(tmp_path / "taxi.duckdb")
    shutil.copytree(EXAMPLES / "trips_by_day", project)
    use_project(project)
    monkeypatch.setenv("TAXI_DUCKDB_FILE", str(database.path))
    for name in (JANUARY, FEBRUARY):
        DUCKDB.replace_month(database, landed_month(name), lake)
    assert build(JANUARY).state == "success"  # the first build makes the whole model
    built = "SELECT max(built_at), sum(trips) FROM models.trips_by_day WHERE file_month = '{}-01'"
    before = {month: ask(database.path, built.format(month)) for month in ("2024-01", "2024-02")}

    loaded = DUCKDB.replace_month(database, landed_month(JANUARY, rows=500), lake)
    assert build(JANUARY).state == "success"

    [(again, trips)] = ask(database.path, built.format("2024-01"))
    assert trips == loaded.rows_loaded != before["2024-01"][0][1]
    assert again > before["2024-01"][0][0]
    assert ask(database.path, built.format("2024-02")) == before["2024-02"]
    assert set(dbt_projects.results(project).values()) == {"success", "pass"}


@dbt_projects.needs_dbt
def test_only_what_follows_from_the_service_is_built_of_the_zoomcamps_project(
    use_project, build, lake, landed_month, tmp_path
):
    path = tmp_path / "taxi_rides_ny.duckdb"
    project = dbt_projects.copy_of_course(tmp_path, prod={"type": "duckdb", "path": str(path), "schema": "prod"})
    use_project(project)
    for name in ("green_tripdata_2020-07", "yellow_tripdata_2020-07"):
        file = landed_month(name, source="csv_mirror")
        DUCKDB.replace_month(DatabaseFile(path), file, lake, table=DUCKDB.default_table(file.service, "prod"))
    dbt_projects.call(project, "build")

    assert build("green_tripdata_2020-07").state == "success"

    built = dbt_projects.results(project)
    assert set(built.values()) == {"success", "pass"}
    assert dbt_projects.models_of(project) - built.keys() == {"stg_yellow_tripdata", "dim_zones"}
