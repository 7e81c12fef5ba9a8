"""A landed month in BigQuery: whole, once, replaced in one step, counted, written down; on this machine's cloud."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import gcsfs
import pyarrow as pa
import pytest
from google.api_core.exceptions import ServiceUnavailable
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery as bq
from pyarrow import parquet

from devtools.emulators import LocalCloud
from devtools.faults.damage import flipped, places
from devtools.faults.proxies import FrontEnd, Rule
from include.nyc_taxi import TripFile, catalog, landing
from include.nyc_taxi.errors import (
    DamagedData,
    LakeChanged,
    NotInLake,
    PermanentError,
    SetUpError,
    WarehouseBusy,
    WarehouseRefused,
)
from include.nyc_taxi.faults import told
from include.nyc_taxi.lake import Lake, data_key, rejects_key
from include.nyc_taxi.precedence import Run
from include.nyc_taxi.targets.bigquery import BigQuery
from include.nyc_taxi.targets.bigquery.load import append_month
from include.nyc_taxi.targets.bigquery.location import check, may_load
from include.nyc_taxi.targets.bigquery.server import errors_told
from include.nyc_taxi.targets.bigquery.table import Table
from include.nyc_taxi.targets.postgres import Postgres
from tests.nyc_taxi.trips import FILE, TRIP, csv_gz, put_raw

GREEN = "green_tripdata_2024-01"
BUCKET = "trips"
BIGQUERY = BigQuery()


@pytest.fixture
def client(cloud: LocalCloud) -> Iterator[bq.Client]:
    with bq.Client(project="local", credentials=AnonymousCredentials()) as client:
        yield client
        for dataset in client.list_datasets():
            client.delete_dataset(dataset.reference, delete_contents=True)


@pytest.fixture
def bucket(cloud: LocalCloud, tmp_path: Path) -> Lake:
    """A lake in a bucket."""
    fs = gcsfs.GCSFileSystem(token="anon", endpoint_url=cloud.environment["STORAGE_EMULATOR_HOST"], project="local")
    return Lake(fs, f"{BUCKET}/{tmp_path.name}")


@pytest.fixture(params=["folder", "bucket"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    return Lake.at(tmp_path / "lake") if request.param == "folder" else request.getfixturevalue("bucket")


@pytest.fixture
def rows_in(client: bq.Client) -> Callable[..., list[tuple[object, ...]]]:
    """Asks BigQuery."""

    def ask(question: str) -> list[tuple[object, ...]]:
        return [tuple(row) for row in client.query_and_wait(question)]

    return ask


def ledger(client: bq.Client) -> list[dict[str, object]]:
    rows = client.query_and_wait("SELECT * FROM nyc_taxi.load_ledger ORDER BY loaded_at")
    return [dict(row.items()) for row in rows]


def sums(lake: Lake, file: TripFile) -> dict[str, tuple[int, object]]:
    """Of every column of the lake's file: how many values, and what they add up to or the largest of them."""
    with lake.local(data_key(file)) as path:
        table = parquet.read_table(path)
    told: dict[str, tuple[int, object]] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        values = [value for value in column.to_pylist() if value is not None]
        if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            told[name] = len(values), round(sum(values), 2) if values else None
        else:
            told[name] = len(values), max(values, default=None)
    return told


@pytest.mark.parametrize("service", sorted(catalog.services()))
def test_bigquery_holds_the_very_rows_of_data(service, lake, landed_month, client, rows_in):
    file = landed_month(f"{service}_tripdata_2024-01")

    loaded = BIGQUERY.replace_month(client, file, lake)

    expected = sums(lake, file)
    numbers = {c.name for c in catalog.service(service).columns if c.type not in ("text", "timestamp")}
    asked = ", ".join(
        f"COUNT({name}), {f'ROUND(SUM({name}), 2)' if name in numbers else f'MAX({name})'}" for name in expected
    )
    (found,) = rows_in(f"SELECT {asked} FROM nyc_taxi.{service}_trips WHERE file_month = '2024-01-01'")
    assert dict(zip(expected, zip(found[::2], found[1::2], strict=True), strict=True)) == expected
    assert loaded.outcome == "replaced"
    assert loaded.rows_loaded == landing.landed(lake, file).rows_accepted > 0


