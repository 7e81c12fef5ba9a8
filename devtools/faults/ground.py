"""ground: the servers that the faults of a campaign share, and those that one fault at a time may kill."""

from __future__ import annotations

import os
import signal
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Self

import psutil
import psycopg
from psycopg import sql

from devtools.emulators import LocalCloud
from devtools.faults import airflow_runs, flow
from devtools.servers.postgres import EmbeddedPostgres, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_FSYNC = {"fsync": "off", "max_connections": "60"}
_PREFERRED_PORT = 25532
_PATIENCE_SECONDS = 30


class Ground:
    """Servers in a temporary folder during a `with` block: one Postgres and one local cloud."""

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="nyc-taxi-faults-")))
        self.folder.chmod(0o711)  # the account that runs a server may be another one
        self.postgres = EmbeddedPostgres(self.folder / "postgres", settings=_NO_FSYNC)
        self._stack.callback(self.postgres.remove)
        self._stack.enter_context(self.postgres)
        self.cloud = self._stack.enter_context(LocalCloud(self.folder / "cloud"))
        self._mortal: EmbeddedPostgres | None = None
        self._mortal_is_taken = Lock()
        self._airflow_is_prepared, self._has_airflow = Lock(), False
        return self

    def __exit__(self, *_: object) -> None:
        if self._mortal is not None:
            self._mortal.remove()
        self._stack.close()

    def prepare_airflow(self) -> None:
        """Have Airflow's database there, for the faults that go through Airflow; once for all of them."""
        with self._airflow_is_prepared:
            if self._has_airflow:
                return
            log = self.folder / "airflow.log"
            if not flow.run_apart(airflow_runs.prepare, str(log)):
                raise RuntimeError(f"Airflow's database could not be made:\n{log.read_text()[-2000:]}")
            self._has_airflow = True

    @contextmanager
    def database(self, name: str) -> Iterator[str]:
        """Give the name of an empty database of the shared server, and drop it at the end."""
        self.postgres.create_database(name)
        try:
            yield name
        finally:
            with psycopg.connect(self.postgres.conninfo("postgres"), autocommit=True) as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextmanager
    def mortal_postgres(self) -> Iterator[EmbeddedPostgres]:
        """Give a second server, which one fault at a time may kill; it runs again for the next one."""
        with self._mortal_is_taken:
            if self._mortal is None:
                port = free_port(_PREFERRED_PORT)
                self._mortal = EmbeddedPostgres(self.folder / "mortal", port=port, settings=_NO_FSYNC)
            with ExitStack() as stack:
                stack.callback(self._mortal.stop)
                start(self._mortal)
                yield self._mortal


def start(server: EmbeddedPostgres) -> None:
    """Start the server, if it does not run; the processes of this campaign count as one user that stays."""
    if not is_running(server):
        server.__enter__()


def is_running(server: EmbeddedPostgres) -> bool:
    """Whether the server runs."""
    with suppress(RuntimeError, OSError):
        return bool(psutil.pid_exists(server.server_pid()))
    return False


def kill(server: EmbeddedPostgres) -> None:
    """Kill the server and its children, as a machine that loses its power does."""
    kill_tree(server.server_pid())


def kill_tree(pid: int) -> None:
    """Kill a process and its children, and wait until they have ended."""
    with suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        family = [first, *first.children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(family, timeout=_PATIENCE_SECONDS)


def cloud_processes(cloud: LocalCloud) -> list[int]:
    """Return the processes that serve a local cloud."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        words = process.info["cmdline"] or []
        if "devtools.emulators" in words and str(cloud.folder) in words and process.pid != os.getpid():
            found.append(process.pid)
    return found
