"""Load jobs: what a partition holds afterwards, what readers see meanwhile, and what is refused."""

import io
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from threading import Event

import pyarrow as pa
import pytest
from google.api_core import exceptions
from google.cloud.bigquery import LoadJobConfig, SchemaField, Table, TimePartitioning

JANUARY, FEBRUARY = date(2024, 1, 1), date(2024, 2, 1)
MONTHLY = TimePartitioning("MONTH", "file_month")


def trips(month, *ids, **columns):
    return {
        "trip_id": pa.array(ids, pa.int64()),
        "file_month": pa.array([month] * len(ids), pa.date32()),
    } | {name: pa.array([value] * len(ids)) for name, value in columns.items()}


@pytest.fixture
def replace(load):
    """Replaces a partition of the table `trips`, and creates the table if it is missing."""

    def run(columns, partition, **settings):
        settings = {"write_disposition": "WRITE_TRUNCATE", "time_partitioning": MONTHLY} | settings
        return load(columns, f"trips${partition}", **settings)

    return run


@pytest.fixture
def ids(query, dataset):
    """The ids of all trips."""
    return lambda: [row[0] for row in query(f"SELECT trip_id FROM {dataset}.trips ORDER BY trip_id")]


def test_a_partition_is_replaced_and_the_others_stay(replace, ids):
    replace(trips(JANUARY, 1, 2, 3), "202401")
    replace(trips(FEBRUARY, 4), "202402")

    job = replace(trips(JANUARY, 5, 6), "202401")

    assert ids() == [4, 5, 6]
    assert job.output_rows == 2


def test_a_partition_is_replaced_by_nothing(replace, ids):
    replace(trips(JANUARY, 1), "202401")

    replace(trips(JANUARY), "202401")

    assert ids() == []


def test_rows_of_another_partition_are_refused_and_nothing_changes(replace, ids):
    replace(trips(JANUARY, 1), "202401")
    mixed = {"trip_id": pa.array([2, 3]), "file_month": pa.array([JANUARY, FEBRUARY])}

    with pytest.raises(exceptions.BadRequest, match="Some rows belong to different partitions"):
        replace(mixed, "202401")

    assert ids() == [1]


@pytest.mark.parametrize(
    ("kind", "partition", "day", "other"),
    [
        ("DAY", "20240115", date(2024, 1, 15), date(2024, 1, 16)),
        ("MONTH", "202401", date(2024, 1, 31), date(2024, 2, 1)),
        ("YEAR", "2024", date(2024, 12, 31), date(2025, 1, 1)),
    ],
)
def test_a_partition_is_as_long_as_the_table_says(load, query, dataset, kind, partition, day, other):
    settings = {"time_partitioning": TimePartitioning(kind, "day"), "write_disposition": "WRITE_TRUNCATE"}
    load({"day": pa.array([day, other])}, "days", time_partitioning=TimePartitioning(kind, "day"))

    load({"day": pa.array([day, day])}, f"days${partition}", **settings)

    assert query(f"SELECT day, count(*) FROM {dataset}.days GROUP BY day ORDER BY day") == [(day, 2), (other, 1)]


def test_a_partition_by_hour_of_a_datetime_is_replaced(load, query, dataset):
    nine, ten = datetime(2024, 1, 1, 9, 30), datetime(2024, 1, 1, 10)
    settings = {
        "schema": [SchemaField("at", "DATETIME")],
        "time_partitioning": TimePartitioning("HOUR", "at"),
    }
    load({"at": pa.array([nine, ten], pa.timestamp("us"))}, "hours", **settings)

    load(
        {"at": pa.array([nine] * 3, pa.timestamp("us"))},
        "hours$2024010109",
        write_disposition="WRITE_TRUNCATE",
        **settings,
    )

    assert query(f"SELECT at, count(*) FROM {dataset}.hours GROUP BY at ORDER BY at") == [(nine, 3), (ten, 1)]


def test_rows_are_appended_where_no_disposition_is_given(load, ids):
    load(trips(JANUARY, 1), "trips", time_partitioning=MONTHLY)

    load(trips(JANUARY, 2), "trips$202401")
    load(trips(FEBRUARY, 3), "trips")

    assert ids() == [1, 2, 3]


def test_a_whole_table_is_replaced_with_its_schema(client, load, dataset, query):
    load({"a": pa.array([1, 2])}, "t")

    load({"b": pa.array(["x"])}, "t", write_disposition="WRITE_TRUNCATE")

    assert query(f"SELECT * FROM {dataset}.t") == [("x",)]
    assert [field.name for field in client.get_table(f"{dataset}.t").schema] == ["b"]


def test_no_table_is_made_where_that_is_not_asked_for(client, load, dataset):
    with pytest.raises(exceptions.NotFound, match="Not found: Table"):
        load({"a": pa.array([1])}, "t", create_disposition="CREATE_NEVER")


