"""The Data Engineering Zoomcamp's dbt project builds, unmodified, on the views under the publisher's names.

It is tried if DBT_COURSE names a folder that has it, and dbt is installed.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery as bq

from devtools.emulators import LocalCloud
from include.nyc_taxi import targets
from include.nyc_taxi.targets.duckdb.database import DatabaseFile
from tests import dbt_projects

MONTHS = ("green_tripdata_2019-01", "green_tripdata_2020-07", "yellow_tripdata_2019-01")

pytestmark = dbt_projects.needs_dbt


@pytest.fixture
def months(landed_month):
    """Months of the mirror, which the course loads."""
    return [landed_month(name, source="csv_mirror", rows=2_000) for name in MONTHS]


def test_its_local_way_builds_and_its_tests_pass_in_both_environments(tmp_path, lake, months):
    path, target = tmp_path / "taxi_rides_ny.duckdb", targets.get("duckdb")
    outputs = {name: {"type": "duckdb", "path": str(path), "schema": name} for name in ("prod", "dev")}
    project = dbt_projects.copy_of_course(tmp_path, **outputs)
    loaded = 0
    for file in months:
        table = target.default_table(file.service, "prod")
        loaded += target.replace_month(DatabaseFile(path), file, lake, table=table).rows_loaded

    for output in outputs:
        dbt_projects.call(project, "build", "--target", output)

        assert set(dbt_projects.results(project).values()) == {"success", "pass"}
        assert dbt_projects.results(project).keys() >= dbt_projects.models_of(project)

    with duckdb.connect(str(path), read_only=True) as connection:
        of_meters = "vendorid IS NOT NULL"  # the course leaves out the rest
        [(raw,)] = connection.execute(
            f"SELECT (SELECT count(*) FROM prod.green_tripdata WHERE {of_meters}) "
            f"+ (SELECT count(*) FROM prod.yellow_tripdata WHERE {of_meters})"
        ).fetchall()
        [(staged, of_dev)] = connection.execute(
            "SELECT (SELECT count(*) FROM prod.int_trips_unioned), (SELECT count(*) FROM dev.int_trips_unioned)"
        ).fetchall()
    assert loaded > raw == staged > of_dev > 0


class StandIn:
    """BigQuery's stand-in, which takes no DDL: each model becomes a view by its API, and each test is a query."""

    def __init__(self, client: bq.Client, project: Path) -> None:
        self.client = client
        self.project = project
        self.nodes = json.loads((project / "target" / "manifest.json").read_text())["nodes"]
        self.made: dict[str, int] = {}

    def make(self, unique_id: str) -> None:
        """Make a node after those that it depends on, and note its rows; those of a test are its failures."""
        node = self.nodes.get(unique_id)
        if node is None or unique_id in self.made:
            return
        for before in node["depends_on"].get("nodes", []):
            self.make(before)
        self.made[unique_id] = getattr(self, f"_{node['resource_type']}")(node)

    def _seed(self, node: dict[str, Any]) -> int:
        with (self.project / node["original_file_path"]).open() as file:
            rows = [
                {name: int(text) if text.isdigit() else text for name, text in row.items()}
                for row in csv.DictReader(file)
            ]
        types = {name: "INTEGER" if isinstance(value, int) else "STRING" for name, value in rows[0].items()}
        config = bq.LoadJobConfig(schema=[bq.SchemaField(name, type_) for name, type_ in types.items()])
        return self.client.load_table_from_json(rows, _name(node), job_config=config).result().output_rows

    def _model(self, node: dict[str, Any]) -> int:
        view = bq.Table(_name(node))
        view.view_query = node["compiled_code"]
        self.client.create_table(view)
        return self._count(f"SELECT * FROM {_name(node)}")

    def _test(self, node: dict[str, Any]) -> int:
        return self._count(node["compiled_code"])

    def _count(self, query: str) -> int:
        return sum(1 for _ in self.client.query_and_wait(query))


def _name(node: dict[str, Any]) -> str:
    return f"{node['database']}.{node['schema']}.{node['name']}"


@pytest.fixture
def client(cloud: LocalCloud) -> Iterator[bq.Client]:
    with bq.Client(project="local", credentials=AnonymousCredentials()) as client:
        yield client
        for dataset in client.list_datasets():
            client.delete_dataset(dataset.reference, delete_contents=True)


def test_its_cloud_way_runs_on_the_stand_in_as_dbt_compiles_it(tmp_path, lake, months, client, cloud):
    target = targets.get("bigquery")
    output = {"type": "bigquery", "method": "oauth-secrets", "token": "none", "project": "local", "dataset": "models"}
    endpoint = cloud.environment["BIGQUERY_EMULATOR_HOST"]
    project = dbt_projects.copy_of_course(tmp_path, cloud=output | {"threads": 1, "api_endpoint": endpoint})
    for file in months:
        target.replace_month(client, file, lake, table=target.default_table(file.service, "nytaxi"))
    client.create_dataset("models")

    dbt_projects.call(project, "compile", GCP_PROJECT_ID="local")
    stand_in = StandIn(client, project)
    for unique_id in stand_in.nodes:
        stand_in.make(unique_id)

    by_kind = {kind: {} for kind in ("seed", "model", "test")}
    for unique_id, rows in stand_in.made.items():
        kind, _, name, *_ = unique_id.split(".")
        by_kind[kind][name] = rows
    assert by_kind["model"].keys() == dbt_projects.models_of(project)
    assert all(by_kind["model"].values())
    assert {name: failures for name, failures in by_kind["test"].items() if failures} == {}
    assert len(by_kind["test"]) > 30
