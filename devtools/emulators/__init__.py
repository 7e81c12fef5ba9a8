"""GCS and BigQuery emulated locally, for anyone without a cloud account.

    with LocalCloud(Path("cloud")) as cloud:
        os.environ.update(cloud.environment)
        cloud.create_bucket("lake")
        bigquery.Client("local", credentials=AnonymousCredentials()).query("SELECT 1").result()

docs/local-cloud.md lists what it does not do.
"""

from __future__ import annotations

import fcntl
import json
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
PROJECT = "local"
PATIENCE_SECONDS = 30.0


class LocalCloud:
    """An emulated cloud in a folder, shared by the processes that use it.

    The first user starts its server, which ends with the last user. Each user holds a socket to the server, which the
    operating system closes even if the user is killed. The data stays in the folder.

    Args:
        folder: holds nothing else.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._lifelines: list[socket.socket] = []

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "start.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._lifelines.append(self._join() or self._start())
        return self

    def __exit__(self, *_: object) -> None:
        with self._lifelines.pop() as lifeline:
            lifeline.shutdown(socket.SHUT_WR)
            lifeline.settimeout(PATIENCE_SECONDS)
            lifeline.recv(1)  # returns when the server has noticed; after its last user it no longer listens

    def keep(self) -> Self:
        """Keep the cloud running as long as this process and its forks, also after an exec."""
        self.__enter__()
        lifeline = self._lifelines.pop()
        lifeline.set_inheritable(True)
        lifeline.detach()
        return self

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that point Google's clients, gcsfs and Airflow's connection `taxi_gcp` to this cloud."""
        storage, bigquery = (f"http://{HOST}:{port}" for port in self._ports()[:2])
        return cloud_environment(storage, bigquery)

    def create_bucket(self, name: str, location: str = "US") -> None:
        """Create the bucket if it does not exist."""
        create_bucket(self.environment["STORAGE_EMULATOR_HOST"], name, location)

    def _ports(self) -> list[int]:
        return [int(port) for port in (self.folder / "ports").read_text().split()]

    def _join(self) -> socket.socket | None:
        """Connect to the server, if it runs."""
        with suppress(OSError):
            lifeline = socket.create_connection((HOST, self._ports()[2]), timeout=PATIENCE_SECONDS)
            with suppress(OSError):
                if lifeline.recv(4096).decode() == str(self.folder):
                    return lifeline
            lifeline.close()
        return None

    def _start(self) -> socket.socket:
        log = self.folder / "server.log"
        command = [sys.executable, "-m", "devtools.emulators", "--folder", str(self.folder), "--until-unused"]
        with log.open("w") as output:
            started = subprocess.run(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
            )
        lifeline = None if started.returncode else self._join()
        if lifeline is None:
            raise RuntimeError(f"the local cloud did not start; the end of {log}:\n{log.read_text()[-2000:]}")
        return lifeline


def create_bucket(storage: str, name: str, location: str = "US") -> None:
    """Create a bucket in the GCS at this address, if it does not exist."""
    buckets = f"{storage}/storage/v1/b"
    with httpx.Client(trust_env=False) as client:
        if client.post(buckets, json={"name": name}).status_code != httpx.codes.CONFLICT:
            # gcp-storage-emulator ignores the location of a new bucket, but not a changed one.
            client.patch(f"{buckets}/{name}", json={"location": location}).raise_for_status()


def cloud_environment(storage: str, bigquery: str) -> dict[str, str]:
    """Return the variables that point Google's clients, gcsfs and Airflow to a local cloud at these addresses."""
    extra = {"is_anonymous": True, "project": PROJECT, "gcs.endpoint": storage}
    return {
        "STORAGE_EMULATOR_HOST": storage,
        "BIGQUERY_EMULATOR_HOST": bigquery,
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # otherwise gcsfs tries gRPC first, which is not emulated
        "AIRFLOW_CONN_TAXI_GCP": json.dumps({"conn_type": "google_cloud_platform", "extra": extra}),
    }
