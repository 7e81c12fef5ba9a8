"""Show that every locked package has a wheel for each supported Python and platform, so that no compiler is needed.

    python -m devtools.wheels            `make wheels`: let uv resolve the lock for each Python and platform, from
                                         wheels alone; install nothing
    python -m devtools.wheels --write    a part of `make lock`: write devtools/wheels.txt, after asking for the names

devtools/wheels.txt lists the wheels that are chosen for at least one of them, by the SHA-256 that the lock has too.
tests/devtools/test_wheels.py compares it with the lock without a network.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from packaging.markers import Marker
from packaging.tags import compatible_tags, cpython_tags, mac_platforms
from packaging.utils import canonicalize_name, parse_wheel_filename

from devtools.install import uv_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from packaging.tags import Tag

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements-dev.txt"
WHEELS = ROOT / "devtools" / "wheels.txt"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
OLDEST_MACOS = (14, 0)
OLDEST_GLIBC = (2, 28)
HEAD = """# The wheels of requirements-dev.txt for {pythons} on {platforms}.
# Written by `make lock`: the SHA-256 of each, which is in the lock too, and its name.
"""

PINNED = re.compile(r"^([\w.-]+)(?:\[[^\]]+\])?==([^\s;]+)(?: ; (.+?))?(?: \\)?$")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


class Platform(NamedTuple):
    """A platform: its name in texts, its name for uv, and what Python's markers call it."""

    name: str
    uv: str
    system: str
    machine: str


PLATFORMS = (
    Platform("Linux on x86-64", "x86_64-manylinux_{}_{}".format(*OLDEST_GLIBC), "Linux", "x86_64"),
    Platform("Linux on arm64", "aarch64-manylinux_{}_{}".format(*OLDEST_GLIBC), "Linux", "aarch64"),
    Platform("macOS on arm64", "aarch64-apple-darwin", "Darwin", "arm64"),
)


class Machine(NamedTuple):
    """A Python on a platform."""

    python: str
    platform: Platform

    def __str__(self) -> str:
        return f"Python {self.python} on {self.platform.name}"


MACHINES = tuple(Machine(python, platform) for platform, python in product(PLATFORMS, PYTHONS))


class Package(NamedTuple):
    """A package of a lock, with the hashes of all of its files and the marker that tells where it is installed."""

    name: str
    version: str
    marker: str | None
    hashes: frozenset[str]

    def is_for(self, machine: Machine) -> bool:
        """Whether this package is installed there."""
        return self.marker is None or any(map(Marker(self.marker).evaluate, markers(machine)))


def main() -> None:
    """Write the list, or ask uv for each Python and platform."""
    parser = argparse.ArgumentParser(prog="devtools.wheels", description="Check the wheels of the locked packages.")
    parser.add_argument("--write", action="store_true", help="ask the index for their names, and write the list")
    if not parser.parse_args().write:
        resolved = [_is_resolved(machine) for machine in MACHINES]
        sys.exit(not all(resolved))
    packages = locked(LOCK.read_text(encoding="utf-8"))
    published = _published()
    if found := lacking(packages, published):
        sys.exit("\n".join(found))
    WHEELS.write_text(_text(packages, published), encoding="utf-8")


def locked(text: str) -> list[Package]:
    """Return the packages of a lock that uv has compiled."""
    packages: list[Package] = []
    for line in text.splitlines():
        if found := PINNED.match(line):
            name, version, marker = found.groups()
            packages.append(Package(canonicalize_name(name), version, marker, frozenset()))
        elif found := HASH.search(line):
            packages[-1] = packages[-1]._replace(hashes=packages[-1].hashes | {found[1]})
    return packages


def listed(text: str) -> dict[str, str]:
    """Return the names of the wheels in the list by their SHA-256."""
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {line[0]: line[1] for line in lines}


def lacking(packages: Iterable[Package], wheels: Mapping[str, str]) -> list[str]:
    """Return a line for each package without a wheel on one of the machines."""
    return [
        f"{package.name} {package.version} has no wheel for {machine}"
        for package in packages
        for machine in MACHINES
        if package.is_for(machine) and chosen(package, wheels, machine) is None
    ]


