"""An emulated cloud for the targets' tests."""

from collections.abc import Iterator

import pytest

from devtools.emulators import LocalCloud

BUCKET = "trips"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """Storage with a bucket, and BigQuery; Google's clients go there."""
    with LocalCloud(tmp_path_factory.mktemp("cloud")) as cloud, pytest.MonkeyPatch.context() as environment:
        for name, value in cloud.environment.items():
            environment.setenv(name, value)
        cloud.create_bucket(BUCKET)
        yield cloud
