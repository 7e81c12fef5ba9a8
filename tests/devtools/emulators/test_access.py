"""The local cloud on a machine that others use: its files, its addresses, and the files that its queries can read."""

import json
import os
import stat
import subprocess
import sys
from http.client import HTTPConnection
from urllib.parse import urlsplit

import gcsfs
import httpx
import psutil
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from devtools.emulators import PROJECT, ROOT, LocalCloud

SECRET = "a secret of the owner"
ADDRESSES = ("STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST")
ASKED = {ADDRESSES[0]: "/storage/v1/b", ADDRESSES[1]: f"/bigquery/v2/projects/{PROJECT}/datasets"}

# Started with an open umask, in an open folder.
OPEN = """
import os, sys
from pathlib import Path
from devtools.emulators import LocalCloud
os.umask(0)
with LocalCloud(Path(sys.argv[1])) as cloud:
    cloud.create_bucket("lake")
"""

each_address = pytest.mark.parametrize("name", ADDRESSES)


@pytest.fixture(autouse=True)
def environment():
    """Nothing of the contract's own cloud."""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    with LocalCloud(tmp_path_factory.mktemp("cloud")) as cloud:
        cloud.create_bucket("lake")
        datasets = f"{cloud.environment[ADDRESSES[1]]}{ASKED[ADDRESSES[1]]}"
        httpx.post(datasets, json={"datasetReference": {"datasetId": "d"}}, trust_env=False).raise_for_status()
        yield cloud


@pytest.fixture
def secret(tmp_path):
    """A file of the owner's, outside of the cloud."""
    file = tmp_path / "secret.txt"
    file.write_text(SECRET)
    return file


def get(address, **headers):
    """The status of an answer, to exactly this path."""
    parts = urlsplit(address)
    connection = HTTPConnection(parts.netloc, timeout=30)
    connection.request("GET", parts.path + (f"?{parts.query}" if parts.query else ""), headers=headers)
    return connection.getresponse().status


@each_address
def test_only_who_knows_the_key_is_answered(cloud, name):
    address, asked = cloud.environment[name], ASKED[name]
    root, _, key = address.rpartition("/")

    assert get(f"{address}{asked}") == 200
    assert get(f"{root}{asked}") == 403
    assert get(f"{root}/{key[:-1]}{'0' if key[-1] == '1' else '1'}{asked}") == 403
    assert get(f"{root}/%20{asked}") == 403
    assert get(f"{root}/") == 200, "says that it serves, and nothing else"


@each_address
def test_no_web_page_is_answered(cloud, name):
    asked = f"{cloud.environment[name]}{ASKED[name]}"

    assert get(asked, Host="localhost:1") == 200
    assert get(asked, Host="rebound.example:80") == 403
    assert get(asked, Host="127.0.0.1.example") == 403
    assert get(asked, Origin="http://127.0.0.1:8080") == 403
    assert get(cloud.environment[name].rpartition("/")[0] + "/", Host="rebound.example") == 403


def test_a_client_that_sends_nothing_holds_up_no_other(cloud):
    address = cloud.environment[ADDRESSES[0]]
    silent = HTTPConnection(urlsplit(address).netloc)
    silent.connect()

    assert get(f"{address}{ASKED[ADDRESSES[0]]}") == 200
    silent.close()


@pytest.mark.parametrize("path", ["/wipe", "/b", "/b/lake/o", "/lake/x", "/storage/v1/projects", "/storage/v1/bucket"])
def test_storage_answers_to_the_json_api_alone(cloud, path):
    assert get(f"{cloud.environment[ADDRESSES[0]]}{path}") == 404
    assert get(f"{cloud.environment[ADDRESSES[0]]}/storage/v1/b/lake") == 200


@pytest.mark.parametrize("name", ["..", ".", "_resumable", "a/b", ""])
def test_a_bucket_is_no_other_folder(cloud, name):
    buckets = f"{cloud.environment[ADDRESSES[0]]}/storage/v1/b"

    assert httpx.post(buckets, json={"name": name}, trust_env=False).status_code == 400


@pytest.mark.parametrize("path", ["..%2F" * 12, "../" * 12])
def test_an_object_is_no_file_outside_of_its_bucket(cloud, secret, path):
    objects = f"{cloud.environment[ADDRESSES[0]]}/storage/v1/b/lake/o"

    assert get(f"{objects}/{path}{str(secret)[1:].replace('/', '%2F')}?alt=media") in {400, 404}
    assert get(f"{objects.replace('/storage', '/download/storage')}/%2F{secret}?alt=media") in {400, 404}


