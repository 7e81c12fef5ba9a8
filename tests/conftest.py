"""What tests of several folders share: a real Postgres with a database for each test, a lake, and months in it."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from pyarrow import parquet

from devtools.generator import write_month
from devtools.servers.postgres import EmbeddedPostgres
from include.nyc_taxi import TripFile, catalog, landing
from include.nyc_taxi.lake import Lake, Manifest, raw_key, sha256_of

# The servers of the tests are on this machine, where no proxy of the caller's environment can reach.
os.environ |= dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1")

# gcsfs reads it when it is imported, and would ask for gRPC first, which the local cloud does not speak.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

# A shell has its background jobs ignore Ctrl-C, and so would every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

_databases = count(1)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One server for the session. It does not wait for the disk, as its data need not outlive the tests."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), settings={"fsync": "off"})
    with server:
        yield server
    server.remove()


@pytest.fixture
def warehouse(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """The connection string of an empty database of this test's own."""
    name = f"warehouse_{next(_databases)}"
    postgres_server.create_database(name)
    yield postgres_server.conninfo(name)
    with psycopg.connect(postgres_server.conninfo(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake.at(tmp_path / "lake")


@pytest.fixture
def put_raw(lake: Lake) -> Callable[..., None]:
    """Puts a file into raw/ with its manifest, as fetching it does; `write` is given the path to write it to."""

    def put(file: TripFile, write: Callable[[Path], object], *, source: str = "official") -> None:
        key, now = raw_key(file, source), datetime.now(UTC).isoformat()
        with lake.staged(key) as path:
            write(path)
            size, digest = path.stat().st_size, sha256_of(path)
        manifest = Manifest(
            source=source,
            url=catalog.source(source).url(file),
            etag=f'"{digest[:8]}"',
            last_modified=None,
            bytes=size,
            sha256=digest,
            fetched_at=now,
            checked_at=now,
        )
        lake.write_manifest(key, manifest)

    return put


@pytest.fixture
def landed_month(lake: Lake, put_raw: Callable[..., None]) -> Callable[..., TripFile]:
    """Generates a month, puts it into raw/, lands it, and gives its TripFile.

    >>> file = landed_month("green_tripdata_2024-01", rows=500)

    `edit` is given the generated table of a parquet source, and its answer is published instead.
    """

    def land(
        name: str,
        *,
        rows: int = 300,
        source: str = "official",
        profile: str = "notes",
        edit: Callable[[pa.Table], pa.Table] | None = None,
    ) -> TripFile:
        file = TripFile.parse(name)

        def write(path: Path) -> None:
            write_month(file, path, source=source, rows=rows)
            if edit is not None:
                parquet.write_table(edit(parquet.read_table(path)), path)

        put_raw(file, write, source=source)
        landing.land(file, lake, source=source, profile=profile)
        return file

    return land


@pytest.fixture(
    scope="module"
)  # of a module, as other tests may not be able to run with playwright's loop in their thread
def browser():
    """A real browser; where there is none, its tests are skipped."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine: the page is not looked at")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