def test_table_has_the_columns_types_and_descriptions_of_the_catalogue(lake, landed_month, client):
    BIGQUERY.replace_month(client, landed_month(GREEN), lake)

    table = client.get_table("nyc_taxi.green_trips")
    types = {"int16": "INTEGER", "int32": "INTEGER", "float64": "FLOAT", "timestamp": "DATETIME", "text": "STRING"}
    assert [(field.name, field.field_type, field.description) for field in table.schema[:-1]] == [
        (column.name, types[column.type], column.description) for column in catalog.service("green").columns
    ]
    assert (table.schema[-1].name, table.schema[-1].field_type) == ("file_month", "DATE")
    assert (table.time_partitioning.type_, table.time_partitioning.field) == ("MONTH", "file_month")
    assert table.clustering_fields == ["pickup_location_id", "pickup_datetime"]
    assert table.labels["service"] == "green"


def test_month_is_one_partition_and_others_stay_as_they_are(lake, landed_month, client, rows_in):
    january, february = landed_month(GREEN), landed_month("green_tripdata_2024-02", rows=200)
    for file in (january, february):
        BIGQUERY.replace_month(client, file, lake)

    BIGQUERY.replace_month(client, january, lake, force=True)

    assert rows_in("SELECT file_month, COUNT(*) FROM nyc_taxi.green_trips GROUP BY 1 ORDER BY 1") == [
        (file.month.first_day, landing.landed(lake, file).rows_accepted) for file in (january, february)
    ]


def test_second_load_of_the_same_rows_does_nothing_and_says_so(lake, landed_month, client, caplog):
    file = landed_month(GREEN)
    BIGQUERY.replace_month(client, file, lake)

    with caplog.at_level("INFO"):
        again = BIGQUERY.replace_month(client, file, lake)

    assert again.outcome == "unchanged"
    assert "nyc_taxi.green_trips is up to date with 294 rows" in caplog.text
    assert len(ledger(client)) == 1


def test_force_loads_again(lake, landed_month, client):
    file = landed_month(GREEN)
    BIGQUERY.replace_month(client, file, lake)

    assert BIGQUERY.replace_month(client, file, lake, force=True).outcome == "replaced"
    assert len(ledger(client)) == 2


def test_republished_month_replaces_the_old_one(lake, landed_month, client, rows_in):
    BIGQUERY.replace_month(client, landed_month(GREEN), lake)
    file = landed_month(GREEN, rows=700)

    loaded = BIGQUERY.replace_month(client, file, lake)

    assert loaded.outcome == "replaced"
    assert rows_in("SELECT COUNT(*) FROM nyc_taxi.green_trips") == [(loaded.rows_loaded,)]


@pytest.mark.parametrize("told_by", ["label", "ledger"])
@pytest.mark.parametrize("month", [GREEN, "green_tripdata_2024-02"])
def test_a_table_holds_one_service_for_good(lake, landed_month, client, rows_in, month, told_by):
    trips = Table.parse("nyc_taxi.trips")
    yellow = BIGQUERY.replace_month(client, landed_month("yellow_tripdata_2024-01"), lake, table=trips)
    found = client.get_table("nyc_taxi.trips")
    if told_by == "ledger":
        found.labels = {"service": None}
        client.update_table(found, ["labels"])

    for load in (BIGQUERY.replace_month, BIGQUERY.append_month):
        with pytest.raises(WarehouseRefused, match=r"nyc_taxi\.trips holds trips of yellow, not of green"):
            load(client, landed_month(month), lake, table=trips)
    with pytest.raises(WarehouseRefused, match=r"nyc_taxi\.trips holds trips of yellow, not of green"):
        BIGQUERY.check(client, lake, trips, "green")

    assert rows_in("SELECT COUNT(*) FROM nyc_taxi.trips") == [(yellow.rows_loaded,)]
    assert client.get_table("nyc_taxi.trips").schema == found.schema


def test_rows_that_someone_removed_are_loaded_again(lake, landed_month, client, rows_in):
    file = landed_month(GREEN)
    BIGQUERY.replace_month(client, file, lake)
    rows_in("DELETE FROM nyc_taxi.green_trips WHERE passenger_count = 1")

    assert BIGQUERY.replace_month(client, file, lake).outcome == "replaced"
    assert rows_in("SELECT COUNT(*) FROM nyc_taxi.green_trips") == [(294,)]


