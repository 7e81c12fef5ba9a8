"""Clients come from Airflow's connections, in each of their spellings."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from airflow.sdk.exceptions import AirflowNotFoundException
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from devtools.servers.s3 import LocalS3
from include.nyc_taxi import targets
from include.nyc_taxi.errors import SetUpError, WarehouseBusy

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_THE_PROVIDER = """
import sys

class Blocked:
    def find_spec(self, name, *_):
        if name.startswith("airflow.providers.amazon.aws"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
from include.orchestration import connections
connections.lake()
"""


@pytest.mark.parametrize(
    ("connection", "base_url"),
    [
        ('{"conn_type": "http", "host": "https://example.org"}', "https://example.org"),
        ('{"conn_type": "http", "host": "https://example.org/a/b/"}', "https://example.org/a/b/"),
        ('{"conn_type": "http", "host": "example.org", "schema": "https"}', "https://example.org"),
        ('{"conn_type": "http", "host": "127.0.0.1", "port": 8000}', "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/tlc", "http://127.0.0.1:8000/tlc"),
        ("https://example.org", "https://example.org"),
        ("http://example.org:443/https", "https://example.org:443"),
    ],
)
def test_the_base_url_of_a_source_is_that_of_its_connection(airflow_database, monkeypatch, connection, base_url):
    from include.orchestration import connections

    monkeypatch.setenv("AIRFLOW_CONN_TAXI_SOURCE", connection)

    assert connections.base_url("official") == base_url


def test_a_connection_without_a_host_is_refused_with_what_was_expected(airflow_database, monkeypatch):
    from include.orchestration import connections

    monkeypatch.setenv("AIRFLOW_CONN_TAXI_SOURCE", '{"conn_type": "http"}')

    with pytest.raises(ValueError, match="connection 'taxi_source' has no host; expected a base URL"):
        connections.base_url("official")


def test_a_lake_without_credentials_names_its_connection(airflow_database, monkeypatch, tmp_path):
    from include.orchestration import connections

    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_GCP", '{"conn_type": "google_cloud_platform"}')
    monkeypatch.setenv("AIRFLOW_VAR_TAXI_LAKE", "gs://taxi_gcp@trips/nyc-taxi")

    with pytest.raises(ValueError, match="connection 'taxi_gcp' has no valid credentials for gs://taxi_gcp@trips"):
        connections.lake()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_warehouse_that_does_not_answer_is_a_transient_error(airflow_database, monkeypatch, read_only):
    from include.orchestration import connections

    nowhere = {"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "login": "x", "schema": "z"}
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_WAREHOUSE", json.dumps(nowhere))

    with (
        pytest.raises(WarehouseBusy, match=r"connection 'taxi_warehouse': .*port 1 failed: Connection refused"),
        connections.opened(targets.get("postgres"), read_only=read_only),
    ):
        pass


def test_a_warehouse_that_is_lost_is_noticed_within_minutes_unless_the_connection_says_otherwise(
    deployment, monkeypatch
):
    from include.orchestration import connections

    said = json.loads(os.environ["AIRFLOW_CONN_TAXI_WAREHOUSE"])
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_WAREHOUSE", json.dumps(said | {"extra": {"keepalives_count": 2}}))

    with connections.opened(targets.get("postgres")) as connection:
        options = connection.info.get_parameters()

    assert {name: options[name] for name in ("connect_timeout", "keepalives_idle", "keepalives_count")} == {
        "connect_timeout": "20",
        "keepalives_idle": "60",
        "keepalives_count": "2",
    }
    assert options["tcp_user_timeout"] == "120000"


def test_the_client_for_bigquery_acts_for_the_project_of_the_connection(airflow_database, monkeypatch):
    from include.orchestration import connections

    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    extra = {"is_anonymous": True, "project": "a-project"}
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_GCP", json.dumps({"conn_type": "google_cloud_platform", "extra": extra}))
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:9")

    with connections.opened(targets.get("bigquery")) as client:
        assert client.project == "a-project"


@pytest.fixture
def account(monkeypatch):
    """A connection with a service account's key, while the environment names emulators."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    details = {"type": "service_account", "project_id": "mine", "client_email": "a@mine", "private_key": key.decode()}
    extra = {"project": "mine", "keyfile_dict": details | {"token_uri": "https://oauth2.googleapis.com/token"}}
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_GCP", json.dumps({"conn_type": "google_cloud_platform", "extra": extra}))
    monkeypatch.setenv("AIRFLOW_VAR_TAXI_LAKE", "gs://taxi_gcp@trips/nyc-taxi")
    for name in ("STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


def test_credentials_never_go_to_an_emulator(airflow_database, account):
    from include.orchestration import connections

    with connections.opened(targets.get("bigquery")) as client:
        assert (client.project, client._connection.API_BASE_URL) == ("mine", "https://bigquery.googleapis.com")
    assert connections.lake().fs.base == "https://storage.googleapis.com/storage/v1/"


def test_the_anonymous_connection_of_the_emulators_counts_as_not_set_while_none_runs(airflow_database, monkeypatch):
    from include.orchestration import connections

    bigquery = targets.get("bigquery")
    extra = {"is_anonymous": True, "project": "local"}
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_GCP", json.dumps({"conn_type": "google_cloud_platform", "extra": extra}))
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST", raising=False)

    assert not connections.is_configured(bigquery)
    with pytest.raises(ValueError, match="'taxi_gcp' is anonymous, which only an emulator accepts, and none runs;"):
        connections.opened(bigquery).__enter__()
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:9")
    assert connections.is_configured(bigquery)


def test_a_client_is_closed_at_the_end(deployment):
    from include.orchestration import connections

    with connections.opened(targets.get("postgres")) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)

    assert connection.closed


def test_a_read_only_client_cannot_write(deployment):
    from include.orchestration import connections

    with (
        connections.opened(targets.get("postgres"), read_only=True) as connection,
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
    ):
        connection.execute("CREATE TABLE trips ()")


def test_the_client_of_the_lake_is_the_lake(deployment, tmp_path):
    from include.orchestration import connections

    with connections.opened(targets.the_lake()) as client:
        assert client.root == str(tmp_path / "a lake")


@pytest.mark.parametrize("target", targets.every(), ids=lambda target: target.name)
def test_every_target_has_an_adapter_and_knows_whether_its_connection_is_set(airflow_database, monkeypatch, target):
    from include.orchestration import connections

    for kind in ("CONN", "VAR"):
        monkeypatch.delenv(f"AIRFLOW_{kind}_{target.connection.upper()}", raising=False)
    assert not connections.is_configured(target)
    with pytest.raises((AirflowNotFoundException, ValueError), match=target.connection), connections.opened(target):
        pass

    kind, value = ("VAR", "file:///lake") if target.is_the_lake else ("CONN", "http://127.0.0.1")
    monkeypatch.setenv(f"AIRFLOW_{kind}_{target.connection.upper()}", value)
    assert connections.is_configured(target)


@pytest.fixture
def s3_server():
    with LocalS3() as server:
        server.create_bucket("connected")
        yield server


def test_a_lake_in_s3_is_opened_by_its_connection(airflow_database, s3_server, monkeypatch):
    from include.orchestration import connections

    monkeypatch.setenv("AIRFLOW_CONN_TAXI_AWS", json.dumps(s3_server.connection))
    monkeypatch.setenv("AIRFLOW_VAR_TAXI_LAKE", "s3://taxi_aws@connected/lake")

    lake = connections.lake()
    connections.check_lake(lake)
    with lake.staged("data/green/file", None) as path:
        path.write_bytes(b"rows")

    assert s3_server.lake("connected/lake").read("data/green/file") == b"rows"
    assert lake.fs.client.meta.config.retries["total_max_attempts"] == 5


def test_a_missing_bucket_of_s3_is_named(airflow_database, s3_server, monkeypatch):
    from include.orchestration import connections

    monkeypatch.setenv("AIRFLOW_CONN_TAXI_AWS", json.dumps(s3_server.connection))
    monkeypatch.setenv("AIRFLOW_VAR_TAXI_LAKE", "s3://taxi_aws@no-such-bucket/lake")

    with pytest.raises(SetUpError, match=r"s3://no-such-bucket/lake: there is no bucket 'no-such-bucket'; create it"):
        connections.check_lake(connections.lake())


@pytest.mark.parametrize(
    ("connection", "said"),
    [
        (None, "connection 'taxi_aws' is not set"),
        ({"conn_type": "http"}, "connection 'taxi_aws' has the type 'http'; expected 'aws' for s3://taxi_aws@trips/p"),
        (
            {"conn_type": "aws", "login": "a", "password": "s3cret", "extra": {"endpoint_url": "not a url"}},
            "connection 'taxi_aws' cannot open s3://taxi_aws@trips/p: Invalid endpoint",
        ),
    ],
)
def test_a_lake_in_s3_without_a_right_connection_names_it(airflow_database, monkeypatch, connection, said):
    from include.orchestration import connections

    if connection is not None:
        monkeypatch.setenv("AIRFLOW_CONN_TAXI_AWS", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW_VAR_TAXI_LAKE", "s3://taxi_aws@trips/p")

    with pytest.raises(ValueError, match=re.escape(said)) as refusal:
        connections.lake()
    assert "s3cret" not in str(refusal.value)


def test_a_lake_in_s3_without_the_provider_says_what_to_install(airflow_database):
    environment = {**os.environ, "AIRFLOW_VAR_TAXI_LAKE": "s3://taxi_aws@trips/p", "PYTHONPATH": str(ROOT)}
    environment["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_PROVIDER], env=environment, capture_output=True, text=True, check=False
    )

    assert ran.stderr.splitlines()[-1].endswith(
        "SetUpError: lake s3://taxi_aws@trips/p: needs the package apache-airflow-providers-amazon[s3fs], which is not "
        "installed; install it: pip install -r requirements-extra.txt, or build the image with "
        "TAXI_REQUIREMENTS=requirements-extra.txt"
    )