def chosen(package: Package, wheels: Mapping[str, str], machine: Machine) -> str | None:
    """Return the SHA-256 of the wheel that an installer takes there: the first by Python's order of tags."""
    ranks = tags(machine)
    fits: list[tuple[int, str]] = []
    for digest in package.hashes & wheels.keys():
        name, version, _, of_wheel = parse_wheel_filename(wheels[digest])
        known = [ranks[tag] for tag in of_wheel if tag in ranks]
        if known and (name, str(version)) == (package.name, package.version):
            fits.append((min(known), digest))
    return min(fits)[1] if fits else None


def markers(machine: Machine) -> Iterator[dict[str, str]]:
    """Yield the values of the markers there, for the first and for a late patch of its Python."""
    platform = machine.platform
    values = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": platform.machine,
        "platform_python_implementation": "CPython",
        "platform_system": platform.system,
        "python_version": machine.python,
        "sys_platform": platform.system.lower(),
    }
    for patch in ("0", "99"):
        yield values | {"python_full_version": f"{machine.python}.{patch}"}


@cache
def tags(machine: Machine) -> dict[Tag, int]:
    """Return the tags of the wheels that can be installed there, with their rank."""
    major, minor = map(int, machine.python.split("."))
    platforms = list(_platform_tags(machine.platform))
    ordered = [
        *cpython_tags((major, minor), [f"cp{major}{minor}"], platforms),
        *compatible_tags((major, minor), f"cp{major}{minor}", platforms),
    ]
    return {tag: rank for rank, tag in reversed(list(enumerate(ordered)))}


def _platform_tags(platform: Platform) -> Iterator[str]:
    if platform.system == "Darwin":
        yield from mac_platforms(OLDEST_MACOS, platform.machine)
        return
    major, newest = OLDEST_GLIBC
    legacy = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
    for minor in range(newest, 4, -1):
        yield f"manylinux_{major}_{minor}_{platform.machine}"
        if minor in legacy:
            yield f"{legacy[minor]}_{platform.machine}"
    yield f"linux_{platform.machine}"


def _published() -> dict[str, str]:
    """Ask the index for the names of the locked packages' wheels; uv writes them into a pylock.toml."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pylock.toml"
        command = ["compile", "--quiet", "--universal", "--python-version", PYTHONS[0], "--no-deps"]
        _check([*_UV, *command, "--output-file", str(path), LOCK.name])
        packages = tomllib.loads(path.read_text(encoding="utf-8"))["packages"]
    wheels = [wheel for package in packages for wheel in package.get("wheels", ())]
    return {wheel["hashes"]["sha256"]: wheel["url"].rpartition("/")[2].replace("%2B", "+") for wheel in wheels}


def _text(packages: Iterable[Package], published: Mapping[str, str]) -> str:
    taken = {
        chosen(package, published, machine) for package in packages for machine in MACHINES if package.is_for(machine)
    }
    lines = sorted((published[digest], digest) for digest in taken if digest)
    head = HEAD.format(
        pythons=f"Python {PYTHONS[0]} to {PYTHONS[-1]}", platforms=", ".join(platform.name for platform in PLATFORMS)
    )
    return head + "".join(f"{digest}  {name}\n" for name, digest in lines)


_UV = [sys.executable, "-m", "uv", "pip"]


def _is_resolved(machine: Machine) -> bool:
    """Let uv resolve the lock for a machine, and print what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*_UV, "install", "--dry-run", "--require-hashes", "--only-binary", ":all:", "--target", folder]
        command += ["--python-version", machine.python, "--python-platform", machine.platform.uv, "-r", str(LOCK)]
        environment = uv_environment(os.environ) | {"MACOSX_DEPLOYMENT_TARGET": ".".join(map(str, OLDEST_MACOS))}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    would = next((line for line in lines if line.startswith("Would install")), "Would install nothing")
    print(f"{machine}: {would if done.returncode == 0 else done.stderr.strip()}", flush=True)
    return done.returncode == 0


def _check(command: list[str]) -> None:
    if code := subprocess.run(command, cwd=ROOT, env=uv_environment(os.environ), check=False).returncode:
        sys.exit(code)


if __name__ == "__main__":
    main()
