"""`make sql` as a person sees it: one answer, many rows for a program, a prompt, and errors that can be read."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from select import select
from time import monotonic

import gcsfs
import pytest

from devtools.emulators import LocalCloud
from include.nyc_taxi import TripFile
from include.nyc_taxi.lake import Lake

PROJECT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "devtools.run", "sql"]

Landing = Callable[..., TripFile]


@pytest.fixture
def filled(lake: Lake, landed_month: Landing) -> str:
    """The URL of a lake with two months."""
    landed_month("green_tripdata_2024-01", profile="none")
    landed_month("green_tripdata_2024-02", profile="none")
    return f"file://{lake.root}"


def sql(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=PROJECT, input=typed, capture_output=True, text=True, check=False, timeout=60
    )


def test_one_answer_is_a_table(filled: str):
    done = sql("--lake", filled, "select count(*) as trips from green_taxi_trips")

    assert (done.returncode, done.stderr) == (0, "")
    assert "trips" in done.stdout
    assert "600" in done.stdout


def test_stdin_may_have_several_statements_and_csv_is_for_programs(filled: str):
    done = sql(
        f"--lake={filled}",
        "--csv",
        typed='select month, rows_loaded from load_ledger order by month;\nselect \'a;"b\' as "x,y", null as n',
    )

    assert done.stdout.splitlines() == ["month,rows_loaded", "2024-01,300", "2024-02,300", '"x,y",n', '"a;""b",']
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("statement", "line"),
    [
        ("select tips from green_taxi_trips", 'Referenced column "tips" not found'),
        ("selec 1", 'syntax error at or near "selec"'),
        ("delete from green_taxi_trips", "a DELETE statement; expected SELECT"),
    ],
)
def test_an_error_says_what_is_wrong_without_a_traceback(filled: str, statement: str, line: str):
    done = sql("--lake", filled, statement)

    assert done.returncode == 1
    assert line in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("lake", "line"),
    [
        ("abfs://bucket", "--lake is 'abfs://bucket'; expected file:///folder, gs://"),
        ("s3://bucket", "s3://bucket/: Unable to locate credentials; correct login and password"),
        ("gs://taxi_gcp@bucket/prefix", "only the Variable taxi_lake names a connection"),
    ],
)
def test_another_kind_of_address_is_refused(lake: str, line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):  # of whoever runs the tests
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    done = sql("--lake", lake, "select 1")

    assert done.returncode == 1
    assert line in done.stderr


def test_a_lake_that_the_variable_names_is_asked_and_nothing_but_the_rows_is_printed(
    tmp_path: Path, lake: Lake, landed_month: Landing
):
    landed_month("green_tripdata_2024-01", profile="none")
    with LocalCloud(tmp_path / "cloud") as cloud:
        cloud.create_bucket("trips")
        environment = os.environ | cloud.environment
        fs = gcsfs.GCSFileSystem(token="anon", endpoint_url=environment["STORAGE_EMULATOR_HOST"], project="local")
        fs.put(f"{lake.root}/", "trips/a lake/", recursive=True)
        environment |= {"AIRFLOW_HOME": str(tmp_path / "home"), "AIRFLOW_VAR_TAXI_LAKE": "gs://taxi_gcp@trips/a lake"}
        command = [
            sys.executable,
            "-m",
            "include.orchestration.lake_sql",
            "--csv",
            "select count(*) as trips from green_tripdata",
        ]

        done = subprocess.run(
            command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    assert (done.stdout, done.returncode) == ("trips\n300\n", 0), done.stderr
    assert "Traceback" not in done.stderr


class Prompt:
    """A person at the prompt."""

    def __init__(self, url: str, home: Path) -> None:
        environment = os.environ | {"AIRFLOW_HOME": str(home), "TERM": "dumb", "COLUMNS": "100"}
        ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, "--lake", url],
            cwd=PROJECT,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._terminal = ours

    def until(self, text: str) -> str:
        """Return what is printed up to a text."""
        seen, deadline = "", monotonic() + 60
        while text not in seen:
            assert monotonic() < deadline, seen
            if select([self._terminal], [], [], 1)[0]:
                seen += os.read(self._terminal, 4096).decode(errors="replace")  # a read may end within a character
        return seen

    def interrupt(self) -> None:
        """Press Ctrl-C, and again if nothing comes: Python overlooks one before it has begun to wait for input."""
        deadline = monotonic() + 60
        while True:
            self.process.send_signal(signal.SIGINT)
            if select([self._terminal], [], [], 5)[0]:
                return
            assert monotonic() < deadline

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def leave(self) -> int:
        self.type("\\q\n")
        code = self.process.wait(timeout=60)
        os.close(self._terminal)
        return code


def test_a_prompt_says_what_there_is_and_takes_statements_of_several_lines(filled: str, tmp_path: Path):
    prompt = Prompt(filled, tmp_path)
    head = prompt.until("lake> ")

    assert "green_trips_with_zones: 2 months, 2024-01 to 2024-02, 600 rows" in head

    prompt.type("select count(*) as trips\n")
    prompt.until("... ")
    prompt.type("from green_taxi_trips;\n")
    assert "600" in prompt.until("lake> ")

    prompt.type("select nothing;\n")
    assert "Binder Error" in prompt.until("lake> ")

    prompt.type("select 'not ended;\n")
    prompt.until("... ")
    prompt.interrupt()
    prompt.until("lake> ")

    assert prompt.leave() == 0
    assert "from green_taxi_trips;" in (tmp_path / "sql_history").read_text()
