"""bin/airflow and `make ui`, run as processes in a copy of the project whose path has a space.

A small program takes the place of Airflow and prints how it was called, because Airflow takes seconds to start.
"""

import base64
import configparser
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from devtools import ui
from devtools.environment import CLOUD, ROOT, WAREHOUSE
from devtools.servers.postgres import EmbeddedPostgres
from devtools.servers.whole_airflow import free_port

AIRFLOW = """\
import json, os, sys, time

def main():
    with open(os.path.join(os.environ["AIRFLOW_HOME"], "airflow.db"), "a") as database:
        print(*sys.argv[1:], file=database)

if __name__ == "__main__":
    printed = {"arguments": sys.argv[1:], "folder": os.getcwd(), "path": sys.path, "environment": dict(os.environ)}
    print(json.dumps(printed), flush=True)
    if "linger" in sys.argv:
        time.sleep(60)
    sys.exit(3 if "fail" in sys.argv else 0)
"""

# Takes the place of the connections and Variables in Airflow's database.
BLOCKS = """\
def create(environment):
    with open(os.path.join(environment["AIRFLOW_HOME"], "blocks"), "a") as file:
        print(json.dumps({name: value for name, value in environment.items() if name.startswith("TAXI_")}), file=file)
    return ["created"]


if __name__ == "__main__":
"""

SERVERS = """\
import http.server, json, os, pathlib, sys, time

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        names = ["metadatabase", "dag_processor", "scheduler", "triggerer"]
        self.wfile.write(json.dumps({name: {"status": "healthy"} for name in names}).encode())

    def log_message(self, *_):
        pass

if sys.argv[1] == "api-server":
    while not pathlib.Path(os.environ["AIRFLOW_HOME"], "answer").exists():
        time.sleep(0.1)
    http.server.HTTPServer(("127.0.0.1", int(os.environ["AIRFLOW__API__PORT"])), Health).serve_forever()
time.sleep(600)
"""