def test_a_load_makes_the_table_that_it_describes(client, load, dataset):
    load(
        trips(JANUARY, 1),
        "trips$202401",
        schema=[SchemaField("trip_id", "INTEGER", "REQUIRED", description="which"), SchemaField("file_month", "DATE")],
        time_partitioning=MONTHLY,
        clustering_fields=["trip_id"],
    )

    table = client.get_table(f"{dataset}.trips")

    assert (table.time_partitioning.type_, table.time_partitioning.field) == ("MONTH", "file_month")
    assert (table.clustering_fields, table.num_rows) == (["trip_id"], 1)
    assert (table.schema[0].mode, table.schema[0].description) == ("REQUIRED", "which")


@pytest.mark.parametrize("disposition", ["WRITE_TRUNCATE", "WRITE_APPEND"])
def test_a_new_column_is_added_where_that_is_asked_for(replace, query, dataset, disposition):
    replace(trips(FEBRUARY, 2), "202402")
    wider = trips(JANUARY, 1, tip=0.5)

    with pytest.raises(exceptions.BadRequest, match="Provided Schema does not match Table"):
        replace(wider, "202401", write_disposition=disposition)
    replace(wider, "202401", write_disposition=disposition, schema_update_options=["ALLOW_FIELD_ADDITION"])

    assert query(f"SELECT trip_id, tip FROM {dataset}.trips ORDER BY trip_id") == [(1, 0.5), (2, None)]


def test_schema_updates_are_refused_where_the_whole_table_is_replaced(load):
    load({"a": pa.array([1])}, "t")

    with pytest.raises(exceptions.BadRequest, match="Schema update options should only be specified"):
        load(
            {"a": pa.array([1])},
            "t",
            write_disposition="WRITE_TRUNCATE",
            schema_update_options=["ALLOW_FIELD_ADDITION"],
        )


def test_a_column_that_the_file_lacks_is_null(load, query, dataset):
    load({"a": pa.array([1])}, "t", schema=[SchemaField("a", "INTEGER"), SchemaField("b", "STRING")])

    assert query(f"SELECT a, b FROM {dataset}.t") == [(1, None)]


def test_a_null_in_a_required_column_is_refused_and_nothing_changes(client, place, dataset, load, ids):
    required = [SchemaField("trip_id", "INTEGER", "REQUIRED"), SchemaField("file_month", "DATE")]
    client.create_table(Table(f"{place.project}.{dataset}.trips", required))
    load(trips(JANUARY, 1), "trips", schema=required)

    with pytest.raises(exceptions.BadRequest):
        load(trips(JANUARY, 2, None), "trips", schema=required)

    assert ids() == [1]


def test_a_file_of_other_types_is_refused(load):
    with pytest.raises(exceptions.BadRequest, match="Parquet column 'a' has type"):
        load({"a": pa.array([1.5])}, "t", schema=[SchemaField("a", "INTEGER")])


def test_a_file_that_is_no_parquet_is_refused(client, dataset):
    config = LoadJobConfig(source_format="PARQUET")

    with pytest.raises(exceptions.BadRequest):
        client.load_table_from_file(io.BytesIO(b"no parquet"), f"{dataset}.t", job_config=config).result()


def test_a_dataset_that_is_not_there_is_refused(client, place, parquet_file):
    config = LoadJobConfig(source_format="PARQUET")

    with pytest.raises(exceptions.NotFound, match="Not found: Dataset"):
        client.load_table_from_file(
            parquet_file({"a": pa.array([1])}), f"{place.project}.no_such_dataset.t", job_config=config
        ).result()


def test_values_of_every_type_come_back(client, load, dataset):
    rows = {
        "i": pa.array([2**63 - 1, None], pa.int64()),
        "small": pa.array([-7, None], pa.int16()),
        "f": pa.array([0.1, float("-inf")], pa.float64()),
        "s": pa.array(["é ' \" \n", ""], pa.string()),
        "d": pa.array([date(1, 1, 1), date(9999, 12, 31)], pa.date32()),
        "wall": pa.array([datetime(2024, 3, 10, 2, 30, 0, 5), None], pa.timestamp("us")),
        "instant": pa.array([datetime(2024, 1, 1, 5, 0, 0, 1, UTC), None], pa.timestamp("us", "UTC")),
    }
    kinds = {
        "i": "INTEGER",
        "small": "INTEGER",
        "f": "FLOAT",
        "s": "STRING",
        "d": "DATE",
        "wall": "DATETIME",
        "instant": "TIMESTAMP",
    }
    load(rows, "t", schema=[SchemaField(name, kind) for name, kind in kinds.items()])

    found = client.query(f"SELECT * FROM {dataset}.t").result()

    values = [dict(row) for row in found]
    assert sorted(values, key=lambda row: row["s"], reverse=True) == pa.table(rows).to_pylist()
    assert {field.name: field.field_type for field in found.schema} == kinds