def test_ledger_has_the_columns_and_the_values_of_that_in_postgres(lake, landed_month, client, warehouse):
    import psycopg

    file, run = landed_month(GREEN), Run("a_dag", "a run")
    BIGQUERY.replace_month(client, file, lake, run=run)
    with psycopg.connect(warehouse, row_factory=psycopg.rows.dict_row) as connection:
        Postgres().replace_month(connection, file, lake, run=run)
        connection.commit()
        theirs = connection.execute("SELECT * FROM load_ledger").fetchone()

    (ours,) = ledger(client)
    differing = {"load_id", "target", "target_table", "seconds", "loaded_at"}
    assert set(ours) == set(theirs)
    assert {key: ours[key] for key in set(ours) - differing} == {key: theirs[key] for key in set(ours) - differing}
    assert (ours["target"], ours["target_table"]) == ("bigquery", "nyc_taxi.green_trips")


def test_newest_ledger_row_of_each_month_is_told(lake, landed_month, client):
    assert BIGQUERY.loads(client) == {}
    file = landed_month(GREEN)
    for _ in range(2):
        BIGQUERY.replace_month(client, file, lake, force=True)

    (held,) = BIGQUERY.loads(client).values()

    assert held.loaded_at == ledger(client)[-1]["loaded_at"]
    assert (held.file, held.rows_loaded) == (file, 294)


@pytest.mark.parametrize("tables", [("green_trips", "other"), ("other", "green_trips")])
def test_ledger_row_of_the_table_of_the_service_is_told_last(lake, landed_month, client, tables):
    for name in tables:
        BIGQUERY.replace_month(client, landed_month(GREEN), lake, table=Table("nyc_taxi", name))

    assert [load.target_table for load in BIGQUERY.loads(client).values()] == ["nyc_taxi.green_trips"]


def test_column_that_the_table_lacks_is_added(lake, landed_month, client, rows_in):
    file = landed_month(GREEN)
    BIGQUERY.replace_month(client, file, lake)
    whole = client.get_table("nyc_taxi.green_trips")
    client.delete_table(whole)
    older = bq.Table(whole.reference, [field for field in whole.schema if field.name != "cbd_congestion_fee"])
    older.time_partitioning = whole.time_partitioning
    client.create_table(older)

    BIGQUERY.replace_month(client, file, lake, force=True)

    assert "cbd_congestion_fee" in {field.name for field in client.get_table("nyc_taxi.green_trips").schema}
    assert rows_in("SELECT COUNT(*) FROM nyc_taxi.green_trips") == [(294,)]


def test_table_that_is_not_partitioned_by_file_month_is_refused(lake, landed_month, client):
    client.create_dataset("nyc_taxi")
    client.create_table(bq.Table("local.nyc_taxi.green_trips", [bq.SchemaField("a", "STRING")]))

    with pytest.raises(WarehouseRefused, match="not partitioned by month on file_month"):
        BIGQUERY.replace_month(client, landed_month(GREEN), lake)


def test_append_adds_the_rows_whatever_is_there(lake, landed_month, client, rows_in):
    file = landed_month(GREEN)

    for _ in range(2):
        append_month(client, file, lake, table=Table.parse("dezoomcamp.trips"), chunk_rows=100)

    assert rows_in("SELECT COUNT(*) FROM dezoomcamp.trips") == [(2 * 294,)]


def test_append_that_fails_half_way_is_not_tried_again(lake, landed_month, client, rows_in, monkeypatch):
    upload = client.load_table_from_file

    def break_after_one(*args, **options):
        monkeypatch.setattr(client, "load_table_from_file", refuse)
        return upload(*args, **options)

    def refuse(*_, **__):
        raise ServiceUnavailable("gone")

    monkeypatch.setattr(client, "load_table_from_file", break_after_one)
    file, table = landed_month(GREEN), BIGQUERY.default_table("green")

    with pytest.raises(
        PermanentError, match=r"gone\. At least 100 rows were appended, and a retry would append them again"
    ):
        append_month(client, file, lake, table=table, chunk_rows=100)
    assert rows_in("SELECT COUNT(*) FROM nyc_taxi.green_trips") == [(100,)]


