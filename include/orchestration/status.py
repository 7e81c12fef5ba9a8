"""status: the coverage of this deployment in a terminal, or as JSON.

make status
make status ARGS="--target lake --json"
make status ARGS="--target duckdb --rows"
make status ARGS="--editions green"

Running and failed loads come from Airflow's API server. It is found and logged in to with `AIRFLOW_API_URL`,
`AIRFLOW_API_USER` and `AIRFLOW_API_PASSWORD` (or `AIRFLOW_API_PASSWORD_FILE`), whose defaults fit `make ui`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from include.nyc_taxi import catalog, coverage, targets
from include.nyc_taxi.coverage import Rows, State
from include.orchestration import connections
from include.orchestration.editions import edition_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.orchestration.airflow_api import AirflowApi
    from include.orchestration.overview import Overview

MARKS = {
    State.RUNNING: "~",
    State.FAILED: "x",
    State.STALE: "!",
    State.COUNT_DIFFERS: "?",
    State.LOADED: "#",
    State.PUBLISHED: "o",
    State.NOT_PUBLISHED: ".",
    State.UNKNOWN: "-",
}
_DEFAULT_URL = "http://127.0.0.1:8080"


def main() -> None:
    """Print the state of every month. Exit with 1 if a part of the deployment does not answer."""
    names = [target.name for target in targets.every()]
    parser = argparse.ArgumentParser(
        prog="make status", description="Print which months are in a target, and whether they are right."
    )
    parser.add_argument("--target", choices=names, default=names[0])
    parser.add_argument("--json", action="store_true", help="print every month and its state, for a program")
    parser.add_argument("--rows", action="store_true", help="print the rows of the loaded months, year by year")
    parser.add_argument(
        "--editions",
        metavar="SERVICE",
        choices=list(catalog.services()),
        help="print the editions of a service's files, and what each has changed",
    )
    options = parser.parse_args()
    # Airflow's own commands set this, too: it makes Airflow look for connections and Variables in its database.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    if options.editions:
        print("\n".join(edition_lines(connections.lake(), options.editions)))
        return
    from include.orchestration.airflow_api import AirflowUnavailable
    from include.orchestration.overview import as_json, overview

    api = None
    try:
        api = logged_in(os.environ)
    except AirflowUnavailable as error:
        print(f"Running and failed loads are not shown: {error}", file=sys.stderr)
    seen = overview(targets.get(options.target), api)
    print(json.dumps(as_json(seen), indent=2) if options.json else as_text(seen, rows_of_years=options.rows))
    for problem in seen.problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if seen.problems else 0)


def as_text(seen: Overview, *, rows_of_years: bool = False) -> str:
    """Return a line per year with a mark per month, a block per service, what the marks mean, and the rows.

    Args:
        seen: the months of a target.
        rows_of_years: return the rows alone, with a line per service and year, not per service.
    """
    by_year = coverage.rows_by_year(seen.cells.values())
    if rows_of_years:
        rows = {f"{service} {year}": counted for (service, year), counted in by_year.items()}
        return "\n".join([f"target {seen.target.name}", "", *(_row_lines(rows) if rows else ["no month is loaded"])])
    by_service: dict[str, Rows] = {}
    for (service, _year), counted in by_year.items():
        by_service[service] = by_service.get(service, Rows()) + counted
    return "\n".join([*_month_lines(seen), *(["", *_row_lines(by_service)] if by_service else [])])


def _row_lines(rows: Mapping[str, Rows]) -> list[str]:
    """How many rows the loaded files have, and how many of them are in the target: a line each."""
    lines = [f"{'rows of loaded months':<22}{'published':>15}{'loaded':>15}{'rejected':>15}"]
    for name, counted in rows.items():
        rejected = counted.published - counted.loaded
        lines.append(f"{name:<22}{counted.published:>15,}{counted.loaded:>15,}{rejected:>15,}")
    return lines


def _month_lines(seen: Overview) -> list[str]:
    lines = [f"target {seen.target.name}", ""]
    years: dict[tuple[str, int], list[str]] = {}
    for file, cell in seen.cells.items():
        months = years.setdefault((file.service, file.month.year), [" "] * 12)
        months[file.month.month - 1] = MARKS[cell.state]
    services = list(catalog.services())
    lines.append("      " + "".join(f"{service:<14}" for service in services).rstrip())
    for year in sorted({year for _service, year in years}):
        marks = ("".join(years.get((service, year), [])) for service in services)
        lines.append(f"{year}  " + "".join(f"{mark:<14}" for mark in marks).rstrip())
    counts = coverage.counts(seen.cells.values())
    lines += ["", *(f"{MARKS[state]} {count:>5,}  {state.description}" for state, count in counts.items() if count)]
    return lines


def logged_in(environment: Mapping[str, str]) -> AirflowApi:
    """Log in to the API server that the environment names.

    Raises:
        AirflowUnavailable: no server answers there, or it refuses the login.
    """
    from airflow.sdk import conf

    from include.orchestration.airflow_api import log_in

    url = environment.get("AIRFLOW_API_URL") or conf.get("api", "base_url", fallback=None) or _DEFAULT_URL
    user = environment.get("AIRFLOW_API_USER", "admin")
    return log_in(url, user, _password(user, environment))


def _password(user: str, environment: Mapping[str, str]) -> str:
    """The user's password: that of the environment, else the one that Airflow's simple auth manager keeps in a file."""
    if "AIRFLOW_API_PASSWORD" in environment:
        return environment["AIRFLOW_API_PASSWORD"]
    if "AIRFLOW_API_PASSWORD_FILE" in environment:
        return Path(environment["AIRFLOW_API_PASSWORD_FILE"]).read_text(encoding="utf-8").strip()
    home = Path(environment.get("AIRFLOW_HOME", "~/airflow")).expanduser()
    kept = environment.get("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE")
    file = Path(kept) if kept else home / "simple_auth_manager_passwords.json.generated"
    passwords: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return passwords.get(user, "")


if __name__ == "__main__":
    main()
