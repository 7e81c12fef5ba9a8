"""The shape of the code: functions are short, and only targets/ and the catalogue know targets and services by name."""

import ast
import re
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = [ROOT / folder for folder in ("dags", "include", "plugins")]
LONGEST_FUNCTION = 45
MEDIAN_FUNCTION = 8
TARGETS = {"postgres", "bigquery", "lake", "duckdb"}
SERVICES = {"yellow", "green", "fhv", "fhvhv"}
NAMES = TARGETS | SERVICES
HOMES = [ROOT / "include" / "nyc_taxi" / home for home in ("targets", "catalog")]

STRING = rf"""["'`](?:{"|".join(sorted(NAMES))})["'`]"""
COMPARED_IN_JS = re.compile(
    rf"""[=!]==?\s*{STRING}|{STRING}\s*[=!]==?|\bcase\s+{STRING}|\[[^\]]*{STRING}[^\]]*\]\s*\.\s*includes\("""
)


def files(pattern):
    found = [path for folder in BUNDLE for path in folder.rglob(pattern)]
    return [path for path in found if "vendor" not in path.parts and "node_modules" not in path.parts]


def functions():
    for path in files("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1


def test_no_function_is_long():
    assert {name: lines for name, lines in functions() if lines > LONGEST_FUNCTION} == {}


def test_half_of_the_functions_are_short():
    assert median(lines for _, lines in functions()) <= MEDIAN_FUNCTION


def names_in(node):
    """The targets and services that an expression or pattern names."""
    constants = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant))
    return {value for value in constants if isinstance(value, str)} & NAMES


def compared_in_python(source):
    """The lines that compare a value with the name of a target or service, and these names."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.match_case):
            sides = [node.pattern]
        else:
            continue
        if found := set().union(*map(names_in, sides)):
            yield sides[0].lineno, sorted(found)


def compared_in_javascript(source):
    """As `compared_in_python`."""
    for number, line in enumerate(source.splitlines(), start=1):
        if match := COMPARED_IN_JS.search(line):
            yield number, sorted(name for name in NAMES if name in re.findall(r"\w+", match[0]))


def compared(pattern, find):
    return {
        f"{path.relative_to(ROOT)}:{line}": names
        for path in files(pattern)
        if not any(path.is_relative_to(home) for home in HOMES)
        for line, names in find(path.read_text())
    }


def test_no_python_outside_of_their_homes_compares_the_name_of_a_target_or_service():
    assert compared("*.py", compared_in_python) == {}


def test_no_javascript_compares_the_name_of_a_target_or_service():
    assert compared("*.js", compared_in_javascript) == {}


@pytest.mark.parametrize(
    "source",
    [
        "target == 'postgres'",
        "'green' != service",
        "service in ('yellow', 'green')",
        "service not in {'fhv'}",
        "'lake' in targets",
        "match target:\n    case 'bigquery' | 'duckdb': pass",
        "match pair:\n    case [_, 'lake']: pass",
    ],
)
def test_a_comparison_in_python_is_found(source):
    assert list(compared_in_python(source))


@pytest.mark.parametrize("source", ["targets.get('postgres')", "name = 'green'", "kind == 'folder'", "x = {'lake': 1}"])
def test_a_name_that_is_not_compared_is_not_found_in_python(source):
    assert list(compared_in_python(source)) == []


@pytest.mark.parametrize(
    "source",
    [
        "if (target === 'lake')",
        'target == "postgres"',
        "'green' !== service",
        "case 'bigquery':",
        "['yellow', 'green'].includes(service)",
    ],
)
def test_a_comparison_in_javascript_is_found(source):
    assert list(compared_in_javascript(source))


@pytest.mark.parametrize("source", ["open('lake')", "const name = 'green';", "state === 'loaded'"])
def test_a_name_that_is_not_compared_is_not_found_in_javascript(source):
    assert list(compared_in_javascript(source)) == []
