"""Lakes for the core's tests: a folder, a bucket of the emulated Google Cloud, and one of a local S3."""

from collections.abc import Iterator
from pathlib import Path

import gcsfs
import pytest

from devtools.emulators import LocalCloud
from devtools.servers.s3 import LocalS3
from include.nyc_taxi.lake import Lake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.at(tmp_path / "lake")


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an emulated Google Cloud Storage that has the bucket `trips`."""
    with LocalCloud(tmp_path_factory.mktemp("cloud")) as cloud:
        cloud.create_bucket("trips")
        yield cloud.environment["STORAGE_EMULATOR_HOST"]


@pytest.fixture
def bucket(storage: str, tmp_path: Path) -> Lake:
    fs = gcsfs.GCSFileSystem(token="anon", endpoint_url=storage, project="local", use_listings_cache=False)
    return Lake(fs, f"trips/{tmp_path.name}")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[LocalS3]:
    """A server that speaks S3's protocol and has the bucket `trips`."""
    with LocalS3() as server:
        server.create_bucket("trips")
        yield server


@pytest.fixture
def s3(s3_server: LocalS3, tmp_path: Path) -> Lake:
    return s3_server.lake(f"trips/{tmp_path.name}")


@pytest.fixture(params=["bucket", "s3"])
def any_bucket(request: pytest.FixtureRequest) -> Lake:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["lake", "bucket", "s3"], ids=["folder", "bucket", "s3"])
def any_lake(request: pytest.FixtureRequest) -> Lake:
    return request.getfixturevalue(request.param)
