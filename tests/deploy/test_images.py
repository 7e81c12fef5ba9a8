"""What the images contain: the bundle has no development tools, and the local cloud has nothing of the bundle."""

import ast
import re
import sys
from pathlib import Path

import yaml

from devtools import digests

ROOT = Path(__file__).resolve().parents[2]
EMULATORS = ROOT / "devtools" / "emulators"
LOCKS = {"requirements.txt", "requirements-extra.txt"}  # that TAXI_REQUIREMENTS chooses from


def stages():
    """The instructions of each stage of the Dockerfile, with continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    found, stage = {}, None
    for line in text.splitlines():
        if match := re.match(r"FROM \S+ AS (\S+)", line):
            stage = found.setdefault(match[1], [])
        elif stage is not None and line and not line.startswith("#"):
            stage.append(line)
    return found


def copied(stage):
    """What a stage copies from this tree."""
    words = [line.split()[1:-1] for line in stages()[stage] if line.startswith("COPY") and "--from" not in line]
    return {word for line in words for word in line if not word.startswith("--")}


def imported(path):
    """The modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_the_image_of_the_stack_has_the_bundle_alone():
    bundle = {".airflowignore", "dags", "deploy/*.py", "deploy/local-cloud.sh", "include", "plugins"}

    assert copied("airflow") == {"${TAXI_REQUIREMENTS}"} | bundle


def test_the_image_of_the_local_cloud_has_the_emulators_alone():
    emulators = "devtools/emulators"

    assert copied("local-cloud") == {f"{emulators}/requirements.txt", "devtools/__init__.py", emulators}


def test_the_build_context_has_what_the_images_copy_and_nothing_else():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]

    assert patterns[0] == "*"
    assert patterns[-1] == "**/__pycache__"
    in_emulators, chosen = {"devtools/emulators/requirements.txt"}, {"${TAXI_REQUIREMENTS}"}
    assert {pattern.removeprefix("!") for pattern in patterns[1:-1]} == (
        copied("airflow") - chosen | LOCKS | copied("local-cloud") - in_emulators
    )


def test_the_image_of_the_local_cloud_has_the_packages_that_the_emulators_import():
    lines = (EMULATORS / "requirements.in").read_text().splitlines()
    packages = [line for line in lines if line and not line.startswith(("#", "-"))]
    modules = {name.partition(".")[0] for path in EMULATORS.rglob("*.py") for name in imported(path)}

    assert {package.replace("-", "_") for package in packages} == modules - sys.stdlib_module_names - {"devtools"}


def test_an_image_installs_a_lock_by_its_hashes_from_wheels_alone():
    installed = [line for stage in stages().values() for line in stage if "pip install" in line]

    assert len(installed) == len(stages())
    assert [line for line in installed if "--no-deps --require-hashes --only-binary :all: " not in line] == []


def test_the_lock_of_the_image_can_be_chosen_and_is_the_small_one_by_default():
    [default] = [line for line in stages()["airflow"] if line.startswith("ARG TAXI_REQUIREMENTS=")]
    built = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]["secrets"]["build"]["args"]
    small, large = ((ROOT / name).read_text() for name in sorted(LOCKS, reverse=True))

    assert default == "ARG TAXI_REQUIREMENTS=requirements.txt"
    assert built["TAXI_REQUIREMENTS"] == "${TAXI_REQUIREMENTS:-requirements.txt}"
    extra = ("apache-airflow-providers-cncf-kubernetes==", "apache-airflow-providers-amazon", "statsd==")
    assert [name for name in extra if name not in large or name in small] == []


def test_every_image_is_named_by_an_exact_version_and_is_the_same_in_both_files():
    stack, dockerfile = (ROOT / "docker-compose.yaml").read_text(), (ROOT / "Dockerfile").read_text()
    named = digests.official(stack)
    bases = dict(re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", dockerfile, re.MULTILINE))
    images = {service["image"] for service in yaml.safe_load(stack)["services"].values()}

    assert [image for image in named.values() if not re.search(r":\D*\d+\.\d+", image)] == []
    assert bases.items() <= named.items()
    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) == {f"${{{name}}}" for name in bases}
    assert {image for image in images if "nyc-taxi" not in image} == {
        f"${{{name}:-{image}}}" for name, image in named.items() if name not in bases
    }


def test_the_emulators_import_no_other_tools():
    ours = {name for path in EMULATORS.rglob("*.py") for name in imported(path) if name.startswith("devtools")}

    assert {name for name in ours if not name.startswith("devtools.emulators")} == set()


def test_work_on_the_bundle_mounts_devtools_into_the_local_cloud_alone():
    services = yaml.safe_load((ROOT / "deploy" / "dev.yaml").read_text())["services"]

    mounting = {name for name, service in services.items() if any("devtools" in v for v in service["volumes"])}

    assert mounting == {"local-cloud"}
