"""Query jobs: what SQL can ask and change, and how the answers come."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from google.api_core import exceptions
from google.cloud.bigquery import ArrayQueryParameter, QueryJobConfig, ScalarQueryParameter


@pytest.fixture
def numbers(load, dataset):
    """A table of the numbers 0 to 9, by name."""
    load({"n": pa.array(range(10)), "s": pa.array([str(n) for n in range(10)])}, "numbers")
    return f"{dataset}.numbers"


def test_values_of_every_type_are_given_as_parameters(query):
    values = {
        "INT64": -(2**63),
        "FLOAT64": 0.1,
        "NUMERIC": Decimal("0.000000001"),
        "BOOL": False,
        "STRING": "it's @x ? \\ é",
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


def test_a_table_without_a_dataset_is_looked_for_in_the_default_one(client, numbers, dataset):
    config = QueryJobConfig(default_dataset=f"{client.project}.{dataset}")
    statement = "WITH some AS (SELECT n FROM numbers WHERE n < 3) SELECT sum(n) FROM some"

    assert [tuple(row) for row in client.query_and_wait(statement, job_config=config)] == [(3,)]
    with pytest.raises(exceptions.BadRequest, match='Table "numbers" must be qualified with a dataset'):
        client.query_and_wait(statement)


def test_answers_come_in_pages(client, numbers):
    rows = client.query(f"SELECT n FROM {numbers} ORDER BY n").result(page_size=4)

    assert [[row.n for row in page] for page in rows.pages] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert rows.total_rows == 10


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


@pytest.mark.parametrize("text", ["SELEC 1", "SELECT", "SELECT no_such_column FROM {numbers}", "SELECT 1 FROM t"])
def test_what_is_no_query_is_refused(query, numbers, text):
    with pytest.raises(exceptions.BadRequest):
        query(text.format(numbers=numbers))


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


def test_sums_of_columns_are_computed(query, load, dataset):
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
               MAX(DATETIME_DIFF(DATETIME(at), DATETIME '1970-01-01', SECOND))
        FROM {dataset}.t""") == [(3, 1, -1.5, 3, "a", 1_703_980_800_000_000, 1_704_067_200)]
