"""What the documentation names is there, and what is generated is up to date."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

from devtools.dags_docs import page, written
from include.nyc_taxi import errors
from include.orchestration.deployments import deployments

ROOT = Path(__file__).resolve().parents[2]
NOTES = (ROOT / "docs" / "notes-to-airflow.md").read_text()
COLUMNS = 3
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in NOTES.splitlines()
    if line.startswith("| ") and not line.startswith("| Prefect |")
]
DAGS = re.compile(r"\bDags? ((?:`[\w.]+`(?:, )?)+)")
OF_DAG = re.compile(r"\b(task|param)s? ((?:`[\w.]+`(?:, )?)+) of Dag `([\w.]+)`")
NAMES = re.compile(r"`([\w.]+)`")


@pytest.fixture(scope="module")
def dags(airflow_database, bag):
    return bag("nyc-taxi").dags


def test_the_page_of_the_dags_is_what_they_say(dags):
    assert (ROOT / "docs" / "dags.md").read_text() == page(dags, deployments()), "run make docs"


def test_the_rows_of_the_notes_are_whole():
    assert len(ROWS) > 50
    assert [row for row in ROWS if len(row) != COLUMNS or not all(row)] == []


def test_the_rows_name_dags_tasks_and_params():
    kinds = {kind for _, here, _ in ROWS for kind, _, _ in OF_DAG.findall(here)}

    assert kinds == {"task", "param"}
    assert len([here for _, here, _ in ROWS if DAGS.search(here)]) > 20


def test_the_readme_lists_every_flow_with_its_tasks(dags):
    section = (ROOT / "README.md").read_text().partition("## The flows")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]

    assert {NAMES.findall(dag)[0] for dag, _, _ in rows} == {path.stem for path in (ROOT / "dags").glob("*.py")}
    for dag, named, _ in rows:
        known = {part for task_id in dags[dag.strip("`")].task_ids for part in task_id.split(".")} | set(dags)
        assert [name for name in NAMES.findall(named) if name not in known] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_what_a_row_of_the_notes_names_is_there(row, dags):
    _, here, command = row

    for named in DAGS.findall(here):
        assert [name for name in NAMES.findall(named) if name not in dags] == []
    for kind, named, dag_id in OF_DAG.findall(here):
        there = dags[dag_id].task_ids if kind == "task" else dags[dag_id].params
        assert [name for name in NAMES.findall(named) if name not in there] == []
    for queue in re.findall(r"queue `(\w+)`", here):
        assert queue in {task.queue for dag in dags.values() for task in dag.tasks}
    for connection in re.findall(r"`(taxi_\w+)`", here + command):
        assert re.search(rf"^#?{connection.upper()}=", (ROOT / ".env").read_text(), re.MULTILINE)
    for target in re.findall(r"`make (\w+)`", here + command):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for path in re.findall(r"`([\w/.-]+\.(?:py|yaml|md))`", here + command):
        assert (ROOT / path).is_file()


def leaves(kind):
    below = kind.__subclasses__()
    return set().union(*map(leaves, below)) | {kind} if below else {kind}


def test_triage_names_every_error_that_can_end_a_task(dags_by_id):
    triage = {name: written(dag).partition("### Triage")[2] for name, dag in dags_by_id.items() if "." not in name}
    named = {word for text in triage.values() for word in re.findall(r"`([A-Z]\w+)`", text)}
    abstract = {errors.TaxiError, errors.TransientError, errors.Superseded}  # Superseded ends green

    expected = {kind.__name__ for kind in leaves(errors.TaxiError) - abstract} | {"ValueError"}

    assert triage
    assert all(triage.values())
    assert expected <= named
    assert named - expected <= {"SIGKILL", "TAXI_LIMIT_FACTOR"}


@pytest.mark.parametrize("module", ["steps", "zone_steps", "sync_steps"])
def test_every_step_ends_with_an_error_of_triage(module):
    steps = importlib.import_module(f"include.orchestration.{module}")
    public = [
        each
        for name, each in vars(steps).items()
        if inspect.isfunction(each) and each.__module__ == steps.__name__ and not name.startswith("_")
    ]

    assert public
    assert [each.__name__ for each in public if not hasattr(each, "__wrapped__")] == []
