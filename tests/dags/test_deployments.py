"""An entry of deployments.yaml becomes its Dag, and a bad one fails the parse with its name and the reason."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.sdk.exceptions import ParamValidationError
from pendulum import instance

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
        monkeypatch.setattr(module, "deployments", lambda: deployments(entries(GREEN | changes)))
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


def stored(dag):
    """The timetable as the scheduler reads it from Airflow's database."""
    from airflow.serialization.decoders import decode_timetable
    from airflow.serialization.encoders import encode_timetable

    return decode_timetable(encode_timetable(dag.timetable))


def dates(timetable, *, after, count, catchup=True):
    """The next dates of scheduled runs, as the scheduler finds them one after the other."""
    from airflow.timetables.base import TimeRestriction

    found, last = [], None
    for _ in range(count):
        info = timetable.next_dagrun_info(
            last_automated_data_interval=last, restriction=TimeRestriction(instance(after), None, catchup)
        )
        found.append(info.run_after.isoformat())
        last = info.data_interval
    return found


def test_a_cron_entry_follows_the_clock_of_its_time_zone(dag_of):
    dag = dag_of(schedule={"cron": "0 9 * * *", "timezone": "America/New_York"}, start="2024-03")

    assert dag.start_date == datetime(2024, 3, 1, 5, tzinfo=UTC)
    assert dates(stored(dag), after=datetime(2024, 3, 9, tzinfo=UTC), count=2) == [
        "2024-03-09T14:00:00+00:00",
        "2024-03-10T13:00:00+00:00",  # daylight saving time began
    ]


def test_an_entry_with_an_interval_runs_again_when_it_has_passed(dag_of):
    timetable = stored(dag_of(schedule={"every": "36h"}, start="2024-01"))

    assert dates(timetable, after=datetime(2024, 1, 1, tzinfo=UTC), count=3) == [
        "2024-01-01T00:00:00+00:00",
        "2024-01-02T12:00:00+00:00",
        "2024-01-04T00:00:00+00:00",
    ]


LAST_WORKING_DAY = "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1"


def test_an_entry_with_a_rule_runs_on_the_last_working_day_of_each_month(dag_of):
    schedule = {"rule": f"{LAST_WORKING_DAY};BYHOUR=18;BYMINUTE=0;BYSECOND=0", "timezone": "America/New_York"}
    timetable = stored(dag_of(schedule=schedule, start="2024-02"))

    assert dates(timetable, after=datetime(2024, 2, 1, 5, tzinfo=UTC), count=4) == [
        "2024-02-29T23:00:00+00:00",
        "2024-03-29T22:00:00+00:00",  # the 30th and 31st were a weekend, and daylight saving time had begun
        "2024-04-30T22:00:00+00:00",
        "2024-05-31T22:00:00+00:00",
    ]
    assert timetable.summary.endswith("America/New_York")


def test_a_rule_without_catchup_keeps_the_date_that_has_just_passed(dag_of):
    timetable = stored(dag_of(schedule={"rule": LAST_WORKING_DAY}, start="2024-02"))

    (found,) = dates(timetable, after=datetime(2024, 2, 1, tzinfo=UTC), count=1, catchup=False)

    assert timedelta(0) < datetime.now(UTC) - datetime.fromisoformat(found) < timedelta(days=35)


def test_a_rule_that_ends_starts_no_more_runs(dag_of):
    from airflow.timetables.base import DataInterval, TimeRestriction

    timetable = stored(dag_of(schedule={"rule": "FREQ=MONTHLY;COUNT=2"}, start="2024-02"))
    last = DataInterval.exact(instance(datetime(2024, 3, 1, tzinfo=UTC)))
    restriction = TimeRestriction(instance(datetime(2024, 2, 1, tzinfo=UTC)), None, catchup=False)

    assert timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction) is None


def test_a_rule_without_its_plugin_fails_the_parse_with_the_reason(parsed, monkeypatch):
    from airflow import plugins_manager

    monkeypatch.setattr(plugins_manager, "get_timetables_plugins", dict)

    (error,) = parsed(schedule={"rule": LAST_WORKING_DAY}, start="2024-02").import_errors.values()

    assert "ingest_data.green_2: rule 'FREQ=MONTHLY" in error
    assert "this Airflow has no timetable taxi_timetables.RuleTimetable; expected [core] plugins_folder" in error


