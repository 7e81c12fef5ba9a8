import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from devtools.servers import postgres
from devtools.servers.postgres import EmbeddedPostgres

PROJECT = Path(__file__).parents[2]

USER_PROCESS = """
import sys
from pathlib import Path
import psycopg
from devtools.servers.postgres import EmbeddedPostgres

with EmbeddedPostgres(Path(sys.argv[1])) as server:
    try:
        print(server.server_pid(), flush=True)
        sys.stdin.readline()
    except KeyboardInterrupt:
        psycopg.connect(server.conninfo()).close()
        print("interrupted, and the server answers", flush=True)
"""

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to run the server as somebody else")


@contextlib.contextmanager
def enterable_home() -> Iterator[Path]:
    """A home that `nobody` can enter, unlike pytest's tmp_path."""
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "home"
        yield home
        EmbeddedPostgres(home).remove()


@pytest.fixture
def home() -> Iterator[Path]:
    with enterable_home() as home:
        yield home


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """One server for the tests that only read."""
    settings = {"work_mem": "8MB", "application_name": "two words"}
    with enterable_home() as home, EmbeddedPostgres(home, settings=settings) as server:
        yield server


@pytest.fixture
def locked_home(tmp_path: Path) -> Iterator[Path]:
    """A home like that of a clone under /root."""
    tmp_path.chmod(0o700)
    home = tmp_path / "clone" / "home"
    yield home
    EmbeddedPostgres(home).remove()


@contextlib.contextmanager
def user_process(
    home: Path, python: str = sys.executable, packages: tuple[Path, ...] = (), **options: object
) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the server until its stdin closes. It first prints the server's pid."""
    command = [python, "-c", USER_PROCESS, str(home)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=with_our_packages(*packages), **options
    ) as process:
        yield process


def site_packages() -> Path:
    """The folder of the installed packages."""
    return Path(importlib.util.find_spec(postgres.WHEEL).origin).parents[1]


def with_our_packages(*first: Path) -> dict[str, str]:
    """An environment in which another interpreter finds our packages, those of the given folders first."""
    packages = os.pathsep.join(map(str, (*first, PROJECT, site_packages())))
    return os.environ | {"PYTHONPATH": packages, "PYTHONDONTWRITEBYTECODE": "1"}


def first_line(process: subprocess.Popen[str]) -> int:
    return int(process.stdout.readline())


def ended(pid: int) -> bool:
    """Whether the process ends within a moment, in which its parent may take notice."""
    deadline = time.monotonic() + 10
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
    return True


def query(server: EmbeddedPostgres, statement: str, **overrides: str) -> object:
    with psycopg.connect(server.conninfo(), **overrides) as connection:
        return connection.execute(statement).fetchone()[0]


def test_data_is_kept_over_a_restart(home: Path) -> None:
    with EmbeddedPostgres(home) as server, psycopg.connect(server.conninfo()) as connection:
        first_pid = server.server_pid()
        connection.execute("CREATE TABLE trip AS SELECT 42 AS fare")

    with EmbeddedPostgres(home) as server:
        assert server.server_pid() != first_pid
        assert query(server, "SELECT fare FROM trip") == 42


def test_the_cluster_is_utf8_in_utc_and_takes_settings(server: EmbeddedPostgres) -> None:
    assert query(server, "SHOW server_encoding") == "UTF8"
    assert query(server, "SHOW timezone") == "UTC"
    assert query(server, "SHOW wal_level") == "minimal"
    assert query(server, "SHOW fsync") == "on"
    assert query(server, "SHOW work_mem") == "8MB"
    assert query(server, "SELECT reset_val FROM pg_settings WHERE name = 'application_name'") == "two words"


def test_two_uses_in_one_process_share_the_server(home: Path) -> None:
    with EmbeddedPostgres(home) as outer:
        pid = outer.server_pid()
        with EmbeddedPostgres(home) as inner, outer:
            assert inner.server_pid() == pid

        assert query(outer, "SELECT 1") == 1

    assert ended(pid)


def test_the_first_of_two_processes_to_leave_does_not_stop_the_server(home: Path) -> None:
    with user_process(home) as other:
        pid = first_line(other)
        with EmbeddedPostgres(home) as server:
            assert server.server_pid() == pid

            other.communicate("\n")

            assert query(server, "SELECT 1") == 1
        assert ended(pid)


def test_processes_that_come_at_once_to_an_empty_home_share_one_server(home: Path) -> None:
    with user_process(home) as first, user_process(home) as second, user_process(home) as third:
        pids = {first_line(process) for process in (first, second, third)}
        for process in (first, second, third):
            process.communicate("\n")

    assert len(pids) == 1
    assert ended(pids.pop())


def test_the_next_user_joins_the_server_of_a_killed_process_and_stops_it(home: Path) -> None:
    with user_process(home) as killed:
        pid = first_line(killed)
        killed.kill()

    assert psutil.pid_exists(pid)
    with EmbeddedPostgres(home) as server:
        assert server.server_pid() == pid
    assert ended(pid)


