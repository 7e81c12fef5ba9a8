"""GCS and BigQuery on this machine, for who has no cloud account at hand.

    with LocalCloud(Path("cloud")) as cloud:
        os.environ.update(cloud.environment)
        cloud.create_bucket("lake")
        bigquery.Client("local", credentials=AnonymousCredentials()).query("SELECT 1").result()

docs/local-cloud.md says what it does not do.
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
    """One cloud in a folder, shared by the processes that use it.

    The first user starts its server, and the server ends with the last: it knows each by a socket, which the operating
    system closes even where a user is killed. What was stored stays in the folder.

    Args:
        folder: of this cloud alone.
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
            lifeline.recv(1)  # once we are gone for the server: were we the last, nothing listens any more

    def keep(self) -> Self:
        """Have the cloud run for as long as this process does, whatever it becomes, and those it forks."""
        self.__enter__()
        lifeline = self._lifelines.pop()
        lifeline.set_inheritable(True)
        lifeline.detach()
        return self

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables by which Google's clients, gcsfs and Airflow's connection `taxi_gcp` find this cloud."""
        storage, bigquery = (f"http://{HOST}:{port}" for port in self._ports()[:2])
        return cloud_environment(storage, bigquery)

    def create_bucket(self, name: str, location: str = "US") -> None:
        """Make sure that the bucket exists."""
        buckets = f"{self.environment['STORAGE_EMULATOR_HOST']}/storage/v1/b"
        with httpx.Client(trust_env=False) as client:
            if client.post(buckets, json={"name": name}).status_code != httpx.codes.CONFLICT:
                # The stand-in takes a location by patch alone.
                client.patch(f"{buckets}/{name}", json={"location": location}).raise_for_status()

    def _ports(self) -> list[int]:
        return [int(port) for port in (self.folder / "ports").read_text().split()]

    def _join(self) -> socket.socket | None:
        """A lifeline of the server, if it runs."""
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


def cloud_environment(storage: str, bigquery: str) -> dict[str, str]:
    """The variables by which Google's clients, gcsfs and Airflow find a local cloud at these addresses."""
    extra = {"is_anonymous": True, "project": PROJECT, "gcs.endpoint": storage}
    return {
        "STORAGE_EMULATOR_HOST": storage,
        "BIGQUERY_EMULATOR_HOST": bigquery,
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # else gcsfs asks for gRPC first, which is not here
        "AIRFLOW_CONN_TAXI_GCP": json.dumps({"conn_type": "google_cloud_platform", "extra": extra}),
    }
