"""The dev container, as far as it can be checked without one: its JSON, its versions and its commands."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from devtools import digests, wheels

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
CONTAINER = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
PORT = int(re.search(r"^PORT \?= (\d+)$", MAKEFILE, re.MULTILINE)[1])


def test_it_has_the_python_of_the_stack_by_its_exact_version():
    version = re.fullmatch(r"python:((3\.\d+)\.\d+)-bookworm", CONTAINER["image"])

    assert version[2] in wheels.PYTHONS
    assert digests.official(digests.STACK.read_text())["PYTHON_IMAGE"].startswith(f"python:{version[1]}-")


def test_it_installs_and_ends_in_a_running_ui():
    script = CONTAINER["postAttachCommand"]["ui"].removeprefix("sh ")
    *_, last = (ROOT / script).read_text().splitlines()

    assert CONTAINER["postCreateCommand"] == "make install"
    assert last == "exec make ui"
    assert all(re.search(rf"^{target}: .*## ", MAKEFILE, re.MULTILINE) for target in ("install", "ui"))
    assert CONTAINER["forwardPorts"] == [PORT]
    assert CONTAINER["portsAttributes"].keys() == {str(PORT)}


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({}, ""),
        ({"CODESPACE_NAME": "fuzzy-taxi"}, f"https://fuzzy-taxi-{PORT}.app.github.dev"),
        (
            {"CODESPACE_NAME": "fuzzy-taxi", "GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN": "dev.example.org"},
            f"https://fuzzy-taxi-{PORT}.dev.example.org",
        ),
    ],
)
def test_airflow_knows_the_address_at_which_a_codespace_is_reached(tmp_path, variables, address):
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "$* $AIRFLOW__API__BASE_URL"\n')
    make.chmod(0o755)

    done = subprocess.run(
        ["/bin/sh", ROOT / ".devcontainer" / "ui.sh"],
        env={"PATH": f"{tmp_path}{os.pathsep}/usr/bin"} | variables,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == f"ui {address}\n"
