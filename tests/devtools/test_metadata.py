"""A command that runs tasks by itself gets a copy of Airflow's metadata database."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from devtools import metadata
from devtools.environment import METADATA_DATABASE

# Takes a copy, tells its address, and lives until its input closes, as a command does.
COMMAND = """\
import json, os, sys
from pathlib import Path
from devtools import metadata

metadata.DATABASE, metadata.COPIES = Path(sys.argv[1]), Path(sys.argv[2])
print(json.dumps(metadata.copied({"AIRFLOW_HOME": str(metadata.AIRFLOW_HOME)})), flush=True)
os.execl(sys.executable, sys.executable, "-c", "import sys; sys.stdin.read()")
"""
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def database(tmp_path):
    """A database in use, whose last change is only in its write-ahead log."""
    path = tmp_path / "airflow.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE connection (conn_id)")
        connection.execute("INSERT INTO connection VALUES ('taxi_source')")
        connection.commit()
        yield path


def take(database):
    command = [sys.executable, "-c", COMMAND, str(database), str(database.parent / "copies")]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return process, Path(json.loads(process.stdout.readline())[METADATA_DATABASE].removeprefix("sqlite:///"))


def end(process):
    process.communicate()
    return process.returncode


def connections(database):
    with closing(sqlite3.connect(database)) as connection:
        return [name for (name,) in connection.execute("SELECT conn_id FROM connection")]


def test_each_command_has_its_own_copy_until_it_ends_and_the_original_stays_as_it_was(database):
    first, its_copy = take(database)
    with closing(sqlite3.connect(its_copy)) as connection, connection:
        connection.execute("INSERT INTO connection VALUES ('of the first')")
    second, other_copy = take(database)

    assert connections(its_copy) == ["taxi_source", "of the first"]
    assert connections(other_copy) == connections(database) == ["taxi_source"]
    assert end(second) == 0

    third, _ = take(database)

    assert its_copy.exists()
    assert not other_copy.exists()
    assert (end(first), end(third)) == (0, 0)


@pytest.mark.parametrize(
    "variables", [{METADATA_DATABASE: "postgresql://elsewhere/airflow"}, {"AIRFLOW_HOME": "/elsewhere"}]
)
def test_a_database_of_the_caller_is_not_copied(variables):
    assert metadata.copied({"AIRFLOW_HOME": str(metadata.AIRFLOW_HOME)} | variables) == {}
