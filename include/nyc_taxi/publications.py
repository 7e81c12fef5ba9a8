"""published: what the publisher has on the web, kept in the lake and brought up to date with few requests.

The lake's object `published/{source}.json` holds it. Where there is none yet, the catalogue says what was once seen.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from time import sleep
from typing import TYPE_CHECKING, Any

from include.nyc_taxi import catalog
from include.nyc_taxi.download import STALLED_SECONDS, ask, connect
from include.nyc_taxi.errors import NotPublished, SourceUnavailable
from include.nyc_taxi.month import Month
from include.nyc_taxi.trip_file import TripFile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import httpx

    from include.nyc_taxi.lake import Lake

log = logging.getLogger(__name__)

_ATTEMPTS = 3
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Publication:
    """A published file as the publisher last described it.

    `checked_at` is when that was; None where only the catalogue knows the file, whose `last_modified` is then a bare
    date.
    """

    file: TripFile
    etag: str | None = None
    last_modified: str | None = None
    bytes: int | None = None
    checked_at: datetime | None = None


@dataclass(frozen=True)
class Survey:
    """What is published, by file; how often the publisher was asked, and why that ended early, if it did."""

    published: dict[TripFile, Publication]
    asked: int
    stopped: str | None


def known(lake: Lake, source: str = "official") -> dict[TripFile, Publication]:
    """What is known to be published, without a request: by the last survey, else by the catalogue."""
    try:
        with lake.open(_key(source)) as file:
            files = json.load(file)["files"]
    except FileNotFoundError:
        return _known_to_catalog(source)
    return {publication.file: publication for publication in map(_read, files)}


def survey(
    lake: Lake,
    *,
    source: str = "official",
    base_url: str | None = None,
    services: Collection[str] | None = None,
    since: Month | None = None,
    recheck: int = 24,
    now: datetime | None = None,
    timeout: float = STALLED_SECONDS,
    pause: float = 15.0,
) -> Survey:
    """Ask the publisher what is new or was replaced, one request after the other, and keep the answers in the lake.

    Asked for are the newest known month of each service and the months that are not known, then the files whose last
    check is longest ago, of those the newest month first. A publisher who fails or throttles us is given time, and
    after some attempts left alone: the survey ends with what it has learnt.

    Args:
        lake: where what is known lies.
        source: who publishes, by the catalogue.
        base_url: where the source's paths begin, if not at the publisher itself.
        services: those to ask for; none given, all.
        since: the first month to ask for.
        recheck: so many files are asked for besides the newest.
        now: the time of the survey.
        timeout: seconds without a byte after which the server counts as stalled.
        pause: seconds before the second attempt of a request that was refused; it doubles with each further one.
    """
    now = now or datetime.now(UTC)
    origin, published, asked, stopped = catalog.source(source), known(lake, source), 0, None
    files = _newest(published, source, services or catalog.services(), since, Month.of(now))
    files += _oldest_checked(published, files, services or catalog.services(), since)[:recheck]
    found: Counter[str] = Counter()
    with connect(timeout) as client:
        for file in files:
            try:
                answer = _ask(client, origin.url(file, base_url), origin.known_url(file.service, base_url), pause)
            except SourceUnavailable as error:
                stopped = str(error)
                log.warning("%s: the survey ends after %d of %d requests: %s", source, asked, len(files), error)
                break
            asked += 1
            seen = None if answer is None else _publication(file, answer, now)
            found[_news(published.get(file), seen)] += 1
            if seen is None:
                published.pop(file, None)
            else:
                published[file] = seen
    _write(lake, source, published)
    log.info("%s: %d files are published; asked for %d: %s", source, len(published), asked, dict(found) or "none")
    return Survey(published, asked, stopped)


def _newest(
    published: Iterable[TripFile], source: str, services: Collection[str], since: Month | None, this_month: Month
) -> list[TripFile]:
    """The newest known file of each service, and every month that is not known up to the last one that has ended."""
    files: list[TripFile] = []
    for name in services:
        service = catalog.service(name)
        eras = service.eras.get(source)
        if eras:
            known_months = {file.month for file in published if file.service == name}
            newest = max(known_months, default=None)
            first = max(eras[0].since, since or eras[0].since)
            last = min(this_month - 1, service.last.get(source, this_month))
            months = (month for month in Month.range(first, last) if month == newest or month not in known_months)
            files += (TripFile(name, month) for month in months)
    return files


def _oldest_checked(
    published: dict[TripFile, Publication],
    without: Collection[TripFile],
    services: Collection[str],
    since: Month | None,
) -> list[TripFile]:
    others = [
        file
        for file in published
        if file.service in services and file not in without and (since is None or file.month >= since)
    ]
    newest_first = sorted(others, key=lambda file: (file.month, file.service), reverse=True)
    return sorted(newest_first, key=lambda file: published[file].checked_at or _NEVER)


def _ask(client: httpx.Client, url: str, known_url: str, pause: float) -> httpx.Headers | None:
    """How the publisher describes what lies at the URL; None where nothing does."""
    for attempt in range(1, _ATTEMPTS):
        try:
            return _ask_once(client, url, known_url)
        except SourceUnavailable as error:
            seconds = pause * 2 ** (attempt - 1)
            log.warning("asking again in %.0f s: %s", seconds, error)
            sleep(seconds)
    return _ask_once(client, url, known_url)


def _ask_once(client: httpx.Client, url: str, known_url: str) -> httpx.Headers | None:
    try:
        return ask(client, url, known_url)
    except NotPublished:
        return None


def _publication(file: TripFile, answer: httpx.Headers, now: datetime) -> Publication:
    length = answer.get("Content-Length", "")
    return Publication(
        file=file,
        etag=answer.get("ETag"),
        last_modified=answer.get("Last-Modified"),
        bytes=int(length) if length.isdecimal() else None,
        checked_at=now,
    )


def _news(before: Publication | None, seen: Publication | None) -> str:
    if seen is None:
        return "gone" if before else "not published"
    if before is None:
        return "new"
    if before.checked_at is None:
        return "confirmed"
    return "unchanged" if _identity(before) == _identity(seen) else "republished"


def _identity(publication: Publication) -> tuple[str | int | None, ...]:
    return (publication.etag or publication.last_modified, publication.bytes)


def _known_to_catalog(source: str) -> dict[TripFile, Publication]:
    """The files that were once seen, and those of the months that the source's eras span."""
    published = {}
    for name, service in catalog.services().items():
        eras = service.eras.get(source)
        if not eras:
            continue
        seen = [Month.parse(month) for its, of, month in catalog.expectations() if (its, of) == (source, name)]
        for month in Month.range(eras[0].since, service.last.get(source, max([*seen, eras[-1].since]))):
            file = TripFile(name, month)
            expected = catalog.expected(file, source)
            published[file] = (
                Publication(file, last_modified=expected.last_modified, bytes=expected.bytes)
                if expected
                else Publication(file)
            )
    return published


def _write(lake: Lake, source: str, published: dict[TripFile, Publication]) -> None:
    files = [_spelled(published[file]) for file in sorted(published)]
    with lake.staged(_key(source)) as path:
        path.write_text(json.dumps({"files": files}, indent=1) + "\n", encoding="utf-8")


def _spelled(publication: Publication) -> dict[str, str | int | None]:
    checked_at = None if publication.checked_at is None else publication.checked_at.isoformat()
    return asdict(publication) | {"file": publication.file.name, "checked_at": checked_at}


def _read(spelled: dict[str, Any]) -> Publication:
    checked_at = spelled["checked_at"] and datetime.fromisoformat(spelled["checked_at"])
    return Publication(**spelled | {"file": TripFile.parse(spelled["file"]), "checked_at": checked_at})


def _key(source: str) -> str:
    catalog.source(source)
    return f"published/{source}.json"
