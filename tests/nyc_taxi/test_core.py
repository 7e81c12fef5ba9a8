"""The core stands alone: it does not know the orchestrator, does not import pandas, and its imports point down."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from devtools.generator import write_month
from include.nyc_taxi.lake import Lake
from tests.nyc_taxi.trips import FILE, put_raw

ROOT = Path(__file__).resolve().parents[2]

CORE = "include.nyc_taxi"

# The rooms of the core, from the lowest floor up: a room imports from the floors below alone.
FLOORS = [
    ["errors", "month", "progress"],
    ["catalog"],
    ["trip_file"],
    ["lake", "reading", "quality", "summary"],
    ["changes", "editions"],
    ["precedence", "republication"],
    ["download", "landing"],
    ["publications", "zones"],
    ["targets"],
    ["coverage"],
]

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


def modules(folder: str) -> dict[str, ast.Module]:
    """The syntax of every module below a folder of the project, by its name."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return {name: ast.parse(path.read_text()) for name, path in zip(names, paths, strict=True)}


def imports(module: ast.Module) -> Iterator[str]:
    """The full names that a module imports anywhere, for types too."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def imported_modules(of: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Which of the modules each of them imports."""
    return {
        name: {other if other in of else other.rpartition(".")[0] for other in imports(module)} & set(of) - {name}
        for name, module in of.items()
    }


def room(module: str) -> str:
    """The room of a module of the core, whose front offers what is in `trip_file`."""
    return "trip_file" if module == CORE else module.removeprefix(f"{CORE}.").partition(".")[0]


def test_no_module_of_the_product_imports_itself_by_way_of_others():
    graph = imported_modules(modules("include") | modules("plugins") | modules("dags"))

    assert len(graph) > 60
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)


def test_imports_of_the_core_point_down():
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    graph = imported_modules(modules("include/nyc_taxi"))
    arrows = {(room(name), room(other)) for name, others in graph.items() for other in others}

    assert set(map(room, graph)) == set(floor)
    assert len(arrows) > 30
    assert [(one, other) for one, other in sorted(arrows) if one != other and floor[one] <= floor[other]] == []


def test_importing_the_core_does_not_import_airflow():
    names, imported = in_fresh_interpreter(IMPORT_ALL)

    assert {CORE, *names} == set(modules("include/nyc_taxi")) <= set(imported)
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
