"""The local cloud keeps its data, is shared by its users, and leaves no server behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.bigquery import LoadJobConfig, SchemaField

from devtools.emulators import PROJECT, ROOT, LocalCloud

USER = """
import sys
from pathlib import Path
from devtools.emulators import LocalCloud
with LocalCloud(Path(sys.argv[1])) as cloud:
    print(cloud.environment["BIGQUERY_EMULATOR_HOST"], flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "a cloud"


@pytest.fixture(autouse=True)
def environment():
    """Nothing of the contract's own cloud."""


def client_of(cloud: LocalCloud) -> bigquery.Client:
    endpoint = {"api_endpoint": cloud.environment["BIGQUERY_EMULATOR_HOST"]}
    return bigquery.Client(PROJECT, credentials=AnonymousCredentials(), client_options=endpoint)


def ask(cloud: LocalCloud, text: str) -> list[tuple]:
    with client_of(cloud) as client:
        return [tuple(row) for row in client.query(text).result()]


def make_table(cloud: LocalCloud) -> None:
    """Makes the table `d.t`, with the number 1 in its column `a`."""
    with client_of(cloud) as client:
        client.create_dataset("d")
        schema = LoadJobConfig(schema=[SchemaField("a", "INTEGER")])
        client.load_table_from_json([{"a": 1}], "d.t", job_config=schema).result()


def user_of(folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", USER, folder]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def servers_of(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "devtools.emulators" in words and str(folder) in words:
            found.append(process)
    return found


def test_tables_buckets_and_jobs_outlive_the_server(folder):
    with LocalCloud(folder) as cloud:
        cloud.create_bucket("lake", location="EU")
        make_table(cloud)

    with LocalCloud(folder) as cloud:
        assert ask(cloud, "SELECT a FROM d.t") == [(1,)]
        bucket = httpx.get(f"{cloud.environment['STORAGE_EMULATOR_HOST']}/storage/v1/b/lake", trust_env=False)
        assert bucket.json()["location"] == "EU"


def test_nothing_runs_when_it_is_left(folder):
    with LocalCloud(folder) as cloud:
        address = cloud.environment["BIGQUERY_EMULATOR_HOST"]
        assert len(servers_of(folder)) == 1

    assert psutil.wait_procs(servers_of(folder), timeout=30)[1] == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(address, trust_env=False)


def test_users_share_one_server_and_the_last_one_ends_it(folder):
    with LocalCloud(folder) as cloud:
        other = user_of(folder)
        assert other.stdout.readline().strip() == cloud.environment["BIGQUERY_EMULATOR_HOST"]

    assert len(servers_of(folder)) == 1
    other.communicate()
    assert psutil.wait_procs(servers_of(folder), timeout=30)[1] == []


def test_a_killed_user_leaves_no_server(folder):
    with user_of(folder) as user:
        assert user.stdout.readline()
        (server,) = servers_of(folder)

        user.kill()

        server.wait(30)


def test_a_cloud_is_kept_by_what_its_user_becomes(folder):
    become = "import os, sys; from pathlib import Path; from devtools.emulators import LocalCloud; "
    become += "LocalCloud(Path(sys.argv[1])).keep(); print(flush=True); os.execvp('cat', ['cat'])"
    command = [sys.executable, "-c", become, folder]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as user:
        assert user.stdout.readline()
        with LocalCloud(folder) as cloud:
            assert ask(cloud, "SELECT 1") == [(1,)]
        (server,) = servers_of(folder)

    server.wait(30)


def test_a_killed_server_is_started_again_with_what_was_committed(folder):
    with LocalCloud(folder) as cloud:
        make_table(cloud)
        (server,) = servers_of(folder)
        server.kill()
        server.wait(30)

        with LocalCloud(folder) as again:
            assert ask(again, "SELECT a FROM d.t") == [(1,)]


def test_a_service_answers_on_the_given_ports_has_the_given_bucket_and_ends_by_sigterm(folder, tmp_path):
    with LocalCloud(folder) as cloud:
        ports = [str(urlsplit(address).port) for address in list(cloud.environment.values())[:2]]
    (tmp_path / "key").write_text("its-key\n")
    options = ["--folder", folder, "--host", "127.0.0.1", "--storage-port", ports[0], "--bigquery-port", ports[1]]
    options += ["--bucket", "lake", "--name", "local-cloud", "--key-file", tmp_path / "key"]
    with subprocess.Popen([sys.executable, "-m", "devtools.emulators", *options], cwd=ROOT, stderr=-3) as service:
        with httpx.Client(transport=httpx.HTTPTransport(retries=8), trust_env=False) as client:
            for port in ports:
                assert client.get(f"http://127.0.0.1:{port}/").is_success
            bucket = f"http://127.0.0.1:{ports[0]}/its-key/storage/v1/b/lake"
            assert client.get(bucket, headers={"Host": "local-cloud:4443"}).is_success
        os.kill(service.pid, signal.SIGTERM)

        assert service.wait(30) == 0


def test_a_load_from_a_bucket_elsewhere_is_refused(folder):
    with LocalCloud(folder) as cloud, client_of(cloud) as client:
        cloud.create_bucket("lake", location="US")
        dataset = bigquery.Dataset(f"{PROJECT}.d")
        dataset.location = "EU"
        client.create_dataset(dataset)
        storage = cloud.environment["STORAGE_EMULATOR_HOST"]
        httpx.post(
            f"{storage}/upload/storage/v1/b/lake/o",
            params={"uploadType": "media", "name": "x"},
            content=b"1",
            trust_env=False,
        ).raise_for_status()
        job = client.load_table_from_uri("gs://lake/x", "d.t", job_config=LoadJobConfig(source_format="PARQUET"))

        assert "Cannot read and write in different locations: source: US, destination: EU" in str(job.error_result)


@pytest.fixture(scope="module")
def cloud_with_a_table(tmp_path_factory):
    with LocalCloud(tmp_path_factory.mktemp("cloud")) as cloud:
        make_table(cloud)
        yield cloud


def query_of(text, **settings):
    return {"query": {"query": text, "useLegacySql": False} | settings}


@pytest.mark.parametrize(
    "configuration",
    [
        {"copy": {"sourceTable": {"datasetId": "d", "tableId": "t"}}},
        {"extract": {"destinationUris": ["gs://lake/x"]}},
        {"load": {"destinationTable": {"datasetId": "d", "tableId": "t"}, "sourceFormat": "CSV"}},
        {
            "load": {
                "destinationTable": {"datasetId": "d", "tableId": "t"},
                "sourceFormat": "NEWLINE_DELIMITED_JSON",
                "writeDisposition": "WRITE_EMPTY",
            }
        },
        query_of("SELECT 1") | {"dryRun": True},
        query_of("SELECT 1", useLegacySql=True),
        query_of("SELECT 1", destinationTable={"datasetId": "d", "tableId": "u"}),
        query_of("CREATE TABLE d.u (a INT64)"),
        query_of("SELECT 1; SELECT 2"),
        query_of("SELECT * FROM d.INFORMATION_SCHEMA.TABLES"),
        query_of(
            "SELECT ?",
            queryParameters=[{"parameterType": {"type": "BYTES"}, "parameterValue": {"value": "AA=="}}],
        ),
    ],
)
def test_a_job_that_is_not_supported_is_refused_by_name(cloud_with_a_table, configuration):
    address = f"{cloud_with_a_table.environment['BIGQUERY_EMULATOR_HOST']}/upload/bigquery/v2/projects/{PROJECT}/jobs"
    if "load" in configuration:
        parts = {"about": ("", json.dumps({"configuration": configuration}), "application/json"), "x": b'{"a": 2}'}
        answer = httpx.post(address, params={"uploadType": "multipart"}, files=parts, trust_env=False)
    else:
        plain = address.replace("/upload", "")
        answer = httpx.post(plain, json={"configuration": configuration}, trust_env=False)

    assert "local cloud: " in answer.text
    assert ask(cloud_with_a_table, "SELECT a FROM d.t") == [(1,)]
