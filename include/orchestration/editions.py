"""editions: the editions of this deployment's lake in a terminal, and pruning of their bytes.

make status ARGS="--editions green"
make prune ARGS="--keep 2 --dry-run"

What is known of an edition always stays: pruning deletes the bytes of old ones.
"""

from __future__ import annotations

import argparse
import logging
import os
from typing import TYPE_CHECKING, Any

from include.nyc_taxi import catalog, editions
from include.nyc_taxi.lake import raw_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.nyc_taxi.editions import Edition
    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.targets.loads import Load
    from include.nyc_taxi.trip_file import TripFile

log = logging.getLogger(__name__)

KEEP_VARIABLE = "taxi_keep_editions"


def main() -> None:
    """Delete the bytes of old editions, and print what that frees."""
    parser = argparse.ArgumentParser(prog="make prune", description="Delete the bytes of old editions in raw/.")
    parser.add_argument("--keep", type=int, help=f"how many editions of each file keep their bytes ({KEEP_VARIABLE})")
    parser.add_argument("--dry-run", action="store_true", help="print what would be freed, and delete nothing")
    options = parser.parse_args()
    # Airflow's own commands set this, too: it makes Airflow look for connections and Variables in its database.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    from include.orchestration import connections

    keep = options.keep or kept()
    if keep is None:
        parser.error(f"give --keep, or set the Variable {KEEP_VARIABLE}")
    print("\n".join(pruned_lines(connections.lake(), keep, dry_run=options.dry_run)))


def kept() -> int | None:
    """How many editions of each file keep their bytes, by the Variable `taxi_keep_editions`; None is all.

    Raises:
        ValueError: the Variable is not a number from 1.
    """
    from airflow.sdk import Variable

    value = Variable.get(KEEP_VARIABLE, default=None)
    if not value:
        return None
    if not str(value).isdecimal() or int(value) < 1:
        raise ValueError(f"Variable {KEEP_VARIABLE!r} is {value!r}; expected a number from 1, or none to keep all")
    return int(value)


def prune(lake: Lake, file: TripFile, source: str, keep: int | None) -> None:
    """Delete the bytes of old editions of one file, unless all are kept."""
    if keep is None:
        return
    for edition in editions.prune(lake, raw_key(file, source), keep):
        log.info("%s: deleted the bytes of edition %s, %s bytes", file, edition.id, f"{edition.bytes:,}")


def pruned_lines(lake: Lake, keep: int, *, dry_run: bool) -> Iterator[str]:
    """Prune every file of the lake; yields a line for each edition whose bytes are freed, and one for all."""
    freed = 0
    verb = "would free" if dry_run else "freed"
    for key in sorted(_keys(lake)):
        for edition in editions.prune(lake, key, keep, dry_run=dry_run):
            freed += edition.bytes
            yield f"{edition.key}: {verb} {edition.bytes:,} bytes, first seen {edition.first_seen[:10]}"
    yield f"{verb} {freed:,} bytes in all; {_count(keep)} of each file {'is' if keep == 1 else 'are'} kept"


def edition_lines(lake: Lake, service: str) -> Iterator[str]:
    """Yield what is known of the editions of a service's files, the newest file first."""
    known = catalog.service(service)
    found = False
    for key in sorted((key for key in _keys(lake) if f"/{known.name}/" in key), reverse=True):
        history = editions.history(lake, key)
        found = True
        yield key.rpartition("/")[2].partition(".")[0] + f"  {_count(len(history.editions))}"
        for edition in history.editions:
            yield f"  {_line(edition, is_current=edition == history.current)}"
    if not found:
        yield f"no editions of {service} yet: they appear when a month is downloaded"


def listed(lake: Lake, file: TripFile, load: Load | None) -> list[dict[str, Any]]:
    """Describe the editions of a file for a program, the latest first. `load` is what a target holds of the file."""
    history = editions.history(lake, raw_key(file, (load and load.source) or "official"))
    loaded = load and history.by_sha256(load.source_sha256)
    return [
        {
            "id": edition.id,
            "sha256": edition.sha256,
            "first_seen": edition.first_seen,
            "last_seen": edition.last_seen,
            "rows": edition.rows,
            "changes": _changes(edition),
            "is_current": edition == history.current,
            "is_held_back": bool(edition.is_held_back),
            "is_kept": edition.is_kept,
            "is_loaded": edition == loaded,
        }
        for edition in reversed(history.editions)
    ]


def republished(lake: Lake, files: list[TripFile], source: str) -> list[str]:
    """Say what was republished among these files, a line each."""
    lines = []
    for file in files:
        current = editions.history(lake, raw_key(file, source)).current
        if current is not None and current.changes is not None:
            lines.append(f"{file.service} {file.month} was republished: {_changes(current)}")
    return lines


def _changes(edition: Edition) -> str | None:
    """What changed from the edition before it."""
    if not edition.changes:
        return None
    from include.nyc_taxi.changes import Changes

    return str(Changes(**edition.changes))


def _count(editions: int) -> str:
    return "1 edition" if editions == 1 else f"{editions:,} editions"


def _line(edition: Edition, *, is_current: bool) -> str:
    marks = [
        "current" if is_current else "",
        "held back" if edition.is_held_back else "",
        "" if edition.is_kept else "bytes deleted",
    ]
    rows = "rows unknown" if edition.rows is None else f"{edition.rows:,} rows"
    changes = f": {_changes(edition)}" if edition.changes else ""
    told = f"{edition.id}  first seen {edition.first_seen[:10]}, last seen {edition.last_seen[:10]}, {rows}{changes}"
    return f"{told}  ({', '.join(filter(None, marks))})" if any(marks) else told


def _keys(lake: Lake) -> Iterator[str]:
    """The keys of the files that have editions; each is that which a file goes by in raw/."""
    ending = ".editions.json"
    return (key.removesuffix(ending) for key in lake.listed("raw") if key.endswith(ending))


if __name__ == "__main__":
    main()
