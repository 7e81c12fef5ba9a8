"""The core stands alone: it does not know the orchestrator, and does not import pandas."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from devtools.generator import write_month
from devtools.import_graph import import_graph
from include.nyc_taxi.lake import Lake
from tests.nyc_taxi.trips import FILE, put_raw

ROOT = Path(__file__).resolve().parents[2]

CORE = "include.nyc_taxi"

IMPORT_ALL = """
import importlib, json, pkgutil, sys
import include.nyc_taxi as core

names = [module.name for module in pkgutil.walk_packages(core.__path__, f"{core.__name__}.")]
for name in names:
    importlib.import_module(name)
print(json.dumps([names, list(sys.modules)]))
"""

LAND = """
import json, sys
from pyarrow import parquet
from include.nyc_taxi import TripFile, landing
from include.nyc_taxi.lake import Lake, data_key
from include.nyc_taxi.summary import Summary

file, lake = TripFile.parse(sys.argv[1]), Lake.at(sys.argv[2])
result = landing.land(file, lake, source=sys.argv[3], profile="strict")
summary = Summary(file)
for batch in parquet.ParquetFile(lake.path(data_key(file))).iter_batches():
    summary.add(batch)
summary.by_zone()
print(json.dumps([result.rows_read, list(sys.modules)]))
"""


def in_fresh_interpreter(code: str, *arguments: str) -> list:
    command = [sys.executable, "-c", code, *arguments]
    answer = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(answer.stdout)


def test_importing_the_core_does_not_import_airflow():
    names, imported = in_fresh_interpreter(IMPORT_ALL)

    modules = {module for module in import_graph(ROOT) if module.startswith(CORE)}
    assert {CORE, *names} == modules <= set(imported)
    assert "airflow" not in imported


@pytest.mark.parametrize("source", ["official", "csv_mirror"])
def test_landing_and_summing_up_a_file_imports_neither_airflow_nor_pandas(lake: Lake, tmp_path: Path, source: str):
    write_month(FILE, tmp_path / "file", source=source, rows=1_000)
    put_raw(lake, (tmp_path / "file").read_bytes(), source=source)

    rows, imported = in_fresh_interpreter(LAND, FILE.name, lake.root, source)

    assert rows == 1_000
    assert "pyarrow" in imported
    assert not {"airflow", "pandas"} & set(imported)


def test_the_product_does_not_import_devtools():
    product = [path for folder in ("dags", "include", "plugins") for path in sorted((ROOT / folder).rglob("*.py"))]

    assert len(product) > 30
    assert [path for path in product if "devtools" in path.read_text()] == []
