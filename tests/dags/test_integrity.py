"""What holds for every Dag file of the bundle."""

import ast
import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from airflow.sdk import RetryAction
from markdown_it import MarkdownIt

from devtools.dags_docs import written
from include.nyc_taxi import catalog, quality, targets
from include.nyc_taxi.errors import NotPublished, WarehouseBusy
from include.orchestration import params
from include.orchestration.deployments import deployments
from include.orchestration.retries import RETRY_POLICY
from include.orchestration.tags import KNOWN, Tag

ROOT = Path(__file__).resolve().parents[2]
DAG_FILES = sorted((ROOT / "dags").glob("*.py"))
FLOWS = {
    "etl_gcs_to_bq",
    "etl_parent_flow",
    "etl_web_to_duckdb",
    "etl_web_to_gcs",
    "flow_code",
    "ingest_data",
    "ingest_taxi_zones",
    "sync_published_months",
}
EXPECTED_DAGS = FLOWS | {entry.dag_id for entry in deployments()}
HEAVY = ("pandas", "pyarrow", "google", "psycopg", "httpx", "duckdb", "airflow.providers.google", "numpy")

# Parses the DAG files as the DAG processor does and tells what that took. An audit hook sees every attempt to connect,
# to start a process and to write a file, also those that a library makes.
PARSE = """
import json, sys, time
started = time.process_time()
import airflow.sdk
from airflow.dag_processing.dagbag import BundleDagBag
import_seconds = time.process_time() - started
before = set(sys.modules)
deeds = []
def hook(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system"):
        deeds.append(event)
    elif event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+") and ".pyc" not in str(args[0]):
        deeds.append(f"write {args[0]}")
sys.addaudithook(hook)
started = time.process_time()
bag = BundleDagBag(sys.argv[1], bundle_path=sys.argv[1], bundle_name="nyc-taxi")
parse_seconds = time.process_time() - started
found = {
    "dags": sorted(bag.dags), "import_seconds": import_seconds, "parse_seconds": parse_seconds, "deeds": deeds,
    "modules": sorted(set(sys.modules) - before),
}
print("FOUND", json.dumps(found))
"""


@pytest.fixture(scope="module")
def parsing(airflow_database, tmp_path_factory):
    """What a fresh interpreter does when it parses the bundle."""
    parsed = subprocess.run(
        [sys.executable, "-P", "-c", PARSE, str(ROOT)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path_factory.mktemp("elsewhere"),
    )
    return json.loads(parsed.stdout.partition("FOUND ")[2])


@pytest.fixture
def dags(airflow_database, bag):
    return bag("nyc-taxi").dags


def test_the_bundle_holds_just_the_expected_dags(airflow_database, bag):
    parsed = bag("nyc-taxi")

    assert parsed.import_errors == {}
    assert set(parsed.dags) == EXPECTED_DAGS


def test_every_dag_file_makes_a_dag_of_its_own_name():
    assert {path.stem for path in DAG_FILES} == FLOWS


def test_parsing_finds_the_dags_in_a_fresh_interpreter(parsing):
    assert set(parsing["dags"]) == EXPECTED_DAGS


def test_parsing_costs_less_than_importing_airflow(parsing):
    assert parsing["parse_seconds"] < parsing["import_seconds"]


def test_parsing_imports_nothing_heavy(parsing):
    heavy = [name for name in parsing["modules"] if name in HEAVY or name.startswith(tuple(f"{h}." for h in HEAVY))]

    assert "include.orchestration.params" in parsing["modules"]
    assert heavy == []


def test_parsing_neither_connects_nor_starts_nor_writes_anything(parsing):
    assert parsing["deeds"] == []


@pytest.mark.parametrize("path", DAG_FILES, ids=lambda path: path.stem)
def test_a_dag_file_imports_only_airflow_sdk_and_orchestration_at_its_top(path):
    top = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {node.module for node in top if isinstance(node, ast.ImportFrom)}

    assert not any(isinstance(node, ast.Import) for node in top)
    assert all(module == "airflow.sdk" or module.startswith("include.orchestration") for module in modules)


@pytest.mark.parametrize("dag_id", sorted(EXPECTED_DAGS))
def test_a_dag_says_what_it_does_and_what_to_do_when_it_is_red(dags, dag_id):
    doc = dags[dag_id].doc_md

    assert [word for word in ("**What**", "**Grain**", "**Re-run safety**", "### Triage") if word not in doc] == []
    assert dags[dag_id].description


@pytest.mark.parametrize("dag_id", sorted(EXPECTED_DAGS))
def test_the_first_paragraph_says_what_a_dag_does_and_when(dags, dag_id):
    first = dags[dag_id].doc_md.partition("\n\n")[0]

    assert re.search(r"\bwhen triggered\b|\bevery day\b|\bof each month\b|\. It runs ", first)


@pytest.mark.parametrize("flow", sorted(FLOWS))
def test_the_ui_is_given_the_text_of_a_doc_without_inline_code(dags, flow):
    """Airflow pads inline code so that it covers the lines above and below."""
    shown, source = (MarkdownIt().parse(doc) for doc in (dags[flow].doc_md, written(dags[flow])))

    assert "code_inline" in kinds_of(source)
    assert "code_inline" not in kinds_of(shown)
    assert text_of(shown) == text_of(source)


def kinds_of(tokens):
    return {token.type for block in tokens for token in block.children or []}


def text_of(tokens):
    return ["".join(token.content for token in block.children) for block in tokens if block.children]


@pytest.mark.parametrize("dag_id", sorted(EXPECTED_DAGS))
def test_the_tags_of_a_dag_are_known(dags, dag_id):
    assert dags[dag_id].tags
    assert dags[dag_id].tags <= KNOWN
    assert (Tag.FLOW in dags[dag_id].tags, Tag.DEPLOYMENT in dags[dag_id].tags) == (
        dag_id in FLOWS,
        dag_id not in FLOWS,
    )


@pytest.mark.parametrize("dag_id", sorted(EXPECTED_DAGS))
def test_every_task_has_owner_retries_timeout_and_the_shared_retry_policy(dags, dag_id):
    tasks = dags[dag_id].tasks

    assert tasks
    for task in tasks:
        assert task.owner == "nyc-taxi", task
        assert task.retries >= 1, task
        assert task.execution_timeout, task
        assert task.retry_policy == RETRY_POLICY, task


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (WarehouseBusy("gone"), RetryAction.RETRY),
        (NotPublished("403"), RetryAction.FAIL),
        (PermissionError(13, "Permission denied", "/lake"), RetryAction.FAIL),
        (OSError(28, "No space left on device"), RetryAction.DEFAULT),
    ],
)
def test_only_transient_errors_are_retried(error, action):
    assert RETRY_POLICY.evaluate(error, 1, 3, None).action == action


