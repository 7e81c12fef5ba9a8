"""Links lead somewhere, what exists is documented, and what is said in two places is the same in both."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from devtools import doctor, wheels

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
DECISIONS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
MAKEFILE = (ROOT / "Makefile").read_text()
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yaml").read_text())


def links(page):
    return [link for link in LINK.findall(CODE.sub("", page.read_text())) if "://" not in link]


def anchors(page):
    headings = HEADING.findall(CODE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        linked = (page.parent / path).resolve() if path else page

        assert linked.exists(), link
        assert not anchor or anchor in anchors(linked), link


def test_links_and_headings_are_found():
    readme = ROOT / "README.md"

    assert "docs/notes-to-airflow.md" in links(readme)
    assert {"start", "the-flows"} <= anchors(readme)


def test_the_index_lists_every_page_of_docs():
    listed = set(links(ROOT / "docs" / "README.md"))

    assert {page.name for page in (ROOT / "docs").glob("*.md") if page.name != "README.md"} - listed == set()


def test_every_make_target_is_documented():
    targets = re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE)
    documented = "".join(page.read_text() for page in PAGES)

    assert "demo" in targets
    assert [target for target in targets if not re.search(rf"make {target}(?![\w-])", documented)] == []


def test_every_connection_and_variable_is_documented():
    settings = set(re.findall(r"^#?((?:AIRFLOW|TAXI)_\w+)=", (ROOT / ".env").read_text(), re.MULTILINE))
    page = (ROOT / "docs" / "settings.md").read_text()

    assert "TAXI_SOURCE" in settings
    assert [name for name in settings if f"| `{name}` |" not in page] == []


def test_every_environment_variable_that_the_bundle_reads_is_documented():
    code = "".join(path.read_text() for folder in ("include", "plugins") for path in (ROOT / folder).rglob("*.py"))
    read = set(re.findall(r"""environ(?:ment)?(?:\.get\(|\[)"([A-Z]\w+)\"""", code))
    documented = "".join(page.read_text() for page in PAGES)

    assert "AIRFLOW_API_URL" in read
    assert [name for name in read if f"`{name}`" not in documented and not name.startswith("AIRFLOW__")] == []


def test_every_test_that_is_named_exists():
    named = {name for page in PAGES for name in re.findall(r"`(test_\w+)`", page.read_text())}
    code = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))

    assert named
    assert [name for name in named if f"def {name}(" not in code] == []


@pytest.mark.parametrize("record", DECISIONS, ids=lambda record: record.name[:4])
def test_a_decision_is_in_the_index_with_its_title_and_status(record):
    first_line, status = record.read_text().split("\n\n")[:2]
    number, title = re.fullmatch(r"# (\d+)\. (.+)", first_line).groups()
    row = next(line for line in (record.parent / "README.md").read_text().splitlines() if f"({record.name})" in line)

    assert record.name.startswith(f"{int(number):04}-")
    assert row.startswith(f"| [{number}]({record.name}) | {title} | ")
    assert ("superseded by" in row) is ("Superseded" in status)


def test_pre_commit_runs_what_make_lint_runs():
    [(first, recipe)] = re.findall(r"^lint: (.*) ##.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    linted = [line.strip().removeprefix("@").replace("$(RUN)", ".venv/bin/python -m") for line in recipe.splitlines()]
    linted += ["make lint-page"] if "lint-page" in first else []
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]

    assert len(hooks) == len(linted)
    # make names the files itself; pre-commit appends those of the commit.
    assert [line for line, hook in zip(linted, hooks, strict=True) if not line.startswith(hook["entry"])] == []
    assert {hook["language"] for hook in hooks} == {"system"}


def test_every_supported_python_is_the_same_everywhere():
    matrix = WORKFLOW["jobs"]["test"]["strategy"]["matrix"]
    newest_first = re.search(r"^PYTHONS := (.+)$", MAKEFILE, re.MULTILINE)[1].split()
    words = f"Python {', '.join(matrix['python'][:-1])} or {matrix['python'][-1]}"
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]

    assert list(wheels.PYTHONS) == newest_first[::-1]
    assert matrix["python"] == newest_first[::-1]
    assert [tuple(map(int, python.split("."))) for python in (newest_first[-1], newest_first[0])] == [
        doctor.OLDEST,
        doctor.NEWEST,
    ]
    assert words in (ROOT / "README.md").read_text()
    assert f"SUPPORTED := {words}\n" in MAKEFILE
    assert words.removeprefix("Python ") in doctor.python((3, 10), "python3").text
    assert settings["mypy"]["python_version"] == matrix["python"][0]
    assert settings["ruff"]["target-version"] == matrix["python"][0].replace("3.", "py3")


def test_the_workflow_installs_and_tests_by_targets_that_exist():
    commands = [step["run"] for job in WORKFLOW["jobs"].values() for step in job["steps"] if "run" in step]

    assert "make test" in commands
    assert [run for run in commands if not re.search(rf"^{run.removeprefix('make ')}:", MAKEFILE, re.MULTILINE)] == []


def test_the_newest_changes_are_unreleased_and_every_version_has_a_date():
    first, *versions = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    dated = [re.fullmatch(r"(\d+)\.(\d+)\.(\d+) - \d{4}-\d{2}-\d{2}", version) for version in versions]

    assert first == "Unreleased"
    assert all(dated)
    assert [match.groups() for match in dated] == sorted((match.groups() for match in dated), reverse=True)
