"""answers: ask everything that the flows' connections and the Variable `taxi_lake` point to, and print a line for each.

make doctor
docker compose run --rm cli python -m include.orchestration.answers

A line begins with `ok`, with `problem`, or with `note` for what is not set up and need not be. Exits with 1 if there is
a problem.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.sdk.exceptions import AirflowException

from include.nyc_taxi import catalog, download, faults, targets
from include.nyc_taxi.errors import TaxiError
from include.orchestration import connections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from include.nyc_taxi.catalog import Source
    from include.nyc_taxi.targets import Target

OK, PROBLEM, NOTE = "ok", "problem", "note"
_SECONDS = 10.0


class Answer(NamedTuple):
    """What one of them answered: the state, and a line for people with what to do."""

    state: str
    text: str

    def __str__(self) -> str:
        return f"{self.state:<9}{self.text}"


def main() -> None:
    """Print a line for each. Exit with 1 if there is a problem."""
    # Airflow's own commands set this, too: it makes Airflow look for connections and Variables in its database.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    is_well = True
    for answer in every():
        print(answer, flush=True)
        is_well = is_well and answer.state != PROBLEM
    sys.exit(0 if is_well else 1)


def every() -> Iterator[Answer]:
    """Ask each source and each target."""
    for source in catalog.sources().values():
        yield _source(source)
    for target in targets.every():
        yield _target(target)


def _source(source: Source) -> Answer:
    name = f"source {source.name} (connection {source.connection})"
    if not connections.is_set(source.connection):
        return Answer(NOTE, f"{name} is not set")

    def ask() -> str:
        base_url = connections.base_url(source.name)
        known_url = source.known_url(None, base_url)
        with download.connect(_SECONDS) as client:
            download.ask(
                client, known_url, known_url, (*source.redirect_hosts, *connections.redirect_hosts(source.name))
            )
        return "answers"

    return _asked(name, ask, f"check network and proxy, or correct the connection {source.connection}")


def _target(target: Target[Any, Any]) -> Answer:
    name = f"{target.title} ({target.connected_by})"
    if not connections.is_configured(target):
        return Answer(NOTE, f"{name} is not set up: runs are not loaded into it")

    def ask() -> str:
        lake = connections.lake()
        connections.check_lake(lake)
        service = next(iter(catalog.services()))
        with connections.opened(target) as client:
            return target.check(client, lake, target.default_table(service), service)

    return _asked(name, ask, f"see that it answers from here, or correct the {target.connected_by}")


def _asked(name: str, ask: Callable[[], str], advice: str) -> Answer:
    try:
        return Answer(OK, f"{name}: {ask()}")
    except (TaxiError, AirflowException, ValueError, OSError) as error:
        return Answer(PROBLEM, f"{name}: {faults.said(error)}; {advice}")


if __name__ == "__main__":
    main()
