"""Airflow's hooks reach the local cloud through the connection `taxi_gcp`."""

import pytest
from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook
from airflow.providers.google.cloud.hooks.gcs import GCSHook


@pytest.fixture
def hook(place):
    return BigQueryHook(gcp_conn_id="taxi_gcp", use_legacy_sql=False, location=place.location)


def test_the_bigquery_hook_makes_datasets_and_tables(place, hook, dataset):
    again = hook.create_empty_dataset(
        dataset_id=dataset, project_id=place.project, location=place.location, exists_ok=True
    )
    hook.create_table(
        dataset_id=dataset,
        table_id="t",
        project_id=place.project,
        table_resource={
            "tableReference": {"projectId": place.project, "datasetId": dataset, "tableId": "t"},
            "schema": {"fields": [{"name": "a", "type": "INT64"}]},
        },
    )

    assert again["datasetReference"]["datasetId"] == dataset
    assert hook.table_exists(dataset_id=dataset, table_id="t", project_id=place.project)
    assert not hook.table_exists(dataset_id=dataset, table_id="u", project_id=place.project)
    assert hook.get_client(project_id=place.project).get_table(f"{dataset}.t").schema[0].field_type == "INTEGER"


def test_the_bigquery_hook_inserts_jobs(place, hook):
    configuration = {"query": {"query": "SELECT 1 AS a", "useLegacySql": False}}

    job = hook.insert_job(configuration=configuration, project_id=place.project, location=place.location)

    assert [row.a for row in job.result()] == [1]


def test_the_gcs_hook_carries_objects(place, prefix):
    hook = GCSHook(gcp_conn_id="taxi_gcp")
    name = f"{prefix}x.txt"

    hook.upload(bucket_name=place.bucket, object_name=name, data="content")

    assert hook.exists(bucket_name=place.bucket, object_name=name)
    assert hook.download(bucket_name=place.bucket, object_name=name) == b"content"
    assert hook.list(bucket_name=place.bucket, prefix=prefix) == [name]