def test_clients_keep_the_key_in_every_address(cloud, monkeypatch):
    """Also in the addresses that the server answers with: of resumable uploads, and of the content of an object."""
    monkeypatch.setenv(ADDRESSES[0], cloud.environment[ADDRESSES[0]])
    bucket = storage.Client(PROJECT, credentials=AnonymousCredentials()).bucket("lake")
    large = os.urandom(600_000)

    with bucket.blob("resumed").open("wb", chunk_size=1 << 18) as file:
        file.write(large)
    with bucket.client.batch():
        bucket.copy_blob(bucket.blob("resumed"), bucket, "copied")
    fs = gcsfs.GCSFileSystem(token="anon", endpoint_url=cloud.environment[ADDRESSES[0]], project=PROJECT)
    with fs.open("lake/by gcsfs", "wb", block_size=1 << 18) as file:
        file.write(large)

    assert bucket.get_blob("copied").download_as_bytes() == large
    assert [blob.download_as_bytes() for blob in bucket.list_blobs(prefix="by")] == [large]
    assert fs.cat_file("lake/resumed", start=5, end=9) == large[5:9]
    fs.rm(["lake/resumed", "lake/by gcsfs"])


def test_an_object_is_downloaded_from_the_server_that_runs_now(tmp_path, monkeypatch):
    for step in ("write", "read"):
        with LocalCloud(tmp_path / "cloud") as cloud:
            cloud.create_bucket("lake")
            monkeypatch.setenv(ADDRESSES[0], cloud.environment[ADDRESSES[0]])
            bucket = storage.Client(PROJECT, credentials=AnonymousCredentials()).bucket("lake")
            if step == "write":
                bucket.blob("x").upload_from_string("content")
            else:
                assert bucket.get_blob("x").download_as_bytes() == b"content"


def asked(cloud, text):
    """The whole answer to a query."""
    queries = f"{cloud.environment[ADDRESSES[1]]}/bigquery/v2/projects/{PROJECT}/queries"
    return httpx.post(queries, json={"query": text, "useLegacySql": False}, trust_env=False)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM read_csv('{file}')",
        "SELECT * FROM read_blob('{file}')",
        "SELECT * FROM parquet_scan('{file}')",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM '{file}'",
        "SELECT * FROM `{file}`",
        "SELECT * FROM (WITH `{file}` AS (SELECT 1) SELECT 2), `{file}` AS x",
        "SELECT * FROM UNNEST([1]) AS a CROSS JOIN LATERAL read_text('{file}')",
        "SELECT (SELECT content FROM read_text('{file}'))",
        "SELECT * FROM query('SELECT * FROM read_text(''{file}'')')",
        "SELECT * FROM pandas_scan(1)",
        "SELECT * FROM duckdb_settings()",
        "INSERT INTO d.t SELECT content FROM read_text('{file}')",
        "COPY (SELECT 1) TO '{folder}/written'",
        "EXPORT DATABASE '{folder}/written'",
        "ATTACH '{folder}/written'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
    ],
)
def test_no_query_reads_or_writes_a_file(cloud, secret, text):
    answer = asked(cloud, text.format(file=secret, folder=secret.parent))

    assert answer.status_code in {400, 404, 501}
    assert SECRET not in answer.text
    assert [path.name for path in secret.parent.iterdir()] == ["secret.txt"]


def test_no_view_reads_a_file(cloud, secret):
    tables = f"{cloud.environment[ADDRESSES[1]]}/bigquery/v2/projects/{PROJECT}/datasets/d/tables"
    view = {"query": f"SELECT * FROM read_text('{secret}')", "useLegacySql": False}

    answer = httpx.post(
        tables, json={"tableReference": {"datasetId": "d", "tableId": "v"}, "view": view}, trust_env=False
    )

    assert answer.status_code == 501


