"""Install the locked packages into .venv, and tell which one is being downloaded and how many are left.

    python3 -m devtools.install

It imports only the standard library. Every file is compared with its hash in the lock, and only wheels are installed,
so that nothing is compiled. uv does it in about a minute; if the network fails uv, pip tries, which takes some minutes.
uv does not read pip's configuration, so it gets pip's index and certificate.
"""

from __future__ import annotations

import ast
import fcntl
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ROOT = Path(__file__).resolve().parents[1]
LOCK = Path("requirements-dev.txt")
FOLDER = Path(".local")
CHECKED = ["--require-hashes", "--only-binary", ":all:"]
# The lock is complete, and pip before 23.3 asks for hashes of celery[redis] and celery apart.
WITH_PIP = ["install", "--no-deps", *CHECKED]
VENV = Path(".venv")
PYTHON = VENV / "bin" / "python"
# A copy of the lock, written when the installation is complete. Without it the installation starts again.
STAMP = VENV / LOCK.name
PIP = [sys.executable, "-m", "pip", "--python", str(PYTHON), "--disable-pip-version-check"]
EVERY = 25  # packages, between two lines where there is no terminal

LISTED = re.compile(r"DEBUG Identified uncached distribution: (\S+?)==")
DOWNLOADS = re.compile(r"DEBUG No cache entry for: \S*/([\w.]+)-\d[^/]*\.(?:whl|tar\.gz)$")
NETWORK = re.compile(
    r"Failed to fetch|Failed to download|error sending request|client error|dns error|timed out|peer cert"
)


def main() -> None:
    """Install what the lock lists, unless it is installed; wait for another installation in this folder."""
    os.chdir(ROOT)
    with _alone():
        if not is_installed():
            _install()
            shutil.copyfile(LOCK, STAMP)


def is_installed() -> bool:
    """Whether .venv has what the lock lists."""
    return PYTHON.exists() and STAMP.exists() and STAMP.read_bytes() == LOCK.read_bytes()


def _install() -> None:
    _say(f"installing the locked packages into {VENV} (once, about a minute)")
    if PYTHON.exists() and STAMP.exists():
        STAMP.unlink()
    else:
        _check([sys.executable, "-m", "venv", "--clear", "--without-pip", str(VENV)])
    first = FOLDER / "uv.txt"  # pip takes hashes from files only
    first.write_text(pin(LOCK.read_text(encoding="utf-8"), "uv"), encoding="utf-8")
    _check([*PIP, *WITH_PIP, "-qq", "--requirement", str(first)])
    command = [str(PYTHON), "-m", "uv", "-v", "pip", "sync", *CHECKED, "--python", str(PYTHON), str(LOCK)]
    errors = sync(command, sys.stderr)
    if errors is None:
        return
    _say("\n".join(errors))
    if not is_of_network(errors):
        sys.exit("uv cannot install the packages: fix the error above, and repeat the command")
    _say("uv cannot reach the packages; trying pip, which takes some minutes")
    _check([*PIP, *WITH_PIP, "--progress-bar=off", "--requirement", str(LOCK)])


def pin(lock: str, package: str) -> str:
    """Return the lines of a package in the lock: its version and its hashes."""
    found = re.search(rf"^{re.escape(package)}==.*\n(?:    --hash=.*\n)*", lock, re.MULTILINE)
    if found is None:
        raise ValueError(f"{package} is not in {LOCK}; expected a line {package}==...: make lock")
    return found[0]


def sync(command: list[str], out: TextIO) -> list[str] | None:
    """Run uv, show its progress, and return the lines of its error; None if it succeeds."""
    with subprocess.Popen(
        command, env=uv_environment(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as uv:
        assert uv.stderr is not None  # noqa: S101 - it is a PIPE
        errors = list(_shown(uv.stderr, out))
    return errors if uv.returncode else None


def uv_environment(caller: Mapping[str, str], python: str = sys.executable) -> dict[str, str]:
    """Return the caller's variables, with the index and the certificate of this Python's pip unless uv has its own."""
    environment, of_pip = dict(caller), _pip_settings(caller, python)
    index = _first(of_pip, ":env:.index-url", "install.index-url", "global.index-url")
    if index and not caller.get("UV_DEFAULT_INDEX"):
        environment["UV_DEFAULT_INDEX"] = index
    certificate = _first(of_pip, ":env:.cert", "install.cert", "global.cert")
    certificate = certificate or _first(caller, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    if certificate and not caller.get("SSL_CERT_FILE"):
        environment["SSL_CERT_FILE"] = certificate
    if not environment.get("SSL_CERT_FILE"):  # pip takes those of the system
        environment.setdefault("UV_SYSTEM_CERTS", "true")
    return environment


def is_of_network(errors: Iterable[str]) -> bool:
    """Whether uv reached no server, so that pip, with its own ways, may. A file with a wrong hash came from one."""
    text = "\n".join(errors)
    return bool(NETWORK.search(text)) and "Hash mismatch" not in text


def _pip_settings(caller: Mapping[str, str], python: str) -> dict[str, str]:
    """Return pip's settings, of all its files and variables; `pip config get` reads only one of its files."""
    command = [python, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, env=dict(caller), capture_output=True, text=True, check=False).stdout
    return {name: ast.literal_eval(value) for name, value in re.findall(r"^(\S+)=('.*'|\".*\")$", listed, re.MULTILINE)}


def _first(settings: Mapping[str, str], *names: str) -> str | None:
    return next(filter(None, map(settings.get, names)), None)


def _shown(lines: Iterable[str], out: TextIO) -> Iterator[str]:
    """Show how far uv is, and give the lines of its error."""
    listed, begun = set[str](), set[str]()
    is_error = False
    for line in map(str.rstrip, lines):
        if found := LISTED.match(line):
            listed.add(_normal(found[1]))
        elif (found := DOWNLOADS.match(line)) and _normal(found[1]) in listed - begun:
            begun.add(_normal(found[1]))
            _show_progress(f"downloading {len(begun)} of {len(listed)}: {_normal(found[1])}", len(begun), out)
        elif line.startswith(("Resolved", "Prepared", "Installed", "Uninstalled")):
            _end_line(out)
            print(f"  {line[0].lower()}{line[1:]}", file=out, flush=True)
        is_error = line.startswith("error") or (is_error and not line.startswith("DEBUG"))
        if is_error:
            yield line


def _show_progress(text: str, number: int, out: TextIO) -> None:
    if out.isatty():
        print(f"\r  {text[:70]:<70}", end="", file=out, flush=True)
    elif number % EVERY == 1:
        print(f"  {text}", file=out, flush=True)


def _end_line(out: TextIO) -> None:
    if out.isatty():
        print(f"\r{'':<72}\r", end="", file=out)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other process installs into this folder."""
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    with (FOLDER / "install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check(command: list[str]) -> None:
    if code := subprocess.run(command, check=False).returncode:
        sys.exit(code)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