def test_a_forked_child_that_lives_on_does_not_keep_the_next_user_out(home: Path) -> None:
    with EmbeddedPostgres(home):
        held_open, until_closed = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(until_closed)
            os.read(held_open, 1)
            os._exit(0)
    try:
        with EmbeddedPostgres(home) as server:
            assert query(server, "SELECT 1") == 1
    finally:
        os.close(held_open)
        os.close(until_closed)
        os.waitpid(child, 0)


def test_ctrl_c_reaches_the_user_and_not_the_server(home: Path) -> None:
    with user_process(home, start_new_session=True) as process:
        pid = first_line(process)
        assert os.getsid(pid) != os.getsid(process.pid)

        os.killpg(process.pid, signal.SIGINT)

        assert process.stdout.readline() == "interrupted, and the server answers\n"
    assert ended(pid)


def test_a_pid_file_left_by_a_crash_does_not_block(home: Path) -> None:
    with EmbeddedPostgres(home) as server:
        pid_file = server.folder / "data" / "postmaster.pid"
        left_over = pid_file.read_text().replace(str(server.server_pid()), str(os.getpid()))
    pid_file.write_text(left_over)

    with EmbeddedPostgres(home) as server:
        assert server.server_pid() != os.getpid()
        assert query(server, "SELECT 1") == 1


def test_a_crashed_server_recovers_what_was_committed(home: Path) -> None:
    with EmbeddedPostgres(home) as server:
        with psycopg.connect(server.conninfo()) as connection:
            connection.execute("CREATE TABLE trip AS SELECT 42 AS fare")
        postmaster = psutil.Process(server.server_pid())
        workers = postmaster.children()
        postmaster.kill()
        psutil.wait_procs([postmaster, *workers], timeout=10)

    with EmbeddedPostgres(home) as server:
        assert query(server, "SELECT fare FROM trip") == 42


def test_an_interrupted_first_start_is_begun_again(home: Path) -> None:
    (home / "data.new").mkdir(parents=True)
    (home / "data.new" / "PG_VERSION").write_text("18\n")
    (home / "password").write_text("of the interrupted start")

    with EmbeddedPostgres(home) as server:
        assert query(server, "SELECT 1") == 1


def test_the_password_is_for_its_owner_and_the_only_way_in(server: EmbeddedPostgres) -> None:
    password_file = server.home / "password"
    assert stat.S_IMODE(password_file.stat().st_mode) == 0o600
    assert password_file.read_text() == server.password

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        query(server, "SELECT 1", password="wrong")
    assert query(server, "SELECT array_agg(DISTINCT auth_method) FROM pg_hba_file_rules") == ["scram-sha-256"]


def test_the_server_listens_on_the_loopback_address_alone(server: EmbeddedPostgres) -> None:
    assert query(server, "SHOW listen_addresses") == "127.0.0.1"
    assert query(server, "SHOW unix_socket_directories") == ""