class Tree:
    """A copy of the project that uses our environment, with a program in the place of Airflow."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("bin", "devtools", "include"):
            shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
        script = root / "include/orchestration/blocks.py"
        script.write_text(script.read_text().replace('if __name__ == "__main__":', BLOCKS))
        for file in (".env", "requirements-dev.txt"):
            shutil.copy(ROOT / file, root)
        (root / ".venv").mkdir()
        for part in ("bin", "lib", "pyvenv.cfg"):
            (root / ".venv" / part).symlink_to(Path(sys.prefix) / part)
        shutil.copy(root / "requirements-dev.txt", root / ".venv")
        (root / "stand-in/airflow").mkdir(parents=True)
        (root / "stand-in/airflow/__main__.py").write_text(AIRFLOW)
        (root / "stand-in/airflow/__init__.py").touch()

    def caller(self, **variables: str) -> dict[str, str]:
        """Our variables, without those that other tests or the developer have set for Airflow."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
        return kept | {"PYTHONPATH": str(self.root / "stand-in")} | variables

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start `bin/airflow ARGUMENTS`, with another AIRFLOW_HOME than the project's, so it creates no database."""
        return subprocess.Popen(
            [self.root / "bin/airflow", *arguments],
            cwd=self.root,
            env=self.caller(AIRFLOW_HOME="/none") | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def airflow(self, *arguments: str, **variables: str) -> dict[str, Any]:
        """What the program prints about a successful call."""
        with self.start(*arguments, **variables) as process:
            printed, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        return dict(json.loads(printed))

    def environment(self, **variables: str) -> dict[str, str]:
        """The environment of the program."""
        return dict(self.airflow("version", **variables)["environment"])


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    tree = Tree(tmp_path_factory.mktemp("a project"))
    yield tree
    subprocess.run([sys.executable, "-m", "devtools.ui", "--remove"], cwd=tree.root, check=True)


@pytest.fixture
def settings(tree: Tree) -> Iterator[Path]:
    """The tree's .env, which a test can change."""
    file = tree.root / ".env"
    before = file.read_text()
    yield file
    file.write_text(before)


def _accepts(connection: Mapping[str, Any]) -> bool:
    login = {"user": connection["login"], "password": connection["password"], "dbname": connection["schema"]}
    try:
        psycopg.connect(host=connection["host"], port=connection["port"], **login).close()
    except psycopg.OperationalError:
        return False
    return True


def _stops(connection: Mapping[str, Any]) -> bool:
    deadline = time.monotonic() + 20
    while _accepts(connection) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not _accepts(connection)


def test_bundle_is_the_tree(tree: Tree):
    bundles = json.loads(tree.environment()["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])

    assert [(bundle["name"], bundle["kwargs"]["path"]) for bundle in bundles] == [("nyc-taxi", str(tree.root))]


def test_a_space_in_the_path_of_the_lake_stays_a_space(tree: Tree):
    assert " " in str(tree.root)
    assert tree.environment()["TAXI_LAKE"] == f"file://{tree.root}/.local/lake"


def test_a_database_of_the_caller_gets_the_blocks_as_environment_variables(tree: Tree):
    environment = tree.airflow("dags", "list", AIRFLOW_CONN_TAXI_CSV_MIRROR="http://mine")["environment"]

    assert environment["AIRFLOW_VAR_TAXI_LAKE"] == f"file://{tree.root}/.local/lake"
    assert environment["AIRFLOW_CONN_TAXI_SOURCE"] == environment["TAXI_SOURCE"]
    assert environment["AIRFLOW_CONN_TAXI_CSV_MIRROR"] == "http://mine"


def test_the_metadata_database_of_the_tree_is_created_once_and_then_the_blocks_in_it(tree: Tree):
    command = [tree.root / "bin/airflow", "dags", "list"]
    home = tree.root / ".local/airflow"

    both = [subprocess.Popen(command, env=tree.caller(), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [json.loads(process.communicate(timeout=60)[0]) for process in both]

    assert {one["environment"]["AIRFLOW_HOME"] for one in printed} == {str(home)}
    assert (home / "airflow.db").read_text() == "db migrate\ndags reserialize\n"
    assert [name for one in printed for name in one["environment"] if name.startswith("AIRFLOW_CONN")] == []
    (blocks,) = set((home / "blocks").read_text().splitlines())
    assert {"TAXI_SOURCE", "TAXI_CSV_MIRROR", "TAXI_GCP", "TAXI_LAKE", "TAXI_WAREHOUSE"} <= json.loads(blocks).keys()


def test_blocks_follow_the_embedded_warehouse_to_another_port(tree: Tree):
    home, postgres = tree.root / ".local/airflow", tree.root / ".local/postgres"

    def created(port: int) -> list[str]:
        with EmbeddedPostgres(postgres, port=port):
            command = [tree.root / "bin/airflow", "scheduler"]
            subprocess.run(command, env=tree.caller(), capture_output=True, check=True)
        return (home / "blocks").read_text().splitlines()

    first, port = free_port(), free_port()
    before, same, moved = created(first), created(first), created(port)[-1]

    assert same == before
    assert json.loads(json.loads(moved)["TAXI_WAREHOUSE"])["port"] == port
    assert json.loads(moved)["TAXI_WAREHOUSE_BEFORE"] == json.loads(before[-1])["TAXI_WAREHOUSE"]


def test_only_the_owner_can_read_the_secrets_of_the_tree(tree: Tree):
    subprocess.run([tree.root / "bin/airflow", "dags", "list"], env=tree.caller(), capture_output=True, check=True)

    config = tree.root / ".local/airflow/airflow.cfg"
    keys = configparser.ConfigParser()
    keys.read(config)

    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    for folder in (config.parents[1], config.parent, config.parents[1] / "logs"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(base64.urlsafe_b64decode(keys["core"]["fernet_key"])) == 32
    assert len(keys["api_auth"]["jwt_secret"]) >= 64


def test_a_folder_that_others_could_read_is_closed_to_them(tree: Tree):
    local = tree.root / ".local"
    local.mkdir(exist_ok=True)
    local.chmod(0o755)

    tree.airflow("version")

    assert stat.S_IMODE(local.stat().st_mode) & 0o077 in {0, 0o011}, "a Postgres of root's passes through"


def test_a_password_of_the_ui_never_begins_with_a_dash(tmp_path: Path):
    made = set()
    for number in range(500):
        home = tmp_path / str(number)
        made |= set(json.loads(ui._passwords({"AIRFLOW_HOME": str(home)}).read_text()).values())

    assert len(made) == 500
    assert [password for password in made if password.startswith("-")] == []
    assert min(map(len, made)) >= 16


def test_a_database_of_the_caller_is_left_alone(tree: Tree, tmp_path: Path):
    tree.airflow("dags", "list", AIRFLOW_HOME=str(tmp_path))

    assert list(tmp_path.iterdir()) == []


def test_the_caller_overrides_the_settings_file(tree: Tree):
    assert json.loads(tree.environment()["TAXI_SOURCE"])["conn_type"] == "http"
    assert tree.environment(TAXI_SOURCE="")["TAXI_SOURCE"] == ""


def test_the_caller_overrides_the_defaults(tree: Tree):
    assert tree.environment(AIRFLOW__CORE__PARALLELISM="1")["AIRFLOW__CORE__PARALLELISM"] == "1"


@pytest.mark.parametrize("suffix", ["_CMD", "_SECRET"])
def test_a_setting_from_a_command_or_a_secret_overrides_the_default(tree: Tree, suffix: str):
    environment = tree.environment(**{f"AIRFLOW__CORE__PARALLELISM{suffix}": "echo 1"})

    assert "AIRFLOW__CORE__PARALLELISM" not in environment


def test_the_settings_file_overrides_the_defaults(tree: Tree, settings: Path):
    with settings.open("a") as file:
        file.write("AIRFLOW__CORE__LOAD_EXAMPLES=True\n")

    assert tree.environment()["AIRFLOW__CORE__LOAD_EXAMPLES"] == "True"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("X=plain", "plain"),
        ("X = plain # why", "plain"),
        ('X=\'{"a": "#1 $2"}\'', '{"a": "#1 $2"}'),
        ('X="a b"', "a b"),
        ("export X=1", "1"),
        ("X=", ""),
        ("#X=1", None),
        ("X", None),
    ],
)
def test_the_settings_file_can_quote_and_comment(tree: Tree, settings: Path, line: str, value: str | None):
    settings.write_text(f"{line}\n")

    assert tree.environment().get("X") == value


EXPECTED = (
    'expected a connection as JSON, in single quotes: {}=\'{{"conn_type": "http", "host": "https://example.org"}}\''
)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("X='no end", "found X=...; expected NAME=value, with JSON in single quotes"),
        ('X="{"a": "my password"}"', "found X=...; expected NAME=value, with JSON in single quotes"),
        ("two words", "found two ...; expected NAME=value, with JSON in single quotes"),
        (
            "TAXI_GCP={'password': 'x'}",
            "TAXI_GCP: found JSON that cannot be read (Expecting property name enclosed in ",
        ),
        (
            "AIRFLOW_CONN_MINE=elsewhere",
            f"AIRFLOW_CONN_MINE: found neither JSON nor a URI; {EXPECTED.format('AIRFLOW_CONN_MINE')}",
        ),
        (
            "AIRFLOW_CONN_TAXI_WAREHOUSE=db.example.org",
            (
                "AIRFLOW_CONN_TAXI_WAREHOUSE: found neither JSON nor a URI; expected a connection as JSON, in single "
                'quotes: AIRFLOW_CONN_TAXI_WAREHOUSE=\'{"conn_type": "postgres", "host": "db.example.org", '
            ),
        ),
        ('TAXI_ALERTS={"host": "x"}', f"TAXI_ALERTS: found no conn_type; {EXPECTED.format('TAXI_ALERTS')}"),
        (
            'TAXI_SOURCE={"hostname": "x"}',
            "TAXI_SOURCE: found 'hostname'; expected only conn_type, description, extra, ",
        ),
        ('AIRFLOW_CONN_MINE={"port": 70000}', "AIRFLOW_CONN_MINE: found port 70000; expected 1 to 65535"),
        (
            'AIRFLOW_CONN_MINE={"extra": [1]}',
            "AIRFLOW_CONN_MINE: found an extra that is no JSON object; expected {...}",
        ),
    ],
)
@pytest.mark.parametrize("command", ["bin/airflow version", ".venv/bin/python -m devtools.ui"])
def test_a_line_that_cannot_be_read_ends_every_command(tree: Tree, settings: Path, command: str, line: str, told: str):
    settings.write_text(f"A=1\n\n{line}\nB=2\n")

    done = subprocess.run(
        command.split(), cwd=tree.root, env=tree.caller(), text=True, capture_output=True, check=False, timeout=60
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f".env line 3: {told}")
    assert done.stderr.count("\n") == 1


def test_a_connection_of_the_shell_that_cannot_be_read_ends_a_command(tree: Tree):
    with tree.start("version", AIRFLOW_CONN_TAXI_GCP='{"password": "secret", ') as process:
        _, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    assert errors.startswith("environment variable AIRFLOW_CONN_TAXI_GCP: found JSON that cannot be read (")
    assert "secret" not in errors
    assert errors.count("\n") == 1


def test_the_settings_file_of_the_project_has_no_secret():
    set_lines = [line for line in (ROOT / ".env").read_text().splitlines() if line and not line.startswith("#")]

    assert set_lines
    assert [line for line in set_lines if "password" in line.lower() or "key" in line.lower()] == []


def test_airflow_runs_in_the_callers_folder_but_does_not_import_from_it(tree: Tree, tmp_path: Path):
    (tmp_path / "include").mkdir()
    (tmp_path / "json.py").write_text("raise ImportError('from the working directory')")
    (tmp_path / "airflow").symlink_to(tree.root / "bin/airflow")

    process = subprocess.run(
        ["./airflow", "version", "two words", ""],
        cwd=tmp_path,
        env=tree.caller(AIRFLOW_HOME="/none"),
        text=True,
        capture_output=True,
        check=True,
    )
    printed = json.loads(process.stdout)

    assert printed["arguments"] == ["version", "two words", ""]
    assert printed["folder"] == str(tmp_path)
    assert not {"", str(tmp_path), str(tree.root)} & set(printed["path"])


def test_the_exit_code_is_that_of_airflow(tree: Tree):
    with tree.start("version", "fail") as process:
        assert process.wait(60) == 3


@pytest.mark.parametrize(
    "command", ["dags test flow", "tasks test flow task", "scheduler", "standalone", "celery worker", "api-server"]
)
def test_commands_that_may_need_the_warehouse_find_it_running(tree: Tree, command: str):
    with tree.start(*command.split(), "linger") as process:
        connection = json.loads(json.loads(process.stdout.readline())["environment"][WAREHOUSE])
        accepted = _accepts(connection)
        process.kill()

    assert accepted
    assert _stops(connection)


@pytest.mark.parametrize(
    "command", ["dags list", "dags test --help", "version", "dag-processor", "backfill create", ""]
)
def test_other_commands_start_no_warehouse(tree: Tree, command: str):
    assert WAREHOUSE not in tree.airflow(*command.split())["environment"]


@pytest.mark.parametrize("command", ["dags test flow", "tasks test flow task"])
def test_a_test_hides_airflows_own_lines_unless_asked_for_them(tree: Tree, command: str):
    named = "AIRFLOW__LOGGING__NAMESPACE_LEVELS"
    quiet, verbose, chosen = (
        tree.airflow(*command.split(), *more, **{WAREHOUSE: "{}", CLOUD: "{}"} | level)
        for more, level in (([], {}), (["-v"], {}), ([], {"AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG"}))
    )

    assert quiet["arguments"] == command.split()
    assert "airflow=WARNING" in quiet["environment"][named].split()
    assert named not in verbose["environment"] | chosen["environment"]


@pytest.mark.parametrize("server", ["scheduler", "triggerer"])
def test_no_server_of_airflow_serves_logs_on_all_addresses(tree: Tree, server: str):
    printed = tree.airflow(server, "--queues=a", **{WAREHOUSE: "{}", CLOUD: "{}"})

    assert printed["arguments"] == [server, "--queues=a", "--skip-serve-logs"]


def test_a_warehouse_of_the_caller_is_used(tree: Tree):
    printed = tree.airflow("dags", "test", "flow", **{WAREHOUSE: "postgres://elsewhere/taxi"})

    assert printed["environment"][WAREHOUSE] == "postgres://elsewhere/taxi"


def test_one_of_two_commands_ends_and_the_other_keeps_the_warehouse(tree: Tree):
    with tree.start("dags", "test", "linger") as first, tree.start("dags", "test", "linger") as second:
        connection = json.loads(json.loads(first.stdout.readline())["environment"][WAREHOUSE])
        assert json.loads(json.loads(second.stdout.readline())["environment"][WAREHOUSE]) == connection
        first.kill()
        first.wait(60)
        time.sleep(2)
        accepted = _accepts(connection)
        second.kill()

    assert accepted
    assert _stops(connection)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_airflow_itself(tree: Tree, sent: signal.Signals):
    with tree.start("dags", "test", "linger") as process:
        connection = json.loads(json.loads(process.stdout.readline())["environment"][WAREHOUSE])
        process.send_signal(sent)
        code = process.wait(10)

    assert code == -sent
    assert _stops(connection)


def _ui(tree: Tree, folder: Path, **variables: str) -> subprocess.Popen[str]:
    """Start `make ui` with servers that answer once there is a file `answer` in the folder."""
    (folder / "airflow").mkdir()
    (folder / "airflow/__init__.py").touch()
    (folder / "airflow/__main__.py").write_text(SERVERS)
    variables |= {"AIRFLOW_HOME": str(folder), "PYTHONPATH": str(folder), WAREHOUSE: "{}", CLOUD: "{}"}
    return subprocess.Popen(
        [sys.executable, "-m", "devtools.ui", "--port", str(free_port())],
        cwd=tree.root,
        env=tree.caller(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_ui_starts_the_scheduler_when_the_api_server_answers(tree: Tree, tmp_path: Path):
    (tree.root / ".local").mkdir(exist_ok=True)
    (tree.root / ".local").chmod(0o755)
    logs = tree.root / ".local" / "logs"
    with _ui(tree, tmp_path) as ui:
        assert ui.stdout is not None
        while not (logs / "triggerer.log").exists() and ui.poll() is None:
            time.sleep(0.1)
        early = (logs / "scheduler.log").exists()
        (tmp_path / "answer").touch()
        printed = []
        for line in ui.stdout:
            if " up after " in line:
                printed.append(line.split()[0])
            if line.startswith("Ctrl-C stops everything"):
                ui.send_signal(signal.SIGINT)

    assert not early
    assert stat.S_IMODE((tree.root / ".local").stat().st_mode) & 0o077 in {0, 0o011}
    assert stat.S_IMODE(logs.stat().st_mode) == 0o700
    assert printed == ["api-server", "dag-processor", "triggerer", "scheduler"]


@pytest.mark.parametrize(
    ("value", "end"),
    [
        ("1", "not healthy after 1 s: api-server, dag-processor, scheduler, triggerer"),
        ("soon", "UP_WITHIN_SECONDS: found 'soon', expected a whole number of seconds"),
    ],
)
def test_the_ui_gives_up_after_the_time_that_is_set(tree: Tree, tmp_path: Path, value: str, end: str):
    with _ui(tree, tmp_path, UP_WITHIN_SECONDS=value) as ui:
        printed, _ = ui.communicate(timeout=60)

    assert ui.returncode == 1
    assert end in printed
