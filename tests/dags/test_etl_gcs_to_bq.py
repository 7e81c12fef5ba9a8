"""etl_gcs_to_bq on the local cloud; and a month that is the same in every target."""

import json
import os
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery as bq
from pyarrow import parquet

from devtools.emulators import LocalCloud
from devtools.servers.publisher import Publisher
from devtools.servers.s3 import LocalS3
from include.nyc_taxi import TripFile, catalog
from include.nyc_taxi.lake import Lake, data_key
from tests.dags.runs import events_of, labels, publish_at, result, states, tries

JANUARY = {"colour": "green", "year": 2024, "month": 1}
FILE = TripFile.parse("green_tripdata_2024-01")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    with LocalCloud(tmp_path_factory.mktemp("cloud")) as cloud, pytest.MonkeyPatch.context() as environment:
        for name, value in cloud.environment.items():
            environment.setenv(name, value)
        cloud.create_bucket("trips")
        yield cloud


@pytest.fixture
def client(cloud):
    with bq.Client(project="local", credentials=AnonymousCredentials()) as client:
        yield client
        for dataset in client.list_datasets():
            client.delete_dataset(dataset.reference, delete_contents=True)


@pytest.fixture(scope="module")
def s3_server():
    with LocalS3() as server:
        server.create_bucket("trips")
        yield server


@pytest.fixture(params=["folder", "bucket"])
def lake(request, deployment, cloud, tmp_path, monkeypatch):
    """The lake of the deployment, as the test looks into it."""
    if request.param == "folder":
        return Lake.at(tmp_path / "a lake")
    if request.param == "s3":
        server = request.getfixturevalue("s3_server")
        monkeypatch.setenv("AIRFLOW_CONN_TAXI_AWS", json.dumps(server.connection))
        monkeypatch.setenv("AIRFLOW_VAR_TAXI_LAKE", f"s3://taxi_aws@trips/{tmp_path.name}")
        return server.lake(f"trips/{tmp_path.name}")
    monkeypatch.setenv("AIRFLOW_VAR_TAXI_LAKE", f"gs://taxi_gcp@trips/{tmp_path.name}")
    import gcsfs

    fs = gcsfs.GCSFileSystem(token="anon", endpoint_url=cloud.environment["STORAGE_EMULATOR_HOST"], project="local")
    return Lake(fs, f"trips/{tmp_path.name}")


@pytest.fixture
def run(lake, publish, bag):
    def test_run(dag_id="etl_gcs_to_bq", **conf):
        return bag("nyc-taxi").dags[dag_id].test(logical_date=None, run_conf=conf)

    return test_run


@pytest.mark.parametrize("lake", ["folder", "bucket", "s3"], indirect=True)
def test_month_goes_from_the_lake_into_bigquery(run, publish, lake, client, caplog):
    generated = publish(FILE.name)
    run("etl_web_to_gcs", **JANUARY)

    finished = run(**JANUARY)

    (row,) = client.query_and_wait("SELECT COUNT(*) FROM nyc_taxi.green_trips WHERE file_month = '2024-01-01'")
    assert states(finished) == dict.fromkeys(("preflight", "extract_from_gcs", "transform", "write_bq"), "success")
    assert row[0] == generated.rows - generated.without_passengers
    assert result(finished, "write_bq") == {
        "file": FILE.name,
        "target": "bigquery",
        "table": "nyc_taxi.green_trips",
        "rows_loaded": row[0],
        "outcome": "replaced",
    }
    with lake.local(data_key(FILE)) as path:
        nulls = parquet.read_table(path)["passenger_count"].null_count
    assert nulls > 0
    assert f"pre: rows with a null passenger_count: {nulls}\n" in caplog.text
    assert events_of(finished) == [("bigquery any", "green|2024-01")]
    is_read_in_place = lake.url("").startswith("gs://")
    assert (f"uploading {lake.url(data_key(FILE))}, as BigQuery reads gs:// only" in caplog.text) != is_read_in_place


def test_a_run_without_a_month_takes_the_newest_in_the_lake(run, publish, lake):
    finished = run(colour="green")
    assert states(finished)["extract_from_gcs"] == "failed"

    for name in ("green_tripdata_2023-12", FILE.name):
        publish(name)
        run(
            "etl_web_to_gcs",
            colour="green",
            year=TripFile.parse(name).month.year,
            month=TripFile.parse(name).month.month,
        )

    finished = run(colour="green")
    assert result(finished, "write_bq")["file"] == FILE.name
    assert labels(finished) == dict.fromkeys(("extract_from_gcs", "transform", "write_bq"), "green-2024-01")


