"""publications: keep a list of the published files in the lake, and update it with few requests.

The list is the lake's object `published/{source}.json`. Before the first survey it comes from the catalogue. It also
has the files that a survey asked for in vain: of all other files nobody knows whether they are published.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from time import sleep
from typing import TYPE_CHECKING, Any, NamedTuple

from include.nyc_taxi import catalog
from include.nyc_taxi.download import STALLED_SECONDS, ask, connect
from include.nyc_taxi.errors import NotPublished, SourceUnavailable
from include.nyc_taxi.month import Month
from include.nyc_taxi.trip_file import TripFile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import httpx

    from include.nyc_taxi.catalog import Source
    from include.nyc_taxi.lake import Lake

log = logging.getLogger(__name__)

_ATTEMPTS = 3
_NEWEST_WITHIN_MONTHS = 60
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Publication:
    """Describes a published file as the publisher last did.

    `bytes` is its size, and `checked_at` is when the publisher described it. `checked_at` is None if the catalogue
    alone knows the file; `last_modified` then is a date.
    """

    file: TripFile
    etag: str | None = None
    last_modified: str | None = None
    bytes: int | None = None
    checked_at: datetime | None = None


@dataclass(frozen=True)
class Survey:
    """The result of a survey.

    `published` has every published file, `absent` the files that the publisher did not have, and when it was asked.
    `asked` is the number of requests, and `stopped` is why the survey ended early, None if it did not.
    """

    published: dict[TripFile, Publication]
    absent: dict[TripFile, datetime]
    asked: int
    stopped: str | None


class Listed(NamedTuple):
    """What is known of the publisher's files: those that it has, and when it was asked for others in vain."""

    published: dict[TripFile, Publication]
    absent: dict[TripFile, datetime]


def listed(lake: Lake, source: str = "official") -> Listed:
    """Return what the surveys have found, or the catalogue's files if there was none, without a request."""
    try:
        with lake.open(_key(source)) as file:
            found = json.load(file)
    except FileNotFoundError:
        return Listed(_known_to_catalog(source), {})
    published = {publication.file: publication for publication in map(_read, found["files"])}
    absent = {TripFile.parse(name): datetime.fromisoformat(at) for name, at in found.get("absent", {}).items()}
    return Listed(published, absent)


def known(lake: Lake, source: str = "official") -> dict[TripFile, Publication]:
    """Return the published files of the last survey, or of the catalogue if there was none, without a request."""
    return listed(lake, source).published


def survey(
    lake: Lake,
    *,
    source: str = "official",
    base_url: str | None = None,
    redirect_hosts: Sequence[str] = (),
    services: Collection[str] | None = None,
    since: Month | None = None,
    recheck: int = 24,
    now: datetime | None = None,
    timeout: float = STALLED_SECONDS,
    pause: float = 15.0,
) -> Survey:
    """Ask the publisher which files are new or replaced, one request at a time, and keep the answers in the lake.

    Checks the newest known month of each service and the unknown months first, then the files that were checked
    longest ago; of equally old checks, the newest month first. If the publisher fails or throttles us, the survey
    waits and retries, and then ends with what it has learnt.

    Args:
        lake: the lake that keeps the list.
        source: the source of the catalogue to ask.
        base_url: the URL that the source's paths are under, if it is not the publisher's.
        redirect_hosts: other hosts that the source may redirect to, besides its own and those of the catalogue.
        services: the services to ask for; None is all.
        since: the first month to ask for; None is the source's first.
        recheck: how many files to check besides the newest and the unknown.
        now: the time of the survey; None is the current time.
        timeout: seconds without a byte after which the server counts as stalled.
        pause: seconds before the second attempt of a failed request; it doubles with each further attempt.
    """
    now = now or datetime.now(UTC)
    published, missing = listed(lake, source)
    files = _newest(published, source, services or catalog.services(), since, Month.of(now))
    files += _oldest_checked(published, files, services or catalog.services(), since)[:recheck]
    with connect(timeout) as client:
        way = _Way(client, catalog.source(source), base_url, redirect_hosts, pause)
        asked, stopped = _update(published, missing, files, way, now)
    _write(lake, source, published, missing)
    return Survey(published, missing, asked, stopped)


