"""published: the files that the demo downloads: those of a folder or a URL, or months that it generates."""

from __future__ import annotations

import csv
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from devtools.demo.choice import OFFICIAL
from devtools.environment import LOCAL, ROOT
from include.nyc_taxi import Month, TripFile, catalog
from include.nyc_taxi.errors import NotPublished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from devtools.demo.choice import Choice

PUBLISHED = LOCAL / "published"
# Part of the URL of each generated file, so that ledger and lake tell them from real ones.
GENERATED = "generated"
COUNTS = PUBLISHED / f"{GENERATED}.csv"
PREFERRED_PORT = 25433
# Where the files of a source may be, relative to the folder that SOURCE names.
PLACES = {"official": ("", ".."), "csv_mirror": ("csv-mirror", "", ".."), "csv_archive": ("", "..")}


class Origin(NamedTuple):
    """Where files come from: a source of the catalogue, the URL that its paths are under, and settings for Airflow."""

    source: str
    base_url: str
    environment: dict[str, str]


@contextmanager
def origin(choice: Choice, say: Callable[[str], None]) -> Iterator[Origin]:
    """Serve the files that were asked for over HTTP on loopback, unless a URL names them.

    Raises:
        TaxiError: the URL does not answer, or does not have one of the files.
    """
    if choice.source is not None and "://" in choice.source:
        _ask(choice.files, choice.source)
        yield Origin(OFFICIAL, choice.source, {})
        return
    if choice.source is None:
        generate(choice.files, say)
        folder, source, under = PUBLISHED, OFFICIAL, f"/{GENERATED}"
        environment = {catalog.PUBLISHED_FILES_VARIABLE: str(COUNTS)}
    else:
        folder, source = _found(choice.files, Path(choice.source))
        under, environment = "", {}
    from devtools.servers.postgres import free_port
    from devtools.servers.publisher import Publisher

    # The same port each time, as a file at another URL would be downloaded again.
    with Publisher(folder, port=free_port(PREFERRED_PORT)) as publisher:
        yield Origin(source, publisher.base_url + under, environment)


def _ask(files: Sequence[TripFile], base_url: str) -> None:
    """Ask for each file once, as the tasks would try for a minute."""
    from include.nyc_taxi.download import ask, connect

    source = catalog.source(OFFICIAL)
    with connect() as client:
        for file in files:
            known_url = source.known_url(file.service, base_url)
            try:
                ask(client, source.url(file, base_url), known_url, source.redirect_hosts)
            except NotPublished as missing:
                raise NotPublished(f"{missing}; give another MONTH or SOURCE") from None


def path_of(file: TripFile) -> Path:
    """Return the path of a generated file."""
    return PUBLISHED / GENERATED / catalog.source(OFFICIAL).path_of(file)


def generate(files: Sequence[TripFile], say: Callable[[str], None]) -> None:
    """Generate those files that are missing, and list the rows of all in COUNTS.

    Another process may do the same at the same time.
    """
    missing = [file for file in files if not path_of(file).exists()]
    for number, file in enumerate(missing, start=1):
        of_all = f" ({number} of {len(missing)})" if len(missing) > 1 else ""
        say(f"generating a month of trips{of_all}: {path_of(file).relative_to(ROOT)}")
        _generate(file)
    _count(files)


def _generate(file: TripFile) -> None:
    from devtools.generator import usual_rows, write_month

    path, known = path_of(file), catalog.expected(file, OFFICIAL)
    # Never more rows than the real file has: that one would seem to have lost some when it is loaded later.
    rows = min(usual_rows(file, OFFICIAL), known.rows if known else sys.maxsize)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _replaced(path) as unfinished:
        write_month(file, unfinished, rows=rows)


def _count(files: Sequence[TripFile]) -> None:
    """Write what is known of the generated files, so that nobody expects the rows of the publisher's."""
    counted = {} if not COUNTS.exists() else _counted(COUNTS.read_text(encoding="utf-8"))
    if all(file in counted for file in files):
        return
    with _replaced(COUNTS) as unfinished, unfinished.open("w", newline="") as text:
        table = csv.DictWriter(text, ["source", "service", "month", "rows", "bytes", "last_modified"])
        table.writeheader()
        table.writerows((counted | {file: _facts(file) for file in files if file not in counted}).values())


def _counted(text: str) -> dict[TripFile, dict[str, str]]:
    """Return the rows of the files that are still there."""
    rows = {TripFile(row["service"], Month.parse(row["month"])): row for row in csv.DictReader(text.splitlines())}
    return {file: row for file, row in rows.items() if path_of(file).exists()}


def _facts(file: TripFile) -> dict[str, str]:
    from pyarrow import parquet

    path = path_of(file)
    return {
        "source": OFFICIAL,
        "service": file.service,
        "month": str(file.month),
        "rows": str(parquet.read_metadata(path).num_rows),
        "bytes": str(path.stat().st_size),
        "last_modified": "the generator",
    }


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    unfinished = path.with_suffix(f".{os.getpid()}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _found(files: Sequence[TripFile], named: Path) -> tuple[Path, str]:
    """Return the folder to serve as a source's base URL, and the source: the first that has every file."""
    tried = []
    for source, places in PLACES.items():
        for place in places:
            folder = (named / place).resolve()
            missing = [path for file in files if not (path := folder / catalog.source(source).path_of(file)).is_file()]
            if not missing:
                return folder, source
            tried.append(str(missing[0]))
    what = files[0] if len(files) == 1 else f"{files[0]} to {files[-1].month}"
    sys.exit("\n  ".join([f"{what} is not in {named}; these are missing", *tried]))