def test_json_rows_are_loaded(client, dataset, query):
    schema = [SchemaField("a", "INTEGER"), SchemaField("at", "TIMESTAMP"), SchemaField("by", "JSON")]
    rows = [{"a": 1, "at": "2024-01-01T00:00:00+00:00", "by": {"reason": 2}}, {"a": 2}]

    client.load_table_from_json(rows, f"{dataset}.t", job_config=LoadJobConfig(schema=schema)).result()

    assert query(f"SELECT a, at, JSON_VALUE(`by`, '$.reason') FROM {dataset}.t ORDER BY a") == [
        (1, datetime(2024, 1, 1, tzinfo=UTC), "2"),
        (2, None, None),
    ]


def test_objects_of_a_bucket_are_loaded(client, place, bucket, prefix, dataset, parquet_file, ids):
    for number in (1, 2):
        bucket.blob(f"{prefix}part {number}.parquet").upload_from_file(parquet_file(trips(JANUARY, number)))
    config = LoadJobConfig(source_format="PARQUET", write_disposition="WRITE_TRUNCATE", time_partitioning=MONTHLY)

    for _ in range(2):
        job = client.load_table_from_uri(
            f"gs://{place.bucket}/{prefix}*.parquet", f"{dataset}.trips$202401", job_config=config
        ).result()

    assert ids() == [1, 2]
    assert (job.input_files, job.output_rows) == (2, 2)


def test_an_object_that_is_not_there_is_named(client, place, dataset):
    config = LoadJobConfig(source_format="PARQUET")

    with pytest.raises(exceptions.NotFound, match="Not found"):
        client.load_table_from_uri(
            f"gs://{place.bucket}/contract/no such object", f"{dataset}.t", job_config=config
        ).result()


def test_a_large_file_is_uploaded_in_pieces(client, load, dataset, query):
    rows = 1_600_000  # some 12 MB, which the client sends resumably

    load({"a": pa.array(range(rows), pa.int64())}, "t")

    assert query(f"SELECT count(*), sum(a) FROM {dataset}.t") == [(rows, rows * (rows - 1) // 2)]


def test_a_reader_sees_the_old_month_or_the_new_one(client, replace, query, dataset):
    replace(trips(JANUARY, *[1] * 1000), "202401")
    seen, is_over = set(), Event()

    def watch():
        while not is_over.is_set():
            seen.update(
                query(f"SELECT count(*), min(trip_id), max(trip_id) FROM {dataset}.trips", use_query_cache=False)
            )

    with ThreadPoolExecutor() as threads:
        watching = threads.submit(watch)
        for number in (2, 3):
            replace(trips(JANUARY, *[number] * 1000), "202401")
        is_over.set()
        watching.result()

    assert seen <= {(1000, number, number) for number in (1, 2, 3)}


def test_months_are_loaded_at_once(replace, ids):
    replace(trips(date(2023, 1, 1), 0), "202301")

    with ThreadPoolExecutor() as threads:
        months = [date(2024, month, 1) for month in range(1, 7)]
        list(threads.map(lambda month: replace(trips(month, month.month), f"{month:%Y%m}"), months))

    assert ids() == [0, 1, 2, 3, 4, 5, 6]


def test_a_job_of_one_id_runs_once(client, dataset, parquet_file, query):
    def start():
        file = parquet_file({"a": pa.array([1])})
        config = LoadJobConfig(source_format="PARQUET")
        return client.load_table_from_file(file, f"{dataset}.t", job_id=f"{dataset}-once", job_config=config)

    start().result()

    with pytest.raises(exceptions.Conflict, match="Already Exists: Job"):
        start()
    assert query(f"SELECT count(*) FROM {dataset}.t") == [(1,)]
    assert client.get_job(f"{dataset}-once").output_rows == 1


@pytest.fixture
def partitions(query, dataset):
    """The partitions of `trips` by id: how many rows, and when they last changed."""

    def look():
        found = query(f"""SELECT partition_id, total_rows, last_modified_time
                          FROM {dataset}.INFORMATION_SCHEMA.PARTITIONS WHERE table_name = 'trips'""")
        return {partition: (rows, changed) for partition, rows, changed in found}

    return look


def test_information_schema_counts_the_rows_of_each_partition(load, partitions):
    load(trips(JANUARY, 1, 2), "trips", time_partitioning=MONTHLY)
    load(trips(None, 3), "trips")

    assert {partition: rows for partition, (rows, _) in partitions().items()} == {"202401": 2, "__NULL__": 1}


def test_information_schema_tells_which_partition_changed(replace, partitions):
    replace(trips(JANUARY, 1), "202401")
    replace(trips(FEBRUARY, 2), "202402")
    before = partitions()

    replace(trips(JANUARY, 3), "202401")

    after = partitions()
    assert after["202401"][1] > before["202401"][1]
    assert after["202402"] == before["202402"]


def test_information_schema_tells_which_partitions_a_load_of_the_whole_table_changed(load, replace, partitions):
    replace(trips(JANUARY, 1), "202401")
    replace(trips(FEBRUARY, 2), "202402")
    before = partitions()

    load(trips(FEBRUARY, 3), "trips")

    after = partitions()
    assert after["202401"] == before["202401"]
    assert after["202402"][1] > before["202402"][1]
