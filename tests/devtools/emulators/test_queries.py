"""Query jobs: what is asked, changed and made by SQL, and how the answers come."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from google.api_core import exceptions
from google.cloud.bigquery import ArrayQueryParameter, QueryJobConfig, ScalarQueryParameter, TimePartitioning


@pytest.fixture
def numbers(load, dataset):
    """A table of the numbers 0 to 9, by name."""
    load({"n": pa.array(range(10)), "s": pa.array([str(n) for n in range(10)])}, "numbers")
    return f"{dataset}.numbers"


@pytest.fixture
def months(query, dataset):
    """A table of two months, made by SQL."""
    query(f"""
        CREATE TABLE {dataset}.months (n INT64 NOT NULL OPTIONS (description = "a number"), day DATE, note STRING)
        PARTITION BY DATE_TRUNC(day, MONTH) CLUSTER BY n
        OPTIONS (description = "by month", labels = [("service", "green")])""")
    query(f"INSERT INTO {dataset}.months (n, day) VALUES (1, '2024-01-31'), (2, '2024-02-01'), (3, NULL)")
    return f"{dataset}.months"


def test_values_of_every_type_are_given_as_parameters(query):
    values = {
        "INT64": -(2**63),
        "FLOAT64": 0.1,
        "NUMERIC": Decimal("0.000000001"),
        "BOOL": False,
        "STRING": "it's @x ? \\ é",
        "BYTES": b"\x00'",
        "DATE": date(2024, 2, 29),
        "DATETIME": datetime(2024, 3, 10, 2, 30, 0, 1),
        "TIMESTAMP": datetime(2024, 3, 10, 2, 30, 0, 1, UTC),
    }
    named = [ScalarQueryParameter(f"p_{kind}", kind, value) for kind, value in values.items()]
    positional = [ScalarQueryParameter(None, kind, value) for kind, value in values.items()]

    assert query("SELECT " + ", ".join(f"@p_{kind}" for kind in values), *named) == [tuple(values.values())]
    assert query("SELECT " + ", ".join("?" for _ in values), *positional) == [tuple(values.values())]


def test_nulls_and_arrays_are_given_as_parameters(query, numbers):
    wanted = ArrayQueryParameter("wanted", "INT64", [2, 3, 99])
    nothing = ScalarQueryParameter("nothing", "STRING", None)

    found = query(f"SELECT n, @nothing FROM {numbers} WHERE n IN UNNEST(@wanted) ORDER BY n", wanted, nothing)

    assert found == [(2, None), (3, None)]


def test_a_parameter_that_is_not_given_is_refused(query):
    with pytest.raises(exceptions.BadRequest, match="x"):
        query("SELECT @x")


def test_answers_come_in_pages(client, numbers):
    rows = client.query(f"SELECT n FROM {numbers} ORDER BY n").result(page_size=4)

    assert [[row.n for row in page] for page in rows.pages] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert rows.total_rows == 10


def test_rows_of_a_table_come_in_part(client, numbers):
    table = client.get_table(numbers)

    some = list(client.list_rows(table, selected_fields=table.schema[:1], start_index=7, max_results=2, page_size=1))

    assert len(some) == 2
    assert {tuple(row.keys()) for row in some} == {("n",)}


def test_a_query_is_asked_in_one_request(client, numbers):
    rows = client.query_and_wait(f"SELECT count(*), timestamp '2024-01-01 00:00:00.5+00' AS at FROM {numbers}")

    assert [tuple(row) for row in rows] == [(10, datetime(2024, 1, 1, 0, 0, 0, 500_000, UTC))]
    assert [field.name for field in rows.schema] == ["f0_", "at"]


def test_an_answer_becomes_arrow(client, numbers):
    found = client.query(f"SELECT n, s FROM {numbers} ORDER BY n").to_arrow(create_bqstorage_client=False)

    assert found.to_pydict() == {"n": list(range(10)), "s": [str(n) for n in range(10)]}


def test_rows_are_changed_and_counted(client, query, numbers):
    def changed(text):
        job = client.query(text)
        job.result()
        return job.num_dml_affected_rows

    assert changed(f"INSERT INTO {numbers} (n, s) VALUES (10, 'x'), (11, NULL)") == 2
    assert changed(f"UPDATE {numbers} SET s = 'ten' WHERE n = 10") == 1
    assert changed(f"DELETE FROM {numbers} WHERE n < 9") == 9
    assert changed(f"DELETE FROM {numbers} WHERE n > 99") == 0
    assert query(f"SELECT n, s FROM {numbers} ORDER BY n") == [(9, "9"), (10, "ten"), (11, None)]


def test_rows_are_merged(client, query, numbers):
    job = client.query(f"""
        MERGE INTO {numbers} AS t
        USING (SELECT 9 AS n, 'nine' AS s UNION ALL SELECT 10, 'ten') AS new ON t.n = new.n
        WHEN MATCHED THEN UPDATE SET s = new.s
        WHEN NOT MATCHED THEN INSERT (n, s) VALUES (n, s)
        WHEN NOT MATCHED BY SOURCE AND t.n < 8 THEN DELETE""")
    job.result()

    assert job.num_dml_affected_rows == 10
    assert query(f"SELECT n, s FROM {numbers} ORDER BY n") == [(8, "8"), (9, "nine"), (10, "ten")]


def test_a_table_is_made_by_sql(client, months):
    found = client.get_table(months)

    assert (found.time_partitioning.type_, found.time_partitioning.field) == ("MONTH", "day")
    assert (found.clustering_fields, found.description, found.labels) == (["n"], "by month", {"service": "green"})
    assert (found.schema[0].mode, found.schema[0].description) == ("REQUIRED", "a number")


def test_tables_are_made_again_emptied_and_dropped(query, dataset, numbers):
    query(f"CREATE TABLE IF NOT EXISTS {numbers} (other STRING)")
    query(f"CREATE OR REPLACE TABLE {dataset}.few AS SELECT n FROM {numbers} WHERE n < 3")
    query(f"ALTER TABLE {dataset}.few ADD COLUMN s STRING")
    assert query(f"SELECT n, s FROM {dataset}.few ORDER BY n") == [(0, None), (1, None), (2, None)]

    query(f"TRUNCATE TABLE {dataset}.few")
    assert query(f"SELECT count(*) FROM {dataset}.few") == [(0,)]

    query(f"DROP TABLE {dataset}.few")
    query(f"DROP TABLE IF EXISTS {dataset}.few")
    with pytest.raises(exceptions.NotFound, match="Not found: Table"):
        query(f"SELECT * FROM {dataset}.few")


def test_a_dataset_is_made_and_dropped_by_sql(client, query, dataset, place):
    query(f"CREATE SCHEMA {dataset}_2 OPTIONS (location = '{place.location}')")
    query(f"CREATE SCHEMA IF NOT EXISTS {dataset}_2")
    query(f"CREATE TABLE {dataset}_2.t (a INT64)")
    assert client.get_dataset(f"{dataset}_2").location == place.location

    query(f"DROP SCHEMA {dataset}_2 CASCADE")

    with pytest.raises(exceptions.NotFound, match="Not found: Dataset"):
        client.get_dataset(f"{dataset}_2")


def test_an_answer_replaces_a_partition(client, query, months, place, dataset):
    for partition, day in (("202401", "2024-01-15"), ("202403", "2024-03-01")):
        config = QueryJobConfig(
            destination=f"{place.project}.{months}${partition}",
            write_disposition="WRITE_TRUNCATE",
            time_partitioning=TimePartitioning("MONTH", "day"),
        )
        client.query(f"SELECT 9 AS n, DATE '{day}' AS day", job_config=config).result()

    assert query(f"SELECT n, day FROM {months} ORDER BY day") == [
        (3, None),
        (9, date(2024, 1, 15)),
        (2, date(2024, 2, 1)),
        (9, date(2024, 3, 1)),
    ]


def test_tables_are_described_by_information_schema(query, months, dataset, place):
    schema = f"{dataset}.INFORMATION_SCHEMA"

    assert query(f"SELECT table_name, table_type FROM {schema}.TABLES") == [("months", "BASE TABLE")]
    assert (
        query(f"""SELECT column_name, data_type, is_nullable, is_partitioning_column, clustering_ordinal_position
                     FROM `{place.project}`.{schema}.COLUMNS WHERE table_name = 'months' ORDER BY ordinal_position""")
        == [
            ("n", "INT64", "NO", "NO", 1),
            ("day", "DATE", "YES", "YES", None),
            ("note", "STRING", "YES", "NO", None),
        ]
    )
    assert query(f"""SELECT partition_id, total_rows FROM {schema}.PARTITIONS
                     WHERE table_name = 'months' ORDER BY partition_id""") == [
        ("202401", 1),
        ("202402", 1),
        ("__NULL__", 1),
    ]
    assert query(f"SELECT field_path, description FROM {schema}.COLUMN_FIELD_PATHS WHERE column_name = 'n'") == [
        ("n", "a number")
    ]
    assert (dataset, place.location) in query(
        f"SELECT schema_name, location FROM `region-{place.location.lower()}`.INFORMATION_SCHEMA.SCHEMATA"
    )


def test_a_dry_run_says_what_would_come_and_does_nothing(client, query, numbers):
    config = QueryJobConfig(dry_run=True)

    asked = client.query(f"SELECT n AS number FROM {numbers}", job_config=config)
    client.query(f"DELETE FROM {numbers} WHERE true", job_config=config)

    assert asked.state == "DONE"
    assert [field.name for field in asked.schema] == ["number"]
    assert query(f"SELECT count(*) FROM {numbers}") == [(10,)]
    with pytest.raises(exceptions.NotFound):
        client.query("SELECT * FROM no_such_dataset.t", job_config=config)


@pytest.mark.parametrize("text", ["SELEC 1", "SELECT", "SELECT no_such_column FROM {numbers}", "SELECT 1 FROM t"])
def test_what_is_no_query_is_refused(query, numbers, text):
    with pytest.raises(exceptions.BadRequest):
        query(text.format(numbers=numbers))


def test_names_of_one_dataset_may_go_without_it(query, place, numbers):
    dataset = f"{place.project}.{numbers.partition('.')[0]}"

    assert query("SELECT count(*) FROM numbers", default_dataset=dataset) == [(10,)]


def test_a_dataset_in_another_location_is_not_found(client, numbers):
    with pytest.raises(exceptions.NotFound, match="was not found in location asia-east1"):
        client.query(f"SELECT * FROM {numbers}", location="asia-east1").result()


def test_jobs_are_found_again(client, dataset, numbers):
    job = client.query(f"SELECT n FROM {numbers} WHERE n = 7", job_id=f"{dataset}-asked")
    job.result()

    assert [row.n for row in client.get_job(f"{dataset}-asked").result()] == [7]
    assert f"{dataset}-asked" in {job.job_id for job in client.list_jobs(max_results=20)}
    with pytest.raises(exceptions.NotFound, match="Not found: Job"):
        client.get_job(f"{dataset}-other")
    with pytest.raises(exceptions.Conflict, match="Already Exists: Job"):
        client.query("SELECT 1", job_id=f"{dataset}-asked", retry=None)


def test_checksums_of_columns_are_computed(query, load, dataset):
    load(
        {
            "f": pa.array([0.5, None, -2.0]),
            "s": pa.array(["a", "bé", None]),
            "at": pa.array([datetime(2024, 1, 1), None, datetime(1969, 12, 31)], pa.timestamp("us", "UTC")),
        },
        "t",
    )

    assert query(f"""
        SELECT COUNT(*), COUNTIF(f IS NULL), SUM(f), SUM(LENGTH(s)), MIN(s), SUM(UNIX_MICROS(at)),
               MAX(DATETIME_DIFF(DATETIME(at), DATETIME '1970-01-01', SECOND)), TO_HEX(MD5('a'))
        FROM {dataset}.t""") == [
        (3, 1, -1.5, 3, "a", 1_703_980_800_000_000, 1_704_067_200, "0cc175b9c0f1b6a831c399e269772661")
    ]