def test_duckdb_itself_opens_its_own_files_alone(tmp_path, secret):
    """Whatever a translated query may hold, the database refuses files, other databases, extensions and settings."""
    import duckdb

    from devtools.emulators.bigquery.warehouse import Warehouse

    uploads = tmp_path / "it's uploads"
    uploads.mkdir()
    (uploads / "rows").write_text('{"a": 1}')
    warehouse = Warehouse(tmp_path / "warehouse", uploads)
    cursor = warehouse.cursor()

    assert cursor.execute("SELECT a FROM read_json($1)", [str(uploads / "rows")]).fetchall() == [(1,)]
    (uploads / "link").symlink_to(secret)
    for statement in (
        f"SELECT * FROM read_text('{secret}')",
        f"SELECT * FROM glob('{secret.parent}/*')",
        f"SELECT * FROM read_text('{str(uploads).replace(chr(39), chr(39) * 2)}/../secret.txt')",
        f"SELECT * FROM read_text('{str(uploads).replace(chr(39), chr(39) * 2)}/link')",
        "SELECT * FROM read_csv('http://127.0.0.1:1/x.csv')",
        f"COPY (SELECT 1) TO '{tmp_path}/written'",
        f"ATTACH '{tmp_path}/written'",
        f"EXPORT DATABASE '{tmp_path}/written'",
        "INSTALL httpfs",
        f"LOAD '{tmp_path}/written'",
        "SET GLOBAL enable_external_access = true",
        "SET GLOBAL allowed_directories = ['/']",
        "SET temp_directory = '/'",
        "SELECT * FROM secret",
    ):
        with pytest.raises(duckdb.Error):
            cursor.execute(statement).fetchall()
    warehouse.close()


@pytest.mark.parametrize(
    "uri",
    [
        "file://{file}",
        "{file}",
        "http://127.0.0.1:1/x",
        "gs://../x",
        "gs://lake/../../../..{file}",
        "gs://a%2F../x",
        "gs://",
    ],
)
def test_a_load_job_reads_objects_of_a_bucket_alone(cloud, secret, uri):
    load = {
        "destinationTable": {"datasetId": "d", "tableId": "t"},
        "sourceFormat": "NEWLINE_DELIMITED_JSON",
        "schema": {"fields": [{"name": "a", "type": "STRING"}]},
        "sourceUris": [uri.format(file=secret)],
    }
    jobs = f"{cloud.environment[ADDRESSES[1]]}/bigquery/v2/projects/{PROJECT}/jobs"

    job = httpx.post(jobs, json={"configuration": {"load": load}}, trust_env=False).json()

    assert job["status"]["errorResult"]["reason"] in {"invalid", "notFound"}
    assert SECRET not in json.dumps(job)
    assert urlsplit(jobs).path.split("/")[1] not in json.dumps(job), "the key is in no message"


def test_nobody_else_can_enter_the_folder_whatever_the_umask(tmp_path):
    folder = tmp_path / "cloud"
    folder.mkdir()
    folder.chmod(0o777)

    subprocess.run([sys.executable, "-c", OPEN, folder], cwd=ROOT, check=True)

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = {path: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.name != ".meta"}
    assert folder / "addresses.json" in files
    assert {path: oct(mode) for path, mode in files.items() if mode & 0o077} == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_that_another_user_has_put_there_is_refused(tmp_path):
    folder = tmp_path / "cloud"
    folder.mkdir()
    os.chown(folder, 65534, 65534)

    with pytest.raises(PermissionError, match="belongs to uid 65534, expected a folder of uid 0"), LocalCloud(folder):
        pass


def test_its_server_listens_on_loopback_alone_and_has_no_secret_in_its_command_line(cloud):
    key = cloud.environment[ADDRESSES[0]].rpartition("/")[2]
    ports = {urlsplit(cloud.environment[name]).port for name in ADDRESSES}
    (server,) = [
        process
        for process in psutil.process_iter(["cmdline"])
        if {"devtools.emulators", str(cloud.folder)} <= set(process.info["cmdline"] or [])
    ]

    listening = {tuple(found.laddr) for found in server.net_connections() if found.status == psutil.CONN_LISTEN}

    assert listening == {("127.0.0.1", port) for port in ports}
    assert key not in " ".join(server.cmdline())
    assert len(key) >= 32


def test_the_folder_may_lie_deep(tmp_path):
    """The path of a Unix socket could have no more than 107 bytes."""
    with LocalCloud(tmp_path / ("deep" * 30) / "cloud") as cloud:
        assert get(f"{cloud.environment[ADDRESSES[0]]}/storage/v1/b") == 200
