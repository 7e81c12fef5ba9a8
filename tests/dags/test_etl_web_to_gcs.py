"""etl_web_to_gcs and etl_parent_flow from end to end: a publisher on loopback, a lake, and Airflow's own run."""

import re
import shutil
from datetime import UTC, datetime

import pytest
from airflow.sdk.exceptions import ParamValidationError
from pyarrow import parquet

from include.nyc_taxi import TripFile, catalog, landing
from include.nyc_taxi.lake import Lake, data_key, rejects_key
from include.nyc_taxi.precedence import claim_of
from tests.dags.runs import events_of, result, states, tries

JANUARY = {"colour": "green", "year": 2024, "month": 1}
FILE = TripFile.parse("green_tripdata_2024-01")


@pytest.fixture
def lake(tmp_path):
    return Lake.at(tmp_path / "a lake")


@pytest.fixture
def run(publish, bag):
    """Runs a flow with a conf, as `airflow dags test` does."""

    def test_run(dag_id="etl_web_to_gcs", *, logical_date=None, **conf):
        return bag("nyc-taxi").dags[dag_id].test(logical_date=logical_date, run_conf=conf)

    return test_run


def test_every_row_of_the_month_is_in_data_or_in_rejects(run, publish, lake):
    generated = publish(FILE.name)

    finished = run(**JANUARY)

    kept, rejected = (parquet.read_table(lake.path(key(FILE))) for key in (data_key, rejects_key))
    assert states(finished) == dict.fromkeys(("fetch", "clean", "write_local", "write_gcs"), "success")
    assert (kept.num_rows, rejected.num_rows) == (
        generated.rows - generated.without_passengers,
        generated.without_passengers,
    )
    written = result(finished, "write_gcs")
    assert claim_of(written.pop("claim")) == landing.landed(lake, FILE).claim
    assert written == {
        "file": "green_tripdata_2024-01",
        "key": "data/green/green_tripdata_2024-01.parquet",
        "outcome": "landed",
        "rows_read": generated.rows,
        "rows_accepted": generated.rows - generated.without_passengers,
        "rows_rejected": generated.without_passengers,
    }


def test_clean_logs_the_first_rows_the_columns_and_the_count(run, publish, caplog):
    publish(FILE.name)

    run(**JANUARY)

    said = [record.getMessage() for record in caplog.records if record.name == "include.orchestration.steps"]
    head, columns, rows = said
    assert "\npickup_datetime: 2024-01-" in head
    assert "columns: pickup_datetime timestamp[us], " in columns
    assert rows == "rows: 500"


def test_the_events_of_a_flow_for_any_service_name_the_service_and_the_month(run, publish):
    publish(FILE.name)

    assert events_of(run(**JANUARY)) == [("raw any", "green|2024-01"), ("lake any", "green|2024-01")]


def test_the_events_of_a_deployment_of_one_service_are_of_its_assets_alone(run, publish):
    publish(FILE.name)

    finished = run("etl_web_to_gcs.green", year=2024, month=1)

    assert events_of(finished) == [("raw green", "2024-01"), ("lake green", "2024-01")]


def test_a_month_that_is_not_published_has_no_event(run, publish):
    assert events_of(run(**JANUARY)) == []


def test_the_file_says_where_it_came_from_and_how_it_was_made(run, publish, lake):
    publish(FILE.name)

    run(**JANUARY)

    landed = landing.landed(lake, FILE)
    assert landed.source_url.endswith("/trip-data/green_tripdata_2024-01.parquet")
    assert landed.schema_era == catalog.service("green").era("official", FILE.month).name
    assert (landed.quality_profile, landed.rows_read) == ("notes", 500)
    assert len(landed.source_sha256) == 64
    assert landed.source_etag


def test_nothing_is_left_in_staging(run, publish, lake, tmp_path):
    publish(FILE.name)

    run(**JANUARY)

    assert lake.size(data_key(FILE))
    assert list((tmp_path / "a lake" / ".staging").iterdir()) == []


def test_what_is_no_longer_staged_is_read_again(run, publish, lake, monkeypatch):
    publish(FILE.name)
    preview = landing.preview

    def preview_and_lose(*args):
        monkeypatch.setattr(landing, "preview", preview)
        shown = preview(*args)
        shutil.rmtree(lake.path(".staging"))
        return shown

    monkeypatch.setattr(landing, "preview", preview_and_lose)

    finished = run(**JANUARY)

    assert tries(finished, "write_local") == 1
    assert landing.landed(lake, FILE).rows_read == 500


def test_a_second_run_changes_nothing_and_still_has_events(run, publish, lake, caplog):
    publish(FILE.name)
    run(**JANUARY)
    before = lake.fs.info(lake.path(data_key(FILE)))["ino"]
    caplog.clear()

    finished = run(**JANUARY)

    assert finished.state == "success"
    assert "no request made" in caplog.text
    assert "data/ is up to date with" in caplog.text
    assert lake.fs.info(lake.path(data_key(FILE)))["ino"] == before
    assert events_of(finished) == [("raw any", "green|2024-01"), ("lake any", "green|2024-01")]


