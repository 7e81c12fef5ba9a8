"""What tests of several folders share: a real Postgres with a database for each test, a lake, and months in it."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path, PurePosixPath

import psycopg
import pyarrow as pa
import pytest
from pyarrow import parquet

from devtools.generator import write_month
from devtools.servers.postgres import EmbeddedPostgres
from include.nyc_taxi import TripFile, catalog, editions, landing
from include.nyc_taxi.lake import Lake, raw_key, sha256_of

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
    """Puts a file into raw/ as its current edition, as fetching it does; `write` is given the path to write it to."""

    def put(file: TripFile, write: Callable[[Path], object], *, source: str = "official") -> None:
        key = raw_key(file, source)
        with lake.scratch(PurePosixPath(key).name) as path:
            write(path)
            digest = sha256_of(path)
            seen = editions.Seen(
                sha256=digest,
                source=source,
                url=catalog.source(source).url(file),
                etag=f'"{digest[:8]}"',
                last_modified=None,
                bytes=path.stat().st_size,
                at=datetime.now(UTC),
                after=sum(1 for _ in editions.history(lake, key).editions),
            )
            editions.add(lake, key, path, seen)
            editions.describe(lake, key, digest, is_held_back=False)  # tests make months shrink as they like

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
