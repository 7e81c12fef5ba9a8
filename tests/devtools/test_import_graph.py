"""The drawing of the imports is up to date, and the imports keep to the layers."""

import pytest

from devtools.import_graph import PAGE, ROOT, import_graph, page, problems


@pytest.fixture
def bundle(tmp_path):
    """Writes modules into a bundle, and returns the problems of its imports."""

    def write(modules):
        for name, source in modules.items():
            path = tmp_path / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        return problems(import_graph(tmp_path))

    return write


def test_the_imports_have_no_circle_point_down_and_leave_out_devtools():
    graph = import_graph(ROOT)

    assert len(graph) > 60
    assert problems(graph) == []


def test_the_drawing_is_up_to_date():
    assert PAGE.read_text() == page(import_graph(ROOT)), "run `make docs`"


def test_a_circle_of_modules_is_named(bundle):
    (problem,) = bundle(
        {
            "include/orchestration/a": "import include.orchestration.b",
            "include/orchestration/b": "def late():\n    from include.orchestration import c",
            "include/orchestration/c": "from include.orchestration.a import something",
        }
    )

    modules = problem.removeprefix("circle of imports: ").split(" -> ")
    assert modules[0] == modules[-1]
    assert set(modules) == {"include.orchestration.a", "include.orchestration.b", "include.orchestration.c"}
    assert modules[(modules.index("include.orchestration.b") + 1) % 3] == "include.orchestration.c"


def test_an_import_for_types_alone_counts(bundle):
    (problem,) = bundle(
        {
            "include/orchestration/steps": "if TYPE_CHECKING:\n    from include.orchestration.assets import Asset",
            "include/orchestration/assets": "from include.orchestration.steps import Step",
        }
    )

    assert problem.startswith("circle of imports: ")


def test_a_name_that_a_package_exports_counts_as_its_module(bundle):
    assert bundle(
        {
            "include/nyc_taxi/__init__": "from include.nyc_taxi.coverage import Cell",
            "include/nyc_taxi/coverage": "",
            "include/nyc_taxi/lake": "from include.nyc_taxi import Cell",
        }
    ) == ["lake imports coverage, which is not in a lower layer"]


@pytest.mark.parametrize(
    ("module", "imported", "problem"),
    [
        ("include/nyc_taxi/lake", "include.nyc_taxi.targets", "lake imports targets"),
        ("include/nyc_taxi/catalog/additions", "include.nyc_taxi.lake", "catalog imports lake"),
        ("include/nyc_taxi/lake", "include.nyc_taxi.quality", "lake imports quality"),
        ("dags/flow", "taxi_page.app", "dags imports plugins"),
        ("include/nyc_taxi/lake", "include.orchestration.steps", "lake imports orchestration"),
        ("include/orchestration/steps", "taxi_page.app", "orchestration imports plugins"),
        ("include/orchestration/steps", "dags.flow", "orchestration imports dags"),
    ],
)
def test_an_arrow_that_does_not_point_down_is_named(bundle, module, imported, problem):
    core = [f"include/nyc_taxi/{name}" for name in ("lake", "quality", "targets/__init__")]
    others = dict.fromkeys((*core, "include/orchestration/steps", "plugins/taxi_page/app", "dags/flow"), "")

    assert bundle(others | {module: f"import {imported}"}) == [f"{problem}, which is not in a lower layer"]


def test_a_part_without_a_layer_is_named(bundle):
    assert bundle({"include/nyc_taxi/helpers": ""}) == ["helpers has no layer: name it in devtools/import_graph.py"]


@pytest.mark.parametrize("module", ["dags/flow", "include/nyc_taxi/lake", "plugins/taxi_plugin"])
def test_an_import_of_devtools_is_named(bundle, module):
    (problem,) = bundle({module: "from devtools.generator import write_month"})

    assert problem == f"{module.replace('/', '.')} imports devtools"