def test_another_port_is_used_when_the_preferred_one_is_taken(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        preferred = taken.getsockname()[1]

        with EmbeddedPostgres(home, find_port=lambda _: postgres.free_port(preferred)) as server:
            assert server.port != preferred
            assert query(server, "SELECT 1") == 1


def test_a_server_gets_the_port_of_its_last_start_again(home: Path) -> None:
    with EmbeddedPostgres(home, port=postgres.free_port(0)) as server:
        port = server.port
    asked = []

    with EmbeddedPostgres(home, find_port=lambda preferred: asked.append(preferred) or postgres.free_port(0)):
        pass

    assert asked == [port]


def test_a_port_that_is_lost_before_the_server_starts_is_replaced(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        lost = [taken.getsockname()[1]]

        with EmbeddedPostgres(home, find_port=lambda port: lost.pop() if lost else postgres.free_port(port)) as server:
            assert server.port != taken.getsockname()[1]
            assert lost == []


def test_a_demanded_port_that_is_taken_fails_with_the_log(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = EmbeddedPostgres(home, port=port)

        with pytest.raises(
            RuntimeError, match=r"did not start; the end of .*/postgres.log:(.|\n)*Address already in use"
        ):
            server.__enter__()

    with server:
        assert server.port == port


def test_a_setting_that_postgres_refuses_fails_at_once_with_its_words(home: Path) -> None:
    with (
        pytest.raises(RuntimeError, match='invalid value for parameter "shared_buffers": "plenty"'),
        EmbeddedPostgres(home, settings={"shared_buffers": "plenty"}),
    ):
        pass


def test_a_database_can_be_created_twice(server: EmbeddedPostgres) -> None:
    server.create_database("airflow-metadata")
    server.create_database("airflow-metadata")

    assert "dbname=airflow-metadata" in server.conninfo("airflow-metadata")
    assert query(server, "SELECT current_database()", dbname="airflow-metadata") == "airflow-metadata"


def test_psql_connects_without_a_password_on_its_command_line(server: EmbeddedPostgres) -> None:
    command = [*server.psql_command(), "-Atc", "SELECT current_database()"]
    assert server.password not in " ".join(command)

    answer = subprocess.run(command, env=server.psql_environment(), capture_output=True, text=True, check=True)

    assert answer.stdout == "ny_taxi\n"


def test_stop_can_be_called_early_late_and_twice(home: Path) -> None:
    EmbeddedPostgres(home).stop()
    assert not home.exists()

    with EmbeddedPostgres(home) as server:
        pid = server.server_pid()
        EmbeddedPostgres(home).stop()
        assert ended(pid)

    server.stop()
    server.stop()
    with pytest.raises(RuntimeError, match="no PostgreSQL runs in"):
        _ = server.port


def test_remove_stops_the_server_and_spares_the_files_of_others(home: Path) -> None:
    with EmbeddedPostgres(home) as server:
        pid = server.server_pid()
        (home / "notes.txt").write_text("mine")
        EmbeddedPostgres(home).remove()

    assert ended(pid)
    assert [path.name for path in home.iterdir()] == ["notes.txt"]

    (home / "notes.txt").unlink()
    EmbeddedPostgres(home).remove()
    assert not home.exists()


@only_root
def test_root_has_the_server_run_as_nobody(server: EmbeddedPostgres) -> None:
    assert psutil.Process(server.server_pid()).username() == "nobody"
    assert server.folder == server.home


@only_root
def test_a_home_under_a_private_folder_keeps_its_data_outside_until_removed(locked_home: Path) -> None:
    with EmbeddedPostgres(locked_home) as server, psycopg.connect(server.conninfo()) as connection:
        outside = server.folder
        connection.execute("CREATE TABLE trip AS SELECT 42 AS fare")

    with EmbeddedPostgres(locked_home) as server:
        assert query(server, "SELECT fare FROM trip") == 42
        assert outside.parent == Path("/var/tmp")  # noqa: S108 - made safely, see test_a_planted_outside_folder_is_refused
        assert stat.S_IMODE(outside.stat().st_mode) == 0o711
        assert stat.S_IMODE((outside / "data").stat().st_mode) == 0o700
        assert stat.S_IMODE(locked_home.parents[1].stat().st_mode) == 0o700

    server.remove()
    assert not outside.exists()
    assert not locked_home.exists()


@only_root
def test_binaries_that_nobody_cannot_run_are_copied(locked_home: Path, tmp_path: Path) -> None:
    private = tmp_path / "site-packages"
    shutil.copytree(site_packages() / postgres.WHEEL, private / postgres.WHEEL)
    for part in postgres.WHEEL_PARTS:
        if (site_packages() / part).exists():
            shutil.copytree(site_packages() / part, private / part, dirs_exist_ok=True)
    (private / postgres.INSTALL).chmod(0o700)

    with user_process(locked_home, packages=(private,)) as process:
        pid = first_line(process)
        server = EmbeddedPostgres(locked_home)
        assert psutil.Process(pid).exe().startswith(str(server.folder))
        assert query(server, "SELECT 1") == 1
        copied = server.folder / "binaries"
        process.communicate("\n")

    assert copied.exists()
    server.remove()
    assert not copied.exists()


@only_root
@pytest.mark.parametrize("planted_as", ["folder", "link"])
def test_a_planted_outside_folder_is_refused(locked_home: Path, tmp_path: Path, planted_as: str) -> None:
    with EmbeddedPostgres(locked_home) as server:
        outside = server.folder
    server.remove()
    if planted_as == "folder":
        outside.mkdir()
        os.chown(outside, pwd.getpwnam("nobody").pw_uid, -1)
    else:
        outside.symlink_to(tmp_path)

    try:
        with pytest.raises(PermissionError, match="expected a folder of uid 0"):
            server.__enter__()
        assert not (tmp_path / "data").exists()
    finally:
        outside.rmdir() if planted_as == "folder" else outside.unlink()


@only_root
def test_a_copied_home_does_not_take_the_data_of_the_original(locked_home: Path) -> None:
    with EmbeddedPostgres(locked_home):
        pass
    copy = locked_home.with_name("copy")
    shutil.copytree(locked_home, copy, symlinks=True)

    with pytest.raises(RuntimeError, match="home was moved, delete the link"):
        EmbeddedPostgres(copy).remove()

    assert (locked_home / "outside" / "data").exists()


@only_root
def test_a_normal_user_runs_the_server_under_his_own_account(home: Path) -> None:
    python = python_for_nobody()
    home.mkdir()
    os.chown(home, pwd.getpwnam("nobody").pw_uid, -1)

    with user_process(home, python, user="nobody", extra_groups=[], cwd="/") as process:
        pid = first_line(process)

        assert psutil.Process(pid).username() == "nobody"
        assert (home / "password").stat().st_uid == pwd.getpwnam("nobody").pw_uid
        assert (home / "users.lock").stat().st_uid == pwd.getpwnam("nobody").pw_uid
        process.communicate("\n")
    assert ended(pid)


def python_for_nobody() -> str:
    """An interpreter that `nobody` can run with our packages: ours, or the system's of the same version."""
    for python in (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"):
        command = [python, "-c", "import psutil, psycopg, include"]
        with contextlib.suppress(PermissionError, FileNotFoundError):
            if subprocess.run(command, user="nobody", env=with_our_packages(), cwd="/", check=False).returncode == 0:
                return python
    pytest.skip("nobody can run no Python of this version with our packages")