def test_lake_postgres_and_bigquery_hold_the_same_values(run, publish, lake, client, query):
    publish(FILE.name)
    run("ingest_data", **JANUARY)
    run(**JANUARY)
    names = [*(column.name for column in catalog.service("green").columns), "file_month"]

    with lake.local(data_key(FILE)) as path:
        rows = [tuple(row[name] for name in names) for row in parquet.read_table(path).to_pylist()]
    in_postgres = query(f"SELECT {', '.join(names)} FROM green_taxi_trips")
    in_bigquery = [tuple(row) for row in client.query_and_wait(f"SELECT {', '.join(names)} FROM nyc_taxi.green_trips")]

    assert len(rows) > 400
    assert sorted(map(repr, in_postgres)) == sorted(map(repr, in_bigquery)) == sorted(map(repr, rows))


def test_parent_flow_goes_all_the_way(run, publish, client):
    for month in (1, 2):
        publish(f"yellow_tripdata_2024-{month:02d}")

    finished = run("etl_parent_flow", colour=["yellow"], year=2024, months=[1, 2], target="bigquery")

    assert finished.state == "success"
    rows = client.query_and_wait("SELECT file_month, COUNT(*) FROM nyc_taxi.yellow_trips GROUP BY 1 ORDER BY 1")
    assert [row[0].month for row in rows] == [1, 2]


def test_republished_month_replaces_the_old_one_in_every_target(run, publish, client, query):
    publish(FILE.name)
    run("ingest_data", **JANUARY)
    run(**JANUARY)
    generated = publish(FILE.name, rows=700)

    run("ingest_data", **JANUARY, cache_ttl_hours=0)
    run(**JANUARY)

    (row,) = client.query_and_wait("SELECT COUNT(*) FROM nyc_taxi.green_trips")
    kept = generated.rows - generated.without_passengers
    assert query("SELECT count(*) FROM green_taxi_trips") == [(kept,)]
    assert row[0] == kept


def test_append_adds_the_rows_a_second_time(run, publish, client):
    generated = publish(FILE.name)
    run("etl_web_to_gcs", **JANUARY)

    for _ in range(2):
        assert run(**JANUARY, write_mode="append", table_name="dezoomcamp.trips").state == "success"

    (row,) = client.query_and_wait("SELECT COUNT(*) FROM dezoomcamp.trips")
    assert row[0] == 2 * (generated.rows - generated.without_passengers)


def test_month_that_is_not_in_the_lake_fails_at_once(run, publish, errors):
    finished = run(**JANUARY)

    assert states(finished)["extract_from_gcs"] == "failed"
    assert tries(finished, "extract_from_gcs") == 1
    assert "land it first" in errors[0]


def test_missing_cloud_is_said_before_anything_is_done(run, publish, errors, monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW_VAR_TAXI_LAKE", f"file://{tmp_path / 'a lake'}")
    monkeypatch.delenv("AIRFLOW_CONN_TAXI_GCP")

    finished = run(**JANUARY)

    assert states(finished)["preflight"] == "failed"
    assert tries(finished, "preflight") == 1
    assert "taxi_gcp" in errors[0]


@pytest.mark.skipif("TLC_REAL_DATA" not in os.environ, reason="TLC_REAL_DATA names no folder of the publisher's files")
def test_real_months_go_all_the_way(run, client, monkeypatch):
    folder = Path(os.environ["TLC_REAL_DATA"])
    with Publisher(folder) as publisher:
        publish_at(monkeypatch, publisher.base_url)
        finished = run("etl_parent_flow", colour="green", year=2023, months=[1, 2], target="bigquery", quality="none")

    published = [
        parquet.read_metadata(folder / f"trip-data/green_tripdata_2023-{m:02d}.parquet").num_rows for m in (1, 2)
    ]
    rows = client.query_and_wait("SELECT COUNT(*) FROM nyc_taxi.green_trips GROUP BY file_month ORDER BY file_month")
    assert finished.state == "success"
    assert [row[0] for row in rows] == published
