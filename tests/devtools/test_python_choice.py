"""Which Python make takes where nothing is installed yet: small programs play those of a machine."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from devtools.first_hour.user import NO_PIP, OLD_PYTHON

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
PYTHONS = re.search(r"^PYTHONS := (.+)$", MAKEFILE, re.MULTILINE)[1].split()
IS_SUPPORTED = re.search(r"^IS_SUPPORTED := (.+)$", MAKEFILE, re.MULTILINE)[1].replace("$(PYTHONS)", " ".join(PYTHONS))
GOOD = f"#!/bin/sh\nexec '{sys._base_executable}' \"$@\"\n"  # .venv has no pip
WITHOUT_PIP = NO_PIP.format(python=sys._base_executable)
# It has one Python, in a folder with a space, once that is installed.
UV = """#!/bin/sh
[ "$UV_PYTHON_PREFERENCE" = only-managed ] || [ "$2" = install ] || exit 3
case "$1 $2 $*" in
    "python install"*) : >"$UV_FOLDER/installed" ;;
    "python find"*3.14) [ -e "$UV_FOLDER/installed" ] && echo "$UV_FOLDER/a python/bin/python3.14" ;;
    *) exit 2 ;;
esac
"""


@pytest.fixture
def machine(tmp_path):
    """Write programs into the only folder on the path, and run make's script there."""
    (tmp_path / "sed").symlink_to(shutil.which("sed"))

    def chosen(*arguments, **programs):
        for name, text in programs.items():
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o755)
        command = ["/bin/sh", ROOT / "devtools" / "python.sh", *arguments, IS_SUPPORTED, *PYTHONS]
        environment = {"PATH": str(tmp_path), "UV_FOLDER": str(tmp_path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout.removesuffix("\n").replace(str(tmp_path), "FOLDER")

    return chosen


def test_python3_is_taken_if_it_is_supported(machine):
    assert machine(**{"python3": GOOD, "python3.14": GOOD}) == "python3"


def test_the_newest_is_taken_if_python3_is_another_version(machine):
    assert machine(**{"python3": OLD_PYTHON, "python3.9": GOOD, "python3.12": GOOD, "python3.13": GOOD}) == "python3.13"


def test_the_newest_is_taken_if_python3_is_missing(machine):
    assert machine(**{"python3.11": GOOD}) == "python3.11"


def test_one_with_pip_is_taken_before_one_without(machine):
    assert machine(**{"python3": WITHOUT_PIP, "python3.14": WITHOUT_PIP, "python3.12": GOOD}) == "python3.12"


def test_one_without_pip_is_told_if_there_is_no_other(machine):
    assert machine(**{"python3": OLD_PYTHON, "python3.12": WITHOUT_PIP}) == "python3.12"


def test_uvs_python_is_taken_if_the_machine_has_none(machine):
    assert machine("--download", python3=OLD_PYTHON, uv=UV) == "FOLDER/a python/bin/python3.14"
    assert machine() == "FOLDER/a python/bin/python3.14"


def test_uv_downloads_nothing_unless_something_is_installed(machine):
    assert machine(python3=OLD_PYTHON, uv=UV) == "python3"


def test_without_any_python_make_is_told_of_python3(machine):
    assert machine("--download") == "python3"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (
            OLD_PYTHON,
            "Python 3.11, 3.12, 3.13 or 3.14 is needed; {} is Python 3.9.2. Install one of them, or uv, or name",
        ),
        (
            WITHOUT_PIP,
            "{} has no pip or no venv module. Install uv, or on Debian: apt install python3-pip python3-venv",
        ),
    ],
)
def test_make_says_in_one_line_what_a_python_lacks(tmp_path, program, said):
    python = tmp_path / "python3"
    python.write_text(program)
    python.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}

    done = subprocess.run(
        ["make", "-s", ".venv-in-step", f"PYTHON={python}"],
        cwd=ROOT,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )

    line, *rest = done.stderr.splitlines()
    assert line.startswith(said.format(python))
    assert all(each.startswith("make") for each in rest)
    assert done.returncode == 2
