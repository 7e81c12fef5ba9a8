"""The cloud that the contract is tested on: the local one, or a real one that the environment names.

    TAXI_CONTRACT_PROJECT=my-project TAXI_CONTRACT_BUCKET=my-bucket make test ARGS=tests/devtools/emulators

runs the same tests in a real project, with application default credentials, in datasets and under prefixes of their
own. TAXI_CONTRACT_LOCATION is the location of the datasets, which must be that of the bucket; the default is EU.
"""

import io
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage
from pyarrow import parquet

from devtools.emulators import PROJECT, LocalCloud

# Airflow would write its files into the home folder.
_home = tempfile.TemporaryDirectory(prefix="nyc-taxi-airflow-")
os.environ.setdefault("AIRFLOW_HOME", _home.name)

BUCKET = "contract"


class Place(NamedTuple):
    """Where the tests work."""

    project: str
    bucket: str
    location: str
    environment: dict[str, str]
    arguments: dict[str, object]


def pytest_collection_modifyitems(items):
    """Only our own warnings are errors here: Google's clients and Airflow have theirs."""
    for item in items:
        if Path(__file__).parent == item.path.parent:
            item.add_marker(pytest.mark.filterwarnings("ignore"))
            item.add_marker(pytest.mark.filterwarnings(r"error:::include\."))


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    project = os.environ.get("TAXI_CONTRACT_PROJECT")
    if project:
        location = os.environ.get("TAXI_CONTRACT_LOCATION", "EU")
        connection = {"conn_type": "google_cloud_platform", "extra": {"project": project}}
        variables = {"AIRFLOW_CONN_TAXI_GCP": json.dumps(connection)}
        yield Place(project, os.environ["TAXI_CONTRACT_BUCKET"], location, variables, {"project": project})
        return
    with LocalCloud(tmp_path_factory.mktemp("cloud")) as cloud:
        cloud.create_bucket(BUCKET, location="EU")
        arguments = {"project": PROJECT, "credentials": AnonymousCredentials()}
        yield Place(PROJECT, BUCKET, "EU", dict(cloud.environment), arguments)


@pytest.fixture(autouse=True)
def environment(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def client(place: Place) -> Iterator[bigquery.Client]:
    options = ClientOptions(api_endpoint=place.environment.get("BIGQUERY_EMULATOR_HOST"))
    with bigquery.Client(**place.arguments, location=place.location, client_options=options) as client:
        yield client


@pytest.fixture
def bucket(place: Place) -> storage.Bucket:
    return storage.Client(**place.arguments).bucket(place.bucket)


@pytest.fixture
def prefix(bucket: storage.Bucket) -> Iterator[str]:
    """The prefix of a test's objects, which are deleted after it."""
    prefix = f"contract/{secrets.token_hex(8)}/"
    yield prefix
    for blob in bucket.list_blobs(prefix=prefix):
        blob.delete()


@pytest.fixture
def dataset(place: Place, client: bigquery.Client) -> Iterator[str]:
    """The name of an empty dataset, which is deleted after the test."""
    dataset = bigquery.Dataset(f"{place.project}.contract_{secrets.token_hex(8)}")
    dataset.location = place.location
    yield client.create_dataset(dataset).dataset_id
    client.delete_dataset(dataset, delete_contents=True, not_found_ok=True)


@pytest.fixture
def query(client: bigquery.Client) -> Callable[..., list[tuple]]:
    """Runs a query, and returns its rows as tuples."""

    def run(text: str, *parameters: object, **settings: object) -> list[tuple]:
        config = bigquery.QueryJobConfig(query_parameters=list(parameters), **settings)
        return [tuple(row.values()) for row in client.query(text, job_config=config).result()]

    return run


@pytest.fixture
def load(client: bigquery.Client, dataset: str) -> Callable[..., bigquery.LoadJob]:
    """Loads columns as a parquet file into a table of the dataset, and waits for it."""

    def run(columns: dict[str, pa.Array] | pa.Table, table: str, **settings: object) -> bigquery.LoadJob:
        config = bigquery.LoadJobConfig(source_format="PARQUET", **settings)
        return client.load_table_from_file(parquet_file(columns), f"{dataset}.{table}", job_config=config).result()

    return run


def parquet_file(columns: dict[str, pa.Array] | pa.Table) -> io.BytesIO:
    file = io.BytesIO()
    parquet.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), file)
    file.seek(0)
    return file


@pytest.fixture(name="parquet_file")
def _parquet_file() -> Callable[..., io.BytesIO]:
    """Writes columns as a parquet file into memory."""
    return parquet_file
