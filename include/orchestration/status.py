"""The coverage of this deployment in a terminal, or as JSON.

make status
make status ARGS="--target lake --json"
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING

from include.nyc_taxi import catalog, coverage
from include.nyc_taxi.coverage import State

if TYPE_CHECKING:
    from include.orchestration.overview import Overview

MARKS = {
    State.RUNNING: "~",
    State.FAILED: "x",
    State.STALE: "!",
    State.COUNT_DIFFERS: "?",
    State.LOADED: "#",
    State.PUBLISHED: "o",
    State.NOT_PUBLISHED: ".",
}


def main() -> None:
    """Print the state of every month."""
    parser = argparse.ArgumentParser(
        prog="make status", description="Which months lie where, and whether they are right."
    )
    parser.add_argument("--target", choices=["postgres", "lake", "bigquery"], default="postgres")
    parser.add_argument("--json", action="store_true", help="every month and its state, for a program")
    options = parser.parse_args()
    # By this, connections and Variables of the metadata database are found too.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    from airflow.utils.session import create_session

    from include.orchestration.overview import as_json, overview

    with create_session() as session:
        seen = overview(options.target, session)
    print(json.dumps(as_json(seen), indent=2) if options.json else as_text(seen))
    for problem in seen.problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if seen.problems else 0)


def as_text(seen: Overview) -> str:
    """A line per year and a mark per month, a block per service; and what the marks say."""
    lines = [f"target {seen.target}", ""]
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
    lines += ["", *(f"{MARKS[state]} {count:>5,}  {state.says}" for state, count in counts.items() if count)]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