def test_what_ingest_data_has_landed_is_not_landed_again(run, publish, caplog):
    publish(FILE.name)
    run("ingest_data", **JANUARY)
    caplog.clear()

    run(**JANUARY)

    assert "data/ is up to date with" in caplog.text


def test_a_republished_month_replaces_the_old_one(run, publish, lake):
    publish(FILE.name)
    run(**JANUARY)
    generated = publish(FILE.name, rows=700)

    run(**JANUARY, cache_ttl_hours=0)

    assert landing.landed(lake, FILE).rows_read == generated.rows == 700


def test_a_date_alone_decides_the_month(run, publish, lake):
    publish(FILE.name)

    run(logical_date=datetime(2024, 1, 1, tzinfo=UTC), colour="green")

    assert landing.landed(lake, FILE) is not None


# The parent flow


def test_every_month_of_every_colour_comes_into_the_lake(run, publish, lake):
    names = [f"{colour}_tripdata_2024-{month:02d}" for colour in ("green", "yellow") for month in (1, 2)]
    for name in names:
        publish(name)

    finished = run("etl_parent_flow", colour=["green", "yellow"], year=2024, months=[1, 2])

    assert finished.state == "success"
    assert [landing.landed(lake, TripFile.parse(name)).rows_read for name in names] == [500] * 4
    assert sorted(events_of(finished)) == [
        (f"{zone} any", f"{colour}|2024-{month:02d}")
        for zone in ("lake", "raw")
        for colour in ("green", "yellow")
        for month in (1, 2)
    ]
    assert result(finished, "summary")["months"] == 4


def test_the_map_index_shows_the_month(run, publish):
    publish("green_tripdata_2024-02")

    finished = run("etl_parent_flow", colour="green", year=2024, months=[2])

    labels = {ti.task_id: ti.rendered_map_index for ti in finished.get_task_instances() if ti.map_index == 0}
    assert labels == dict.fromkeys(("fetch", "clean", "write_local", "write_gcs", "load"), "green-2024-02")


def test_a_month_that_fails_does_not_stop_the_others_and_the_summary_names_it(run, publish, lake, errors, caplog):
    publish("green_tripdata_2024-02")

    finished = run("etl_parent_flow", colour="green", year=2024, months=[1, 2])

    assert finished.state == "failed"
    assert landing.landed(lake, TripFile.parse("green_tripdata_2024-02")).rows_read == 500
    assert states(finished)["fetch[0]"] == "failed"
    assert states(finished)["load[1]"] == "success"
    assert re.search(r"green_tripdata_2024-02: landed \d+ rows in data/green", caplog.text)
    assert errors[-1] == "PermanentError: 1 of 2 months failed: green_tripdata_2024-01"


def test_the_parent_flow_loads_into_postgres_if_asked_to(run, publish, query):
    generated = publish("green_tripdata_2024-01")

    finished = run("etl_parent_flow", colour="green", year=2024, months=[1], target="postgres")

    assert finished.state == "success"
    assert query("SELECT count(*) FROM green_taxi_trips") == [(generated.rows - generated.without_passengers,)]


def test_the_parent_flow_loads_into_the_named_schema(run, publish, query):
    generated = publish("green_tripdata_2024-01")

    finished = run("etl_parent_flow", colour="green", year=2024, months=[1], target="postgres", schema="trips")

    assert finished.state == "success"
    assert query("SELECT count(*) FROM trips.green_taxi_trips") == [(generated.rows - generated.without_passengers,)]


def test_the_defaults_of_the_form_are_those_of_the_prefect_flow(dags_by_id):
    assert {name: dags_by_id["etl_parent_flow"].params[name] for name in ("months", "year", "colour")} == {
        "months": [1, 2],
        "year": 2020,
        "colour": ["green"],
    }


@pytest.mark.parametrize(
    ("param", "evil"), [("months", [13]), ("months", []), ("colour", ["red"]), ("year", "2020; --")]
)
def test_what_is_no_month_or_service_is_refused_when_the_run_is_asked_for(run, param, evil):
    with pytest.raises(ParamValidationError, match=param):
        run("etl_parent_flow", **{"colour": "green", "year": 2024, "months": [1]} | {param: evil})


def test_an_unknown_colour_in_one_word_is_refused_before_anything_is_done(run, errors):
    finished = run("etl_parent_flow", colour="red", year=2024, months=[1])

    assert (states(finished)["which_months"], states(finished)["summary"]) == ("failed", "upstream_failed")
    (error,) = errors
    assert "service 'red' is not one of" in error
