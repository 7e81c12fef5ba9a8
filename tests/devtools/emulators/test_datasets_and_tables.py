"""Datasets and tables: their descriptions are kept, and what cannot be is refused as by BigQuery."""

import pytest
from google.api_core import exceptions
from google.cloud.bigquery import Dataset, SchemaField, Table, TimePartitioning


@pytest.fixture
def trips(client, place, dataset):
    table = Table(
        f"{place.project}.{dataset}.trips",
        [
            SchemaField("trip_id", "INTEGER", "REQUIRED", description="which trip"),
            SchemaField("file_month", "DATE", description="month of the file"),
            SchemaField("fare_amount", "FLOAT"),
        ],
    )
    table.time_partitioning = TimePartitioning("MONTH", "file_month")
    table.clustering_fields = ["trip_id"]
    table.description = "trips"
    table.labels = {"service": "green"}
    return client.create_table(table)


def test_a_dataset_keeps_its_description(client, place, dataset):
    found = client.get_dataset(dataset)
    found.description, found.labels = "taxi", {"owner": "us"}
    client.update_dataset(found, ["description", "labels"])

    found = client.get_dataset(dataset)

    assert (found.description, found.labels, found.location) == ("taxi", {"owner": "us"}, place.location)
    assert dataset in {item.dataset_id for item in client.list_datasets()}


def test_a_dataset_is_made_once(client, place, dataset):
    with pytest.raises(exceptions.Conflict, match="Already Exists: Dataset"):
        client.create_dataset(Dataset(f"{place.project}.{dataset}"))

    assert client.create_dataset(Dataset(f"{place.project}.{dataset}"), exists_ok=True).dataset_id == dataset


def test_a_dataset_with_tables_is_deleted_only_with_them(client, dataset, trips):
    with pytest.raises(exceptions.BadRequest, match="still in use"):
        client.delete_dataset(dataset)

    client.delete_dataset(dataset, delete_contents=True)

    with pytest.raises(exceptions.NotFound, match="Not found: Dataset"):
        client.get_dataset(dataset)


def test_a_table_keeps_its_description(client, place, trips):
    found = client.get_table(trips)

    assert [(field.name, field.field_type, field.mode, field.description) for field in found.schema] == [
        ("trip_id", "INTEGER", "REQUIRED", "which trip"),
        ("file_month", "DATE", "NULLABLE", "month of the file"),
        ("fare_amount", "FLOAT", "NULLABLE", None),
    ]
    assert (found.time_partitioning.type_, found.time_partitioning.field) == ("MONTH", "file_month")
    assert (found.clustering_fields, found.description, found.labels) == (["trip_id"], "trips", {"service": "green"})
    assert (found.num_rows, found.table_type, found.location) == (0, "TABLE", place.location)


def test_a_table_is_made_once_and_deleted_once(client, dataset, trips):
    with pytest.raises(exceptions.Conflict, match="Already Exists: Table"):
        client.create_table(trips)

    client.delete_table(trips)

    with pytest.raises(exceptions.NotFound, match="Not found: Table"):
        client.get_table(trips)
    with pytest.raises(exceptions.NotFound):
        client.delete_table(trips)


def test_a_table_in_a_dataset_that_is_not_there_is_refused(client, place):
    with pytest.raises(exceptions.NotFound, match="Not found: Dataset"):
        client.create_table(Table(f"{place.project}.no_such_dataset.trips", [SchemaField("a", "STRING")]))


def test_columns_are_added_and_described(client, trips):
    trips.schema = [
        SchemaField("trip_id", "INTEGER", "REQUIRED", description="which trip it is"),
        *trips.schema[1:],
        SchemaField("tip_amount", "NUMERIC"),
    ]
    client.update_table(trips, ["schema"])

    found = client.get_table(trips).schema

    assert [field.name for field in found] == ["trip_id", "file_month", "fare_amount", "tip_amount"]
    assert (found[0].mode, found[0].description) == ("REQUIRED", "which trip it is")


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param(lambda fields: fields[:2], id="a column is dropped"),
        pytest.param(lambda fields: [*fields[:2], SchemaField("fare_amount", "STRING")], id="a type is changed"),
        pytest.param(
            lambda fields: [*fields, SchemaField("tip", "FLOAT", "REQUIRED")], id="a required column is added"
        ),
    ],
)
def test_a_schema_that_rows_would_not_fit_is_refused(client, trips, schema):
    trips.schema = schema(trips.schema)

    with pytest.raises(exceptions.BadRequest, match="Provided Schema does not match Table"):
        client.update_table(trips, ["schema"])


def test_a_label_is_removed_by_none(client, trips):
    trips.labels = {"service": None, "era": "2024"}
    client.update_table(trips, ["labels"])

    assert client.get_table(trips).labels == {"era": "2024"}


def test_a_change_to_what_has_changed_meanwhile_is_refused(client, trips):
    mine, theirs = client.get_table(trips), client.get_table(trips)
    theirs.description = "theirs"
    client.update_table(theirs, ["description"])

    mine.description = "mine"
    with pytest.raises(exceptions.PreconditionFailed):
        client.update_table(mine, ["description"])

    assert client.get_table(trips).description == "theirs"


def test_a_view_shows_the_rows_of_its_query(client, place, dataset, trips, query):
    view = Table(f"{place.project}.{dataset}.fares")
    view.view_query = f"SELECT fare_amount * 2 AS twice FROM `{place.project}.{dataset}.trips`"
    client.create_table(view)
    query(f"INSERT INTO {dataset}.trips (trip_id, fare_amount) VALUES (1, 2.5)")

    assert query(f"SELECT twice FROM {dataset}.fares") == [(5.0,)]
    assert client.get_table(view).table_type == "VIEW"
    assert [field.name for field in client.get_table(view).schema] == ["twice"]


def test_the_tables_and_views_of_a_dataset_are_listed(client, place, dataset, trips):
    view = Table(f"{place.project}.{dataset}.fares")
    view.view_query = f"SELECT fare_amount FROM `{place.project}.{dataset}.trips`"
    client.create_table(view)

    assert {(table.table_id, table.table_type) for table in client.list_tables(dataset)} == {
        (trips.table_id, "TABLE"),
        ("fares", "VIEW"),
    }


def test_the_tables_of_a_dataset_that_does_not_exist_are_not_found(client, dataset):
    with pytest.raises(exceptions.NotFound):
        list(client.list_tables(f"{dataset}_missing"))


def test_a_view_is_given_another_query(client, place, dataset, trips, query):
    view = Table(f"{place.project}.{dataset}.fares")
    view.view_query = f"SELECT fare_amount AS once FROM `{place.project}.{dataset}.trips`"
    view = client.create_table(view)

    view.view_query = f"SELECT fare_amount * 2 AS twice FROM `{place.project}.{dataset}.trips`"
    client.update_table(view, ["view_query"])

    query(f"INSERT INTO {dataset}.trips (trip_id, fare_amount) VALUES (1, 2.5)")
    assert query(f"SELECT * FROM {dataset}.fares") == [(5.0,)]
    assert [field.name for field in client.get_table(view).schema] == ["twice"]