def test_the_tasks_of_ingest_data_are_in_order_with_their_retries(dags):
    dag = dags["ingest_data"]
    chain = ["log_subflow.log_table_name", "extract_data", "transform_data", "load_data"]

    assert set(dag.task_ids) == set(chain)
    for upstream, downstream in pairwise(chain):
        assert dag.get_task(downstream).upstream_task_ids == {upstream}
    assert (dag.get_task("extract_data").retries, dag.get_task("load_data").retries) == (3, 3)


def test_the_form_offers_what_the_core_knows():
    form = params.trip_file_params() | params.reading_params() | params.target_params()

    assert form["quality"].schema["enum"] == list(quality.PROFILES)
    assert form["colour"].schema["enum"] == sorted(catalog.services())
    assert form["source"].schema["enum"] == sorted(catalog.sources())
    assert form["target"].schema["enum"] == ["none", *(target.name for target in targets.loadable())]
    for kind in ("dataset", "schema"):
        defaults = {target.default_namespace for target in targets.loadable() if target.namespace_kind == kind}
        assert form[kind].value == (defaults.pop() if len(defaults) == 1 else None)


AT_THE_TOP = {"colour", "colours", "year", "month", "months", "since", "source", "max_files_per_run"}


@pytest.mark.parametrize("dag_id", sorted(EXPECTED_DAGS))
def test_every_param_has_help_and_those_of_what_a_run_is_for_are_outside_of_any_section(dags, dag_id):
    form = {name: dags[dag_id].params.get_param(name) for name in dags[dag_id].params}
    described = {name: param.description or param.schema.get("description_md") for name, param in form.items()}

    assert [name for name, param in form.items() if not param.schema.get("title")] == []
    assert {name for name, param in form.items() if not param.schema.get("section")} <= AT_THE_TOP
    assert [name for name, text in described.items() if not text or not text.endswith(".") or "`" in text] == []


@pytest.mark.parametrize("flow", sorted(FLOWS))
def test_no_field_of_the_form_is_bounded_silently(dags, flow):
    """The form changes a number outside of `minimum` and `maximum`; the API reads those in `allOf` and refuses it."""
    schemas = {name: dags[flow].params.get_param(name).schema for name in dags[flow].params}

    assert [name for name, schema in schemas.items() if {"minimum", "maximum"} & schema.keys()] == []


def test_most_dags_have_params(dags):
    assert {flow for flow in FLOWS if not dags[flow].params} == {"flow_code"}


@pytest.mark.parametrize("service", catalog.services())
def test_the_assets_lead_from_the_web_through_the_lake_to_every_target(dags, service):
    edges = {
        (inlet.name, outlet.name)
        for dag in dags.values()
        for task in dag.tasks
        for inlet in task.inlets
        for outlet in task.outlets
        if service in inlet.name.split()
    }

    assert edges == {
        (f"web {service}", f"raw {service}"),
        (f"raw {service}", f"lake {service}"),
        *((f"lake {service}", f"{target.name} {service}") for target in targets.loadable()),
    }


def test_no_task_has_two_outlets_as_both_would_have_an_event_of_each_success(dags):
    assert [task for dag in dags.values() for task in dag.tasks if len(task.outlets) > 1] == []


def test_a_task_sends_what_it_returns_once_and_not_each_of_its_fields_too(dags):
    tasks = [task for dag in dags.values() for task in dag.tasks]

    assert [task.task_id for task in tasks if getattr(task, "multiple_outputs", False)] == []


def test_no_dag_needs_a_pool_that_somebody_has_to_make(dags):
    assert {task.pool for dag in dags.values() for task in dag.tasks} == {"default_pool"}