def newest(
    service: str,
    source: str = "official",
    *,
    base_url: str | None = None,
    redirect_hosts: Sequence[str] = (),
    now: datetime | None = None,
) -> TripFile:
    """Ask the publisher for the newest file of a service, from the last month that has ended back for five years.

    Args:
        service: the name of the service.
        source: the source of the catalogue to ask.
        base_url: the URL that the source's paths are under, if it is not the publisher's.
        redirect_hosts: other hosts that the source may redirect to, besides its own and those of the catalogue.
        now: the time of the question; None is the current time.

    Raises:
        NotPublished: the source has none of them.
        SourceUnavailable: the server failed, stalled or cut the connection.
    """
    ended = Month.of(now or datetime.now(UTC)) - 1
    last = min(ended, catalog.service(service).last.get(source, ended))
    with connect() as client:
        way = _Way(client, catalog.source(source), base_url, redirect_hosts, pause=0)
        for back in range(_NEWEST_WITHIN_MONTHS):
            file = TripFile(service, last - back)
            if way.ask(file) is not None:
                return file
    raise NotPublished(
        f"{service}: {way.origin.name} has no file of {last - _NEWEST_WITHIN_MONTHS + 1} to {last}; choose a month by "
        f"the params year and month, or correct the host of connection {way.origin.connection!r}"
    )


class _Way(NamedTuple):
    """How a survey asks its source."""

    client: httpx.Client
    origin: Source
    base_url: str | None
    redirect_hosts: Sequence[str]
    pause: float

    def ask(self, file: TripFile) -> httpx.Headers | None:
        """Return the publisher's headers for a file, None if it is not published."""
        known_url = self.origin.known_url(file.service, self.base_url)
        hosts = (*self.origin.redirect_hosts, *self.redirect_hosts)
        try:
            return ask(self.client, self.origin.url(file, self.base_url), known_url, hosts)
        except NotPublished:
            return None


def _update(
    published: dict[TripFile, Publication],
    missing: dict[TripFile, datetime],
    files: Collection[TripFile],
    way: _Way,
    now: datetime,
) -> tuple[int, str | None]:
    """Ask for each file and note the answer in `published` or `missing`.

    Returns how many were asked for, and why it ended early.
    """
    source, stopped = way.origin.name, None
    found: Counter[str] = Counter()
    for file in files:
        try:
            answer = _ask(way, file)
        except SourceUnavailable as error:
            stopped = str(error)
            log.warning("%s: stopped after %d of %d requests: %s", source, found.total(), len(files), error)
            break
        seen = None if answer is None else _publication(file, answer, now)
        found[_news(published.get(file), seen)] += 1
        if seen is None:
            published.pop(file, None)
            missing[file] = now
        else:
            missing.pop(file, None)
            published[file] = seen
    log.info("%s: checked %d files: %s; %d are published", source, found.total(), dict(found) or "none", len(published))
    return found.total(), stopped


def _newest(
    published: Iterable[TripFile], source: str, services: Collection[str], since: Month | None, this_month: Month
) -> list[TripFile]:
    """Return the newest known file of each service, and every unknown month up to the last one that has ended."""
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


def _ask(way: _Way, file: TripFile) -> httpx.Headers | None:
    """Return the publisher's headers for a file, None if it is not published; retry if the server fails."""
    for attempt in range(1, _ATTEMPTS):
        try:
            return way.ask(file)
        except SourceUnavailable as error:
            seconds = way.pause * 2 ** (attempt - 1)
            log.warning("%s: retrying in %.0f s", error, seconds)
            sleep(seconds)
    return way.ask(file)


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
    """Return the files that the catalogue lists, and those of every month in the source's eras."""
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


def _write(
    lake: Lake, source: str, published: dict[TripFile, Publication], missing: Mapping[TripFile, datetime]
) -> None:
    files = [_spelled(published[file]) for file in sorted(published)]
    asked_in_vain = {file.name: missing[file].isoformat() for file in sorted(missing)}
    with lake.staged(_key(source)) as path:
        path.write_text(json.dumps({"files": files, "absent": asked_in_vain}, indent=1) + "\n", encoding="utf-8")


def _spelled(publication: Publication) -> dict[str, str | int | None]:
    checked_at = None if publication.checked_at is None else publication.checked_at.isoformat()
    return asdict(publication) | {"file": publication.file.name, "checked_at": checked_at}


def _read(spelled: dict[str, Any]) -> Publication:
    checked_at = spelled["checked_at"] and datetime.fromisoformat(spelled["checked_at"])
    return Publication(**spelled | {"file": TripFile.parse(spelled["file"]), "checked_at": checked_at})


def _key(source: str) -> str:
    catalog.source(source)
    return f"published/{source}.json"