def test_a_schedule_is_cleared_by_leaving_out_its_line(dag_of):
    dag = dag_of(schedule=None)

    assert dag.timetable.partitioned_at_runtime
    assert dag.start_date is None


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
        ({"flow": "ingest_dat"}, "flow: 'ingest_dat' is not one of the flows"),
        ({"name": "New ETL"}, "name='New ETL': String should match pattern"),
        ({"description": None}, "description=None: Input should be a valid string"),
        ({"shedule": "@daily"}, "shedule='@daily': Extra inputs are not permitted"),
        ({"schedule": "0 0 * *"}, "schedule.cron: '0 0 * *' is not a cron expression of five fields"),
        ({"schedule": {"cron": "0 0 * * *", "timezone": "Mars"}}, "schedule.timezone: 'Mars' is not a time zone"),
        ({"schedule": {"cron": "0 0 * * *", "every": "1d"}}, "schedule.every='1d': Extra inputs are not permitted"),
        ({"schedule": {"every": "1 day"}}, "schedule.every: '1 day' is not an interval; expected a number and a unit"),
        ({"schedule": {"every": "0h"}}, "schedule.every: '0h' is not an interval"),
        ({"schedule": {"every": 6}}, "schedule.every=6: Input should be a valid string"),
        (
            {"schedule": {"rule": "last working day"}},
            "schedule.rule: 'last working day' is not a rule; expected",
        ),
        ({"schedule": {"rule": "FREQ=MONTHLY;BYDAY=XX"}}, "is not a rule, invalid 'BYDAY': XX; expected one of"),
        ({"schedule": {"rule": "FREQ=SECONDLY"}}, "schedule.rule: 'FREQ=SECONDLY' is not a rule"),
        (
            {"schedule": {"lag_month": 3}},
            "schedule={'lag_month': 3}: expected a cron expression, or one of",
        ),
        ({"schedule": 5}, "schedule=5: expected a cron expression, or one of"),
        ({"schedule": {"lag_months": 0}}, "schedule.lag_months=0: Input should be greater than or equal to 1"),
        ({"schedule": {"asset": "red"}}, "schedule.asset: 'red' is not one of the services"),
        ({"schedule": {"asset": "green"}}, "start=2014-01: a schedule on an asset has none"),
        ({"start": "2014-13"}, "start: month '2014-13' is not YYYY-MM"),
        ({"start": None}, "has no start; expected the first month, YYYY-MM"),
        ({"schedule": None, "catchup": True}, "catchup=True without a schedule by time"),
        ({"tags": ["misc"]}, "tags.0: 'misc' is not one of the tags"),
        ({"max_active_runs": 0}, "max_active_runs=0: Input should be greater"),
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


@pytest.mark.parametrize("dag_id", ["ingest_data", *(entry.dag_id for entry in deployments())])
def test_a_task_makes_its_own_dag_alone_and_sees_what_the_dag_processor_has_made(dag_id, whole, monkeypatch):
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", dag_id)

    in_a_task = BundleDagBag(whole[dag_id].fileloc, bundle_path=ROOT, bundle_name="nyc-taxi")

    assert in_a_task.import_errors == {}
    assert list(in_a_task.dags) == [dag_id]
    assert seen_by_tasks(in_a_task.dags[dag_id]) == seen_by_tasks(whole[dag_id])


@pytest.fixture(scope="module")
def whole(bag):
    """Every DAG, as the DAG processor makes it."""
    return bag("nyc-taxi").dags


def seen_by_tasks(dag):
    tasks = {
        task.task_id: (
            [asset.name for asset in (*task.inlets, *task.outlets)],
            [task.queue, task.pool, task.owner, task.retries, task.execution_timeout],
            task.downstream_task_ids,
        )
        for task in dag.tasks
    }
    return tasks, {name: dag.params.get_param(name).serialize() for name in dag.params}


def test_a_bad_entry_stops_no_task_of_another_dag(entries, monkeypatch):
    monkeypatch.setattr(module, "ENTRIES", entries("ingest_data", {"flow": "ingest_data"}, GREEN))
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "ingest_data.green_2")

    found = BundleDagBag(str(ROOT / "dags" / "ingest_data.py"), bundle_path=ROOT, bundle_name="nyc-taxi")

    assert found.import_errors == {}
    assert found.dags["ingest_data.green_2"].params["colour"] == "green"


@pytest.mark.parametrize("text", ["", "flow: ingest_data", "ingest_data"])
def test_a_file_that_is_no_list_is_refused(tmp_path, text):
    path = tmp_path / "deployments.yaml"
    path.write_text(text)

    with pytest.raises(ValueError, match="is not a list of deployments"):
        deployments(path)


def test_an_entry_that_is_no_mapping_is_refused(entries):
    with pytest.raises(ValueError, match="entry 1, 'ingest_data'"):
        deployments(entries("ingest_data"))
