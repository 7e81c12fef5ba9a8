"""Fixtures for the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.servers.misbehaving import Published, Publisher
from tests.nyc_taxi.download.served import CSV, OLD, PATH, PATHS


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    # Reading the web's certificates takes longer than the rest of a test, and no request here needs them.
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Publisher() as publisher:
        publisher.files = {PATH: Published(OLD), PATHS["csv_mirror"]: Published(CSV)}
        yield publisher
