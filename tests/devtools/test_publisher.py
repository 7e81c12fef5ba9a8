"""The local publisher behaves like the real one when a client resumes and revalidates downloads."""

import os
import socket
from collections.abc import Iterator
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from threading import Thread

import httpx
import pytest

from devtools.generator import write_month
from devtools.servers.publisher import Publisher
from include.nyc_taxi import Month, TripFile, catalog, download
from include.nyc_taxi.errors import NotPublished
from include.nyc_taxi.lake import Lake

FILE = TripFile("green", Month(2024, 1))
CONTENT = bytes(range(256)) * 1_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "file").write_bytes(CONTENT)
    return folder


@pytest.fixture
def client(folder: Path) -> Iterator[httpx.Client]:
    with Publisher(folder) as publisher, httpx.Client(base_url=publisher.base_url) as client:
        yield client


def test_serves_the_bytes_with_their_headers(client: httpx.Client):
    answer = client.get("/file")

    assert answer.content == CONTENT
    assert answer.headers["Content-Length"] == "256000"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"]
    assert answer.headers["Last-Modified"]


def test_head_returns_the_headers_of_get(client: httpx.Client):
    head, get = client.head("/file"), client.get("/file")

    assert head.content == b""
    for name in ("ETag", "Last-Modified", "Content-Length"):
        assert head.headers[name] == get.headers[name]


def test_cut_download_is_resumed_by_range(client: httpx.Client):
    etag = client.head("/file").headers["ETag"]

    rest = client.get("/file", headers={"Range": "bytes=100000-", "If-Range": etag})

    assert rest.status_code == HTTPStatus.PARTIAL_CONTENT
    assert rest.headers["Content-Range"] == "bytes 100000-255999/256000"
    assert rest.content == CONTENT[100_000:]


def test_resumed_download_of_a_changed_file_starts_over(client: httpx.Client, folder: Path):
    etag = client.head("/file").headers["ETag"]
    (folder / "file").write_bytes(b"new")

    answer = client.get("/file", headers={"Range": "bytes=100000-", "If-Range": etag})

    assert answer.status_code == HTTPStatus.OK
    assert answer.content == b"new"


def test_unchanged_file_is_not_sent_again(client: httpx.Client):
    first = client.get("/file").headers

    for condition in ({"If-None-Match": first["ETag"]}, {"If-Modified-Since": first["Last-Modified"]}):
        answer = client.get("/file", headers=condition)
        assert answer.status_code == HTTPStatus.NOT_MODIFIED
        assert answer.content == b""


def test_missing_file_is_404(client: httpx.Client):
    assert client.get("/other").status_code == HTTPStatus.NOT_FOUND


def test_nothing_outside_the_folder_is_served(client: httpx.Client, folder: Path):
    (folder.parent / "secret").write_text("secret")

    assert client.get("/%2e%2e/secret").status_code == HTTPStatus.NOT_FOUND


def test_our_client_downloads_a_file_again_only_if_it_changed(folder: Path, tmp_path: Path):
    published = folder / catalog.source("official").path_of(FILE)
    published.parent.mkdir()
    write_month(FILE, published, rows=500)
    lake = Lake.at(tmp_path / "lake")

    with Publisher(folder) as publisher:
        first, second = (
            download.fetch(FILE, lake, base_url=publisher.base_url, cache_ttl=timedelta(0)) for _ in range(2)
        )
        write_month(FILE, published, rows=501)
        third = download.fetch(FILE, lake, base_url=publisher.base_url, cache_ttl=timedelta(0))

    assert [fetched.outcome for fetched in (first, second, third)] == ["downloaded", "unchanged", "downloaded"]
    assert Path(lake.path(third.key)).read_bytes() == published.read_bytes()


def test_our_client_reports_a_month_that_is_not_published(folder: Path, tmp_path: Path):
    with Publisher(folder) as publisher, pytest.raises(NotPublished):
        download.fetch(FILE, Lake.at(tmp_path / "lake"), base_url=publisher.base_url)


def test_listens_on_the_given_port_and_leaves_it_free(folder: Path):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    for _ in range(2):
        with Publisher(folder, port=port) as publisher:
            assert publisher.base_url == f"http://127.0.0.1:{port}"
            assert httpx.get(f"{publisher.base_url}/file").content == CONTENT


def test_stops_even_while_a_client_reads(folder: Path):
    os.truncate(folder / "file", 1 << 30)

    with Publisher(folder) as publisher, httpx.stream("GET", f"{publisher.base_url}/file") as answer:
        next(answer.iter_raw(1024))
        stopping = Thread(target=publisher.__exit__, daemon=True)
        stopping.start()
        stopping.join(60)

        assert not stopping.is_alive()
        assert answer.num_bytes_downloaded < 1 << 30


def test_missing_folder_is_an_error(tmp_path: Path):
    with pytest.raises(RuntimeError, match="does not exist"), Publisher(tmp_path / "nowhere"):
        pass
