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
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from devtools.emulators.private import private_folder, write_private

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
PROJECT = "local"
PATIENCE_SECONDS = 30.0

# In the folder: the lock that users share, the lock of the server, and its addresses with the key.
USERS = "users.lock"
SERVER = "server.lock"
ADDRESSES = "addresses.json"


class LocalCloud:
    """An emulated cloud in a folder, shared by the processes that use it.

    The first user starts its server, which ends with the last user. Each user holds a shared lock on a file of the
    folder, which the operating system releases even if the user is killed. The data stays in the folder, which only its
    owner can enter.

    Args:
        folder: holds nothing else.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._uses: list[int] = []

    def __enter__(self) -> Self:
        private_folder(self.folder)
        use = _open(self.folder / USERS)
        start = _open(self.folder / "start.lock")
        try:
            fcntl.flock(start, fcntl.LOCK_EX)
            fcntl.flock(use, fcntl.LOCK_SH)  # waits for a server that is stopping
            if not self._is_running():
                self._start()
        except BaseException:
            os.close(use)
            raise
        finally:
            os.close(start)
        self._uses.append(use)
        return self

    def __exit__(self, *_: object) -> None:
        use = self._uses.pop()
        fcntl.flock(use, fcntl.LOCK_UN)  # closing the file would not release it while a fork has it open
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._is_running() and not _is_shared(use) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.close(use)

    def keep(self) -> Self:
        """Keep the cloud running as long as this process and its forks, also after an exec."""
        self.__enter__()
        os.set_inheritable(self._uses.pop(), True)
        return self

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that point Google's clients, gcsfs and Airflow's connection `taxi_gcp` to this cloud."""
        addresses = json.loads((self.folder / ADDRESSES).read_text())
        return cloud_environment(addresses["storage"], addresses["bigquery"])

    def create_bucket(self, name: str, location: str = "US") -> None:
        """Create the bucket if it does not exist."""
        create_bucket(self.environment["STORAGE_EMULATOR_HOST"], name, location)

    def _is_running(self) -> bool:
        """Whether a server holds the lock that it keeps from its start to its end."""
        lock = _open(self.folder / SERVER)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def _start(self) -> None:
        log = self.folder / "server.log"
        command = [sys.executable, "-m", "devtools.emulators", "--folder", str(self.folder), "--until-unused"]
        write_private(log, "")
        with log.open("a") as output:
            started = subprocess.run(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
            )
        if started.returncode or not self._is_running():
            raise RuntimeError(f"the local cloud did not start; the end of {log}:\n{log.read_text()[-2000:]}")


def _open(lock: Path) -> int:
    return os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)


def _is_shared(use: int) -> bool:
    """Whether other processes use the cloud; no longer when its server, which then has the lock, stops."""
    try:
        fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with suppress(BlockingIOError):
            fcntl.flock(use, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
    finally:
        fcntl.flock(use, fcntl.LOCK_UN)
    return False


def create_bucket(storage: str, name: str, location: str = "US") -> None:
    """Create a bucket in the GCS at this address, if it does not exist."""
    import httpx  # here, as `bin/airflow` does not need it

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
