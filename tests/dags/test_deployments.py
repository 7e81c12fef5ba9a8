"""An entry of deployments.yaml becomes its Dag, and a bad one fails the parse with its name and the reason."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from airflow.sdk.exceptions import ParamValidationError

from include.orchestration import deployments as module
from include.orchestration.deployments import ENTRIES, deployments

ROOT = Path(__file__).resolve().parents[2]
GREEN = {
    "flow": "ingest_data",
    "name": "green_2",
    "description": "Green again",
    "params": {"colour": "green"},
    "schedule": {"lag_months": 3},
    "start": "2014-01",
}


@pytest.fixture
def entries(tmp_path):
    """Writes entries to a file and gives its path."""

    def write(*entries):
        path = tmp_path / "deployments.yaml"
        path.write_text(yaml.safe_dump(list(entries)))
        return path

    return write


@pytest.fixture
def parsed(airflow_database, entries, monkeypatch, bag):
    """Parses the bundle with one entry, which is GREEN with changes."""

    def parse(**changes):
        monkeypatch.setattr(module, "deployments", lambda **wanted: deployments(entries(GREEN | changes), **wanted))
        return bag("nyc-taxi")

    return parse


@pytest.fixture
def dag_of(parsed):
    """The DAG that the entry becomes."""

    def parse(**changes):
        bag = parsed(**changes)
        assert bag.import_errors == {}
        return bag.dags[f"{(GREEN | changes)['flow']}.green_2"]

    return parse


def test_an_entry_is_its_flow_with_other_defaults(dag_of, bag):
    dag, flow = dag_of(), bag("nyc-taxi").dags["ingest_data"]

    assert dag.task_ids == flow.task_ids
    assert dag.params["colour"] == "green"
    assert flow.params["colour"] == "yellow"
    assert dag.params.dump() == flow.params.dump() | {"colour": "green"}
    assert dag.description == "Green again"
    assert "*colour\\=green*" in dag.doc_md
    assert flow.doc_md in dag.doc_md
    assert dag.fileloc == str(ROOT / "dags" / "ingest_data.py")


def test_the_param_of_an_entry_keeps_its_form(dag_of, bag):
    dags = dag_of(params={"quality": "strict"}), bag("nyc-taxi").dags["ingest_data"]
    param, of_flow = (dag.params.get_param("quality") for dag in dags)

    assert (param.value, of_flow.value) == ("strict", "notes")
    assert param.schema == of_flow.schema


def test_an_entry_that_names_its_service_offers_no_other(dag_of):
    param = dag_of().params.get_param("colour")

    assert param.schema["enum"] == ["green"]
    with pytest.raises(ParamValidationError):
        param.resolve("yellow")


def test_an_entry_that_names_its_services_offers_no_others(dag_of):
    dag = dag_of(flow="etl_parent_flow", params={"colour": ["green"]}, schedule=None, start=None)

    param = dag.params.get_param("colour")
    assert param.resolve(["green"]) == ["green"]
    for other in (["yellow"], "yellow"):
        with pytest.raises(ParamValidationError):
            param.resolve(other)


@pytest.mark.parametrize(
    ("changes", "task_id", "inlets", "outlets"),
    [
        ({}, "transform_data", ["raw green"], ["lake green"]),
        ({}, "load_data", ["lake green"], ["postgres green"]),
        ({"params": {}}, "transform_data", ["raw any"], ["lake any"]),
        ({"flow": "etl_web_to_gcs"}, "fetch", ["web green"], ["raw green"]),
        ({"flow": "etl_parent_flow", "params": {"colour": ["green"]}}, "write_gcs", ["raw green"], ["lake green"]),
        ({"flow": "etl_parent_flow", "params": {"colour": ["green"]}}, "load", ["lake green"], []),
        ({"flow": "etl_parent_flow", "params": {"colour": ["green", "fhv"]}}, "write_gcs", ["raw any"], ["lake any"]),
        ({"flow": "etl_parent_flow", "params": {"target": "bigquery"}}, "load", ["lake any"], ["bigquery any"]),
        ({"flow": "sync_published_months", "params": {"target": "none"}}, "load", ["lake any"], []),
    ],
)
def test_an_entry_declares_the_assets_that_each_of_its_runs_writes(dag_of, changes, task_id, inlets, outlets):
    task = dag_of(**changes).get_task(task_id)

    assert [asset.name for asset in task.inlets] == inlets
    assert [asset.name for asset in task.outlets] == outlets


def test_a_monthly_entry_is_for_the_month_that_its_lag_says(dag_of):
    dag = dag_of()

    assert (dag.timetable.expression, dag.timetable.run_offset, dag.timetable.key_format) == ("0 0 1 * *", -3, "%Y-%m")
    assert dag.start_date == datetime(2014, 4, 1, tzinfo=UTC)
    assert (dag.catchup, dag.is_paused_upon_creation) == (False, True)


def test_a_cron_entry_starts_in_its_first_month(dag_of):
    dag = dag_of(schedule="0 5 1 * *", start="2021-01", catchup=True, paused=False)

    assert dag.timetable.expression == "0 5 1 * *"
    assert dag.start_date == datetime(2021, 1, 1, tzinfo=UTC)
    assert (dag.catchup, dag.is_paused_upon_creation) == (True, False)


@pytest.mark.parametrize("service", ["green", "any"])
def test_an_entry_on_an_asset_runs_for_each_of_its_months(dag_of, service):
    timetable = dag_of(schedule={"asset": service}, start=None).timetable

    assert type(timetable).__name__ == "PartitionedAssetTimetable"
    assert timetable.asset_condition.name == f"lake {service}"


def test_an_entry_without_a_schedule_has_that_of_its_flow_and_is_not_paused(dag_of):
    dag = dag_of(schedule=None, start=None)

    assert dag.timetable.partitioned_at_runtime
    assert dag.is_paused_upon_creation is False


def test_where_tasks_run_and_whose_they_are_is_said_by_the_entry(dag_of):
    dag = dag_of(queue="heavy", pool="night", owner="night-shift", max_active_runs=1)

    assert {(task.queue, task.pool, task.owner) for task in dag.tasks} == {("heavy", "night", "night-shift")}
    assert dag.max_active_runs == 1


def test_a_deadline_is_told_by_a_function_that_every_process_can_import(dag_of):
    (deadline,) = dag_of(deadline_hours=6).deadline

    assert deadline.interval == timedelta(hours=6)
    assert deadline.callback.path == "include.orchestration.alerts.deadline_missed"


def test_an_entry_that_leaves_out_the_queue_has_that_of_its_flow(dag_of):
    dag = dag_of(flow="flow_code", params={})

    assert {task.queue for task in dag.tasks} == {"demo"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"flow": "ingest_dat"}, "flow: Value error, 'ingest_dat' is not one of the flows"),
        ({"name": "New ETL"}, "name: String should match pattern"),
        ({"description": None}, "description: Input should be a valid string"),
        ({"shedule": "@daily"}, "shedule: Extra inputs are not permitted"),
        ({"schedule": "0 0 * *"}, "'0 0 * *' is not a cron expression of five fields"),
        ({"schedule": {"lag_months": 0}}, "schedule.Monthly.lag_months: Input should be greater than or equal to 1"),
        ({"schedule": {"asset": "red"}}, "schedule.OnAsset.asset: Value error, 'red' is not one of the services"),
        ({"start": "2014-13"}, "start: Value error, month '2014-13' is not YYYY-MM"),
        ({"start": None}, "a schedule by time needs both"),
        ({"schedule": None}, "a schedule by time needs both"),
        ({"schedule": None, "start": None, "catchup": True}, "catchup needs a schedule by time"),
        ({"tags": ["misc"]}, "tags.0: Value error, 'misc' is not one of the tags"),
        ({"max_active_runs": 0}, "max_active_runs: Input should be greater"),
    ],
)
def test_a_bad_entry_is_refused_with_file_entry_and_reason(entries, changes, reason):
    path = entries(GREEN, GREEN | {"name": "other"} | changes)

    with pytest.raises(ValueError, match="entry 2") as refusal:
        deployments(path)

    assert str(path) in str(refusal.value)
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"color": "green"}, "params ['color'] are not known to ingest_data; it has ['accept_implausible'"),
        ({"colour": "red"}, "param colour='red': 'red' is not one of"),
        ({"month": 13}, "param month=13: 13 is greater than the maximum of 12"),
    ],
)
def test_a_bad_param_fails_the_parse_of_its_flow_with_the_reason(parsed, params, reason):
    errors = parsed(params=params).import_errors

    assert set(errors) == {"dags/ingest_data.py"}
    assert f"{ENTRIES}: ingest_data.green_2" in errors["dags/ingest_data.py"]
    assert reason in errors["dags/ingest_data.py"]


def test_two_entries_of_one_name_are_refused(entries):
    with pytest.raises(ValueError, match=r"\['ingest_data.green_2'\] are in it more than once"):
        deployments(entries(GREEN, GREEN))


@pytest.mark.parametrize("text", ["", "flow: ingest_data", "ingest_data"])
def test_a_file_that_is_no_list_is_refused(tmp_path, text):
    path = tmp_path / "deployments.yaml"
    path.write_text(text)

    with pytest.raises(ValueError, match="is not a list of deployments"):
        deployments(path)


def test_an_entry_that_is_no_mapping_is_refused(entries):
    with pytest.raises(ValueError, match="entry 1, 'ingest_data'"):
        deployments(entries("ingest_data"))
