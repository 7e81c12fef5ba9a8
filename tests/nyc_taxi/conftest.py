"""Lakes for the core's tests: a folder, and a bucket of the emulated cloud."""

from collections.abc import Iterator
from pathlib import Path

import gcsfs
import pytest

from devtools.emulators import LocalCloud
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


@pytest.fixture(params=["folder", "bucket"])
def any_lake(request: pytest.FixtureRequest) -> Lake:
    return request.getfixturevalue("lake" if request.param == "folder" else "bucket")