def test_two_loads_of_one_month_at_once_leave_one_month(lake, landed_month, client, rows_in):
    file = landed_month(GREEN, rows=2000)
    BIGQUERY.replace_month(client, landed_month("green_tripdata_2024-02"), lake)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: BIGQUERY.replace_month(client, file, lake, force=True), range(2)))

    assert rows_in("SELECT COUNT(*) FROM nyc_taxi.green_trips WHERE file_month = '2024-01-01'") == [
        (landing.landed(lake, file).rows_accepted,)
    ]


@pytest.fixture
def after_load_job(client: bq.Client, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Makes something happen once, right after the next load job of trips has ended."""

    def arrange(happens: Callable[[], object]) -> None:
        for name in ("load_table_from_file", "load_table_from_uri"):
            start = getattr(client, name)

            def load(*args: object, start: Callable[..., bq.LoadJob] = start, **options: object) -> bq.LoadJob:
                job = start(*args, **options)
                job.result()
                monkeypatch.undo()
                happens()
                return job

            monkeypatch.setattr(client, name, load)

    return arrange


def test_month_that_is_landed_while_it_is_loaded_is_loaded_as_it_was(
    lake, landed_month, client, after_load_job, rows_in
):
    file = landed_month(GREEN)
    before = landing.landed(lake, file)
    after_load_job(lambda: landed_month(GREEN, rows=400))

    assert BIGQUERY.replace_month(client, file, lake).landed == before
    assert rows_in("SELECT COUNT(*) FROM nyc_taxi.green_trips") == [(294,)]
    assert BIGQUERY.replace_month(client, file, lake).rows_loaded == 392
    assert [(row["recipe"], row["rows_loaded"]) for row in ledger(client)] == [
        (before.recipe, 294),
        (landing.landed(lake, file).recipe, 392),
    ]


def test_month_that_is_landed_just_before_it_is_loaded_is_no_success(lake, landed_month, client, monkeypatch, rows_in):
    file = landed_month(GREEN)
    create = client.create_dataset

    def create_late(*args: object, **options: object) -> bq.Dataset:
        landed_month(GREEN, rows=400)
        return create(*args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(client, "create_dataset", create_late)
        with pytest.raises(LakeChanged, match=f"{GREEN}.parquet was replaced by another run since this load began"):
            BIGQUERY.replace_month(client, file, lake)

    assert rows_in("SELECT COUNT(*) FROM nyc_taxi.green_trips") == [(0,)]
    assert ledger(client) == []
    assert BIGQUERY.replace_month(client, file, lake).rows_loaded == 392


def test_run_that_died_between_load_and_ledger_is_made_good_by_the_next(
    lake, landed_month, client, after_load_job, caplog
):
    file = landed_month(GREEN)

    def die() -> None:
        raise KeyboardInterrupt

    after_load_job(die)
    with pytest.raises(KeyboardInterrupt):
        BIGQUERY.replace_month(client, file, lake)

    assert ledger(client) == []

    with caplog.at_level("INFO"):
        assert BIGQUERY.replace_month(client, file, lake, run=Run("next", "run")).outcome == "unchanged"
    assert re.search(r"adding the ledger row that load job number \d+ lacks", caplog.text)
    assert [(row["run_id"], row["rows_loaded"]) for row in ledger(client)] == [("run", 294)]
    assert BIGQUERY.replace_month(client, file, lake).outcome == "unchanged"
    assert len(ledger(client)) == 1


def test_partition_that_another_session_changed_after_the_load_job_is_loaded_again(
    lake, landed_month, client, after_load_job
):
    file = landed_month(GREEN)
    table = BIGQUERY.default_table("green")
    after_load_job(lambda: append_month(client, file, lake, table=table))

    with pytest.raises(WarehouseBusy, match="holds 588 rows, the lake's file has 294: another session changed it"):
        BIGQUERY.replace_month(client, file, lake)
    assert [row["run_id"] for row in ledger(client)] == [None]
    assert BIGQUERY.replace_month(client, file, lake).outcome == "replaced"


@pytest.mark.parametrize("kind", ["header of a page", "values of a page", "name of a column", "description"])
def test_damaged_data_is_never_uploaded_and_its_month_lands_and_loads_again(kind, tmp_path, client, rows_in):
    lake, file = Lake.at(tmp_path / "lake"), FILE
    put_raw(lake, csv_gz([TRIP] * 20))
    loaded = BIGQUERY.replace_month(client, file, lake, found=landing.land(file, lake, source="csv_mirror").claim)
    path = Path(lake.path(data_key(file)))
    whole = path.read_bytes()

    for write in (
        lambda: BIGQUERY.replace_month(client, file, lake, found=loaded.landed.claim, force=True),
        lambda: append_month(client, file, lake, table=BIGQUERY.default_table("green")),
    ):
        path.write_bytes(flipped(whole, places(whole)[kind]))
        with pytest.raises(DamagedData, match=f"{FILE.name}.parquet was damaged: .* the next run lands it again"):
            write()
        assert not path.exists()

    assert rows_in("SELECT COUNT(*), MAX(total_amount) FROM nyc_taxi.green_trips") == [(20, 18.51)]
    landed = landing.land(file, lake, source="csv_mirror")
    assert BIGQUERY.replace_month(client, file, lake, found=landed.claim, force=True).landed == loaded.landed
    assert rows_in("SELECT COUNT(*), MAX(total_amount) FROM nyc_taxi.green_trips") == [(20, 18.51)]


def test_month_that_is_not_in_the_lake_must_be_landed_first(lake, client):
    with pytest.raises(NotInLake, match="land it first"):
        BIGQUERY.replace_month(client, TripFile.parse(GREEN), lake)


def test_month_between_two_moves_is_no_month(lake, landed_month, client):
    file = landed_month(GREEN)
    lake.move(rejects_key(file), "elsewhere")

    with pytest.raises(LakeChanged):
        BIGQUERY.replace_month(client, file, lake)


# Before anything is done


def test_dataset_is_made_in_the_location_of_the_bucket(bucket, client):
    assert check(client, bucket, Table.parse("fresh.trips"), "green") == bucket.fs.info(BUCKET)["location"]


@pytest.mark.parametrize("table", ["elsewhere.trips", "another-project.elsewhere.trips"])
def test_dataset_elsewhere_than_the_bucket_is_refused(bucket, client, table):
    dataset = bq.Dataset(bq.DatasetReference(Table.parse(table).project or "local", "elsewhere"))
    dataset.location = "asia-east1"
    client.create_dataset(dataset)

    with pytest.raises(WarehouseRefused, match="is in asia-east1 and the bucket"):
        check(client, bucket, Table.parse(table), "green")
    client.delete_dataset(dataset)


NO_API = (
    "{0} API has not been used in project 123 before or it is disabled. Enable it by visiting "
    "https://console.developers.google.com/apis/api/{1}/overview?project=123 then retry."
)


@pytest.mark.parametrize(
    ("reason", "message", "advice"),
    [
        ("accessNotConfigured", NO_API.format("BigQuery", "bigquery.googleapis.com"), "enable bigquery.googleapis"),
        ("accessDenied", "Access Denied: Dataset p:d: Permission bigquery.datasets.get denied", "BigQuery Data Editor"),
    ],
)
def test_what_bigquery_lacks_is_named_before_anything_is_loaded(cloud, tmp_path, reason, message, advice):
    with FrontEnd(cloud.environment["BIGQUERY_EMULATOR_HOST"]) as front:
        front.rules = [Rule("GET", "/datasets/", 403, reason, message)]
        client = bq.Client("local", AnonymousCredentials(), client_options={"api_endpoint": front.url})
        with closing(client), pytest.raises(WarehouseRefused, match=advice):
            check(client, Lake.at(tmp_path / "lake"), Table.parse("nyc_taxi.trips"), "green")


@pytest.mark.parametrize(
    ("reason", "message", "advice"),
    [
        ("accessNotConfigured", NO_API.format("Storage", "storage.googleapis.com"), "enable storage.googleapis"),
        ("forbidden", "a@b does not have storage.buckets.get access to the bucket.", "Storage Legacy Bucket Reader"),
    ],
)
def test_what_the_bucket_lacks_is_named_before_anything_is_loaded(cloud, client, reason, message, advice):
    with FrontEnd(cloud.environment["STORAGE_EMULATOR_HOST"]) as front:
        front.rules = [Rule("GET", f"/b/{BUCKET}", 403, reason, message)]
        fs = gcsfs.GCSFileSystem(token="anon", endpoint_url=front.url, project="local", skip_instance_cache=True)
        with pytest.raises(SetUpError, match=advice), told("the lake"):
            check(client, Lake(fs, f"{BUCKET}/lake"), Table.parse("nyc_taxi.trips"), "green")


def test_every_missing_right_is_named_at_once(cloud):
    here = cloud.environment
    with FrontEnd(here["STORAGE_EMULATOR_HOST"]) as storage, FrontEnd(here["BIGQUERY_EMULATOR_HOST"]) as bigquery:
        may = {"permissions": ["storage.buckets.get", "storage.objects.get", "storage.objects.list"]}
        storage.rules = [Rule("GET", "/iam/testPermissions", 200, answer=may)]
        no_jobs = "Access Denied: Project p: User does not have bigquery.jobs.create permission in project p."
        no_datasets = "Access Denied: Dataset p:d: Permission bigquery.datasets.get denied on dataset p:d."
        bigquery.rules = [
            Rule("POST", "/queries", 403, "accessDenied", no_jobs),
            Rule("GET", "/datasets/", 403, "accessDenied", no_datasets),
        ]
        fs = gcsfs.GCSFileSystem(token="anon", endpoint_url=storage.url, project="local", skip_instance_cache=True)
        client = bq.Client("local", AnonymousCredentials(), client_options={"api_endpoint": bigquery.url})
        with closing(client), pytest.raises(WarehouseRefused) as refusal:
            check(client, Lake(fs, f"{BUCKET}/lake"), Table.parse("nyc_taxi.trips"), "green")

    assert (
        "lacks storage.objects.create, storage.objects.delete, bigquery.datasets.get, bigquery.jobs.create: grant it "
        "BigQuery Data Editor (roles/bigquery.dataEditor) and BigQuery Job User (roles/bigquery.jobUser) and Storage "
        "Object Admin (roles/storage.objectAdmin)"
    ) in str(refusal.value)


def test_missing_bucket_is_named(bucket, client):
    with pytest.raises(WarehouseRefused, match="bucket 'no-such-bucket' does not exist"):
        check(client, Lake(bucket.fs, "no-such-bucket/lake"), Table.parse("nyc_taxi.trips"), "green")


@pytest.mark.parametrize(
    ("bucket", "dataset", "may"),
    [
        ("US", "US", True),
        ("asia-east1", "US", True),
        ("europe-west1", "EU", True),
        ("EU", "europe-west1", False),
        ("us-east1", "us-east4", False),
    ],
)
def test_a_load_job_needs_both_in_one_location(bucket, dataset, may):
    assert may_load(bucket, dataset) is may


def test_missing_credentials_are_said(lake, landed_month, client):
    from google.auth.exceptions import DefaultCredentialsError

    with pytest.raises(WarehouseRefused, match="no valid credentials"), errors_told("here"):
        raise DefaultCredentialsError("none found")


def test_server_that_is_not_there_may_be_tried_again(tmp_path, monkeypatch):
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:1")
    with bq.Client(project="local", credentials=AnonymousCredentials()) as client:
        client.get_dataset = lambda name: bq.Client.get_dataset(client, name, retry=None)
        with pytest.raises(WarehouseBusy, match="dataset local"):
            check(client, Lake.at(tmp_path), Table.parse("nyc_taxi.trips"), "green")


@pytest.mark.parametrize("name", ["trips", "a.b.c.d", "a-b.c", "d.t; DROP", "d.`t`", ""])
def test_what_is_no_table_name_is_refused(name):
    with pytest.raises(ValueError, match=r"is not dataset\.table"):
        Table.parse(name)


@pytest.mark.parametrize("name", ["dezoomcamp.trips", "my-project.dezoomcamp.trips"])
def test_table_name_is_read_as_it_is_written(name):
    assert str(Table.parse(name)) == name


def test_load_job_says_what_it_is_for(lake, landed_month, client):
    BIGQUERY.replace_month(client, landed_month(GREEN), lake, run=Run("etl_gcs_to_bq.green", "a run"))

    labels = [job.labels for job in client.list_jobs() if job.job_type == "load" and job.labels]
    assert {"service": "green", "month": "2024-01", "dag": "etl_gcs_to_bq-green"}.items() <= labels[0].items()
