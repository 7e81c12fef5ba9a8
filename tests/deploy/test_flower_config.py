"""Flower with the stack's configuration."""

import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from devtools.servers.whole_airflow import free_port

ROOT = Path(__file__).resolve().parents[2]
UP_WITHIN_SECONDS = 60


@pytest.fixture(scope="module")
def flower(tmp_path_factory):
    """Its address, with a broker of its own and the configuration that the stack names."""
    command = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]["flower"]["command"]
    config = command[command.index("--flower-conf") + 1].replace("/opt/airflow/bundle", str(ROOT))
    port, folder = free_port(), tmp_path_factory.mktemp("flower")
    options = ["--address=127.0.0.1", f"--port={port}", f"--conf={config}", "--basic-auth=admin:secret"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "celery", "--broker=memory://", "flower", *options],
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False)
        deadline = time.monotonic() + UP_WITHIN_SECONDS
        while not answers(client):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield client
    finally:
        client.close()
        server.terminate()
        server.wait()


def answers(client):
    try:
        return client.get("/healthcheck").is_success
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("path", ["metrics", "", "workers", "api/workers", "metrics?x=1"])
def test_flower_wants_a_login(flower, path):
    assert flower.get(f"/{path}").status_code == 401


def test_flower_shows_its_metrics_to_who_logs_in(flower):
    answer = flower.get("/metrics", auth=("admin", "secret"))

    assert answer.status_code == 200
    assert "flower" in answer.text
