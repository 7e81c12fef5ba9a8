"""The bundle in the folders of managed Airflows, as devtools/layouts.py writes them; Airflow itself is ours."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from devtools.emulators import LocalCloud
from devtools.generator.zone_files import lookup_bytes, shapes_bytes
from devtools.layouts import COPY_FOR_THE_PAGE, LAYOUTS, requirements, write
from devtools.newest_airflow import found_in
from tests.dags.test_integrity import EXPECTED_DAGS

CHECK = Path(__file__).resolve().parents[2] / "devtools" / "bundle_check.py"
GREEN = {"colour": "green", "year": 2024, "month": 1}
FLOWS = {
    "ingest_data": GREEN,
    "etl_web_to_gcs": GREEN,
    "etl_gcs_to_bq": GREEN,
    "etl_web_to_duckdb": GREEN,
    "etl_parent_flow": {"colour": ["green"], "year": 2024, "months": [1]},
    "sync_published_months": {"colours": ["green"], "since": "2024-01"},
    "ingest_taxi_zones": {},
    "flow_code": {},
}
PLUGINS = ["taxi", "taxi_preload", "taxi_timetables"]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    with LocalCloud(tmp_path_factory.mktemp("cloud")) as cloud, pytest.MonkeyPatch.context() as environment:
        for name, value in cloud.environment.items():
            environment.setenv(name, value)
        yield


@pytest.fixture
def published(publish, tmp_path):
    """A month of green, and the zones, at the publisher on loopback."""
    publish("green_tripdata_2024-01", rows=100)
    zones = tmp_path / "published" / "misc"
    zones.mkdir()
    (zones / "taxi_zone_lookup.csv").write_bytes(lookup_bytes())
    (zones / "taxi_zones.zip").write_bytes(shapes_bytes())


@pytest.fixture
def service(airflow_database, cloud, tmp_path, monkeypatch):
    """Writes a layout, and lays it out and starts Python as the service does."""

    def start(name, flows):
        home = tmp_path / LAYOUTS[name].home.lstrip("/")
        write(LAYOUTS[name], home)
        if LAYOUTS[name].is_zipped:
            ZipFile(home / "plugins.zip").extractall(home / "plugins")
        shutil.copy(Path(os.environ["AIRFLOW_HOME"]) / "airflow.db", tmp_path / "airflow.db")
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW__DAG_PROCESSOR__")
        }
        environment |= {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path / 'airflow.db'}",
            "AIRFLOW_CONN_TAXI_DUCKDB": json.dumps({"conn_type": "generic", "host": str(tmp_path / "taxi.duckdb")}),
            "PYTHONPATH": _path_of_the_image(name, home),
        }
        command = [sys.executable, "-P", str(CHECK), json.dumps(flows)]  # -P, as the `airflow` command does
        ran = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr[-4000:]
        return home, found_in(ran.stdout)

    return start


def _path_of_the_image(name, home):
    """PYTHONPATH, as the Dockerfile of a layout sets it; the services that take no Dockerfile let nobody set it."""
    dockerfile = dict(LAYOUTS[name].files).get("Dockerfile", "")
    paths = re.findall(r"^ENV PYTHONPATH=(\S+)$", dockerfile, re.MULTILINE)
    return ":".join(str(home) + path.removeprefix(LAYOUTS[name].home) for path in paths)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_has_all_dags_and_plugins_and_runs_each_flow(name, service, published):
    home, found = service(name, FLOWS)

    assert (found["plugin_errors"], found["import_errors"]) == ({}, {})
    assert set(found["plugins"]) >= set(PLUGINS)
    assert set(found["dags"]) == EXPECTED_DAGS
    assert {flow: found[flow] for flow in FLOWS} == dict.fromkeys(FLOWS, "success")
    used, of_the_page = LAYOUTS[name].include[0], LAYOUTS[name].include[-1]
    assert found["include"] == str(home / used / "__init__.py")
    assert found["include_of_the_page"] == str(home / of_the_page / "__init__.py")


def test_the_copy_for_the_page_is_where_the_plugin_looks_for_it_and_is_not_taken_for_plugins():
    plugins = Path(COPY_FOR_THE_PAGE).parts

    assert plugins[0] == "plugins"
    assert f"{plugins[1]}/" in (Path("plugins") / ".airflowignore").read_text().splitlines()


def test_a_service_keeps_its_own_airflow():
    listed = {re.split(r"[\[<>=]", line)[0] for line in requirements().splitlines()}

    assert {"apache-airflow-providers-google", "pyarrow", "duckdb"} <= listed
    assert listed & {"apache-airflow", "celery", "apache-airflow-providers-celery"} == set()


def test_a_folder_with_files_is_not_written_into(tmp_path):
    (tmp_path / "old").write_text("")

    with pytest.raises(FileExistsError, match="not empty; expected a new"):
        write(LAYOUTS["mwaa"], tmp_path)
