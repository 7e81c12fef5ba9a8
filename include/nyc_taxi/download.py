"""download: download a published file into raw/ of the lake, and again if the publisher has replaced it."""

from __future__ import annotations

import hashlib
import logging
import re
import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from time import sleep
from typing import TYPE_CHECKING, Literal
from zipfile import BadZipFile, ZipFile

import httpx

from include.nyc_taxi import catalog
from include.nyc_taxi.errors import DamagedFile, NotPublished, PermanentError, SourceThrottled, SourceUnavailable
from include.nyc_taxi.lake import Lake, Manifest, raw_key, sha256_of
from include.nyc_taxi.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from include.nyc_taxi.trip_file import TripFile

log = logging.getLogger(__name__)

ONE_DAY = timedelta(days=1)
STALLED_SECONDS = 60.0
_CHUNK_BYTES = 1 << 20
_ATTEMPTS = 5
_NO_HEAD = (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
_CSV_HEADER = re.compile(rb'(\xef\xbb\xbf)?[\w" ]+,[^\n<{]*\n')
_LONGEST_REASON = 500
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True)
class Fetched:
    """Describes a raw file of the lake, and whether it was downloaded, found unchanged, or taken without a request."""

    key: str
    manifest: Manifest
    outcome: Literal["downloaded", "unchanged", "cached"]


def fetch(
    file: TripFile,
    lake: Lake,
    *,
    source: str = "official",
    base_url: str | None = None,
    cache_ttl: timedelta = ONE_DAY,
    force: bool = False,
    timeout: float = STALLED_SECONDS,
    pause: float = 1.0,
) -> Fetched:
    """Download a trip file into raw/, unless the cached copy is fresh or the publisher confirms it.

    Args:
        file: the service and month.
        lake: the lake to download into.
        source: the source of the catalogue that publishes the file.
        base_url: the URL that the source's paths are under, if it is not the publisher's.
        cache_ttl: how long a cached copy is fresh: it is used without a request.
        force: download the file even if a cached copy is there.
        timeout: seconds without a byte after which the server counts as stalled.
        pause: seconds before the second attempt of a download; it doubles with each further attempt.

    Raises:
        NotPublished: the source does not have the file, or not yet.
        SourceUnavailable: the server failed, stalled, cut the connection or throttles us.
        DamagedFile: the server's file is cut, empty or not of its format.
        PermanentError: the source never had the month, or the server rejects the request.
    """
    origin = catalog.source(source)
    era = catalog.service(file.service).era(source, file.month)
    return fetch_url(
        origin.url(file, base_url),
        raw_key(file, source),
        lake,
        source=source,
        schema_era=era.name,
        known_url=origin.known_url(file.service, base_url),
        cache_ttl=cache_ttl,
        force=force,
        timeout=timeout,
        pause=pause,
    )


def fetch_url(
    url: str,
    key: str,
    lake: Lake,
    *,
    source: str,
    known_url: str,
    schema_era: str | None = None,
    cache_ttl: timedelta = ONE_DAY,
    force: bool = False,
    timeout: float = STALLED_SECONDS,
    pause: float = 1.0,
) -> Fetched:
    """Download a URL into raw/ under a key; arguments and errors are those of `fetch`.

    `known_url` is a URL of the source that has been there for years: it tells "not published" from "throttled".
    `schema_era` is the era of a trip file's month, None for other files.
    """
    name, asked_at = key.rpartition("/")[2], datetime.now(UTC)
    held = None if force else _held(lake, key, url)
    if held is not None and asked_at - datetime.fromisoformat(held.checked_at) < cache_ttl:
        log.info("%s: raw file is there, checked at %s: no request made", name, held.checked_at)
        return Fetched(key, held, "cached")
    try:
        with connect(timeout) as client, lake.staged(key) as path, path.open("wb") as out:
            transfer = _Transfer(client, url, known_url, out=out, path=path, held=held)
            transfer.run(pause)
            lake.forget_manifest(key)
    except _NotModified as unchanged:
        manifest = replace(unchanged.held, checked_at=asked_at.isoformat())
        lake.write_manifest(key, manifest)
        log.info("%s: unchanged at %s since %s", name, url, manifest.fetched_at)
        return Fetched(key, manifest, "unchanged")
    manifest = replace(transfer.manifest(source, asked_at), schema_era=schema_era)
    lake.write_manifest(key, manifest)
    log.info("%s: downloaded %s, %s bytes, sha256 %s", name, url, f"{manifest.bytes:,}", manifest.sha256)
    return Fetched(key, manifest, "downloaded")


def ask(client: httpx.Client, url: str, known_url: str) -> httpx.Headers:
    """Request the headers of a URL, without its bytes.

    Args:
        client: from `connect`.
        url: the URL to ask for.
        known_url: a URL of the source that has been there for years.

    Raises:
        NotPublished: the source does not have the file, or not yet.
        SourceThrottled: the server asks us to slow down.
        SourceUnavailable: the server failed, stalled or cut the connection.
    """
    try:
        answer = _head(client, url)
        if answer.status_code != HTTPStatus.OK:
            raise _refusal(client, url, known_url, answer)
    except httpx.UnsupportedProtocol as error:
        raise _no_web_server(url, error) from error
    except httpx.RequestError as error:
        raise SourceUnavailable(f"{url}: {type(error).__name__}: {error}") from error
    return answer.headers


def connect(timeout: float = STALLED_SECONDS) -> httpx.Client:
    """Open a client that names this bundle to the server; the caller closes it. `timeout` is as in `fetch`."""
    # A server that compresses on the fly would send other bytes, and another length, than the published file.
    headers = {"Accept-Encoding": "identity", "User-Agent": "nyc-taxi-bundle"}
    return httpx.Client(follow_redirects=True, timeout=timeout, headers=headers)


def _held(lake: Lake, key: str, url: str) -> Manifest | None:
    """Return the manifest of the raw file if it is from this URL and complete, else None."""
    manifest = lake.manifest(key)
    if manifest is None or manifest.url != url or lake.size(key) != manifest.bytes:
        return None
    if lake.is_local:
        with lake.local(key) as path:
            return manifest if sha256_of(path) == manifest.sha256 else None
    return manifest


class _NotModified(Exception):
    """The server confirms that the cached copy is current."""

    def __init__(self, held: Manifest) -> None:
        self.held = held


class _Transfer:
    """Downloads one file to a local path, in as many requests as it takes."""

    def __init__(
        self, client: httpx.Client, url: str, known_url: str, *, out: BinaryIO, path: Path, held: Manifest | None
    ) -> None:
        self.client = client
        self.url = url
        self.known_url = known_url
        self.out = out
        self.path = path
        self.held = held
        self.etag: str | None = None
        self.last_modified: str | None = None
        self.progress: Progress | None = None
        self._restart()

    def run(self, pause: float) -> None:
        """Download the complete file and check it.

        Raises: as `fetch`.
        """
        damaged: str | None = None
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._request()
                self._check_whole()
            except SourceThrottled:
                raise
            except httpx.UnsupportedProtocol as error:
                raise _no_web_server(self.url, error) from error
            except (httpx.RequestError, SourceUnavailable) as error:
                # httpx quotes a garbled answer at full length.
                reason = f"{type(error).__name__}: {error}"[:_LONGEST_REASON]
            except DamagedFile as error:
                if damaged == self.digest.hexdigest():
                    raise
                damaged, reason = self.digest.hexdigest(), str(error)
                self._restart()
            else:
                return
            if attempt < _ATTEMPTS:
                log.warning("%s: attempt %d ended at %s bytes: %s", self.url, attempt, f"{self.offset:,}", reason)
                sleep(pause * 2 ** (attempt - 1))
        raise SourceUnavailable(f"{self.url}: gave up after {_ATTEMPTS} attempts: {reason}")

    def manifest(self, source: str, asked_at: datetime) -> Manifest:
        """Describe what was downloaded."""
        return Manifest(
            source=source,
            url=self.url,
            etag=self.etag,
            last_modified=self.last_modified,
            bytes=self.offset,
            sha256=self.digest.hexdigest(),
            fetched_at=asked_at.isoformat(),
            checked_at=asked_at.isoformat(),
        )

    def _restart(self) -> None:
        self.offset = 0
        self.total: int | None = None
        self.digest = hashlib.sha256()
        self.out.seek(0)
        self.out.truncate()

    def _request(self) -> None:
        if self.offset and self._validator is None:
            self._restart()
        with self.client.stream("GET", self.url, headers=self._headers()) as response:
            self._accept(response)
            if self.progress is None:
                self.progress = Progress(self.url.rpartition("/")[2], "bytes", self.total)
            for chunk in response.iter_raw():
                self.out.write(chunk)
                self.digest.update(chunk)
                self.offset += len(chunk)
                self.progress.advance(len(chunk))
        self.out.flush()
        if self.total is not None and self.offset != self.total:
            raise SourceUnavailable(f"received {self.offset:,} of {self.total:,} bytes")

    @property
    def _validator(self) -> str | None:
        """The ETag or date that proves that both parts of a resumed download are of the same file."""
        if self.etag is not None and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified

    def _headers(self) -> dict[str, str]:
        if self.offset and self._validator is not None:
            return {"Range": f"bytes={self.offset}-", "If-Range": self._validator}
        if self.held is not None and self.held.etag is not None:
            return {"If-None-Match": self.held.etag}
        if self.held is not None and self.held.last_modified is not None:
            return {"If-Modified-Since": self.held.last_modified}
        return {}

    def _accept(self, response: httpx.Response) -> None:
        """Accept the answer as the file or as the rest of it, or raise the error that it stands for."""
        if response.status_code == HTTPStatus.NOT_MODIFIED and self.held is not None:
            raise _NotModified(self.held)
        if response.status_code == HTTPStatus.PARTIAL_CONTENT and self.offset:
            if self._continues(response):
                return
            self._restart()
            raise SourceUnavailable("the file changed during the download, or the server sent another part")
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and self.offset:
            self._restart()
            raise SourceUnavailable("the file became shorter during the download")
        if response.status_code != HTTPStatus.OK:
            raise _refusal(self.client, self.url, self.known_url, response)
        self._restart()
        self.etag = response.headers.get("ETag")
        self.last_modified = response.headers.get("Last-Modified")
        length = response.headers.get("Content-Length", "")
        self.total = int(length) if length.isdecimal() else None

    def _continues(self, response: httpx.Response) -> bool:
        part = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        return (
            part is not None
            and int(part[1]) == self.offset
            and (self.total is None or part[2] in ("*", str(self.total)))
            and response.headers.get("ETag", self.etag) == self.etag
            and response.headers.get("Last-Modified", self.last_modified) == self.last_modified
        )

    def _check_whole(self) -> None:
        """Check that the bytes are a complete file of the format that its suffix names."""
        if self.offset == 0:
            raise DamagedFile(f"{self.url}: the file is empty")
        try:
            if self.url.endswith(".gz"):
                _check_gzip(self.path)
            elif self.url.endswith(".parquet"):
                _check_parquet(self.path)
            elif self.url.endswith(".zip"):
                _check_zip(self.path)
            elif self.url.endswith(".csv"):
                _check_csv(self.path)
        except ValueError as error:
            with self.path.open("rb") as file:
                start = file.read(32)
            raise DamagedFile(
                f"{self.url}: {self.offset:,} bytes that begin with {start!r} are not a complete "
                f"{self.url.rpartition('.')[2]} file: {error}"
            ) from error


def _no_web_server(url: str, error: httpx.UnsupportedProtocol) -> PermanentError:
    return PermanentError(f"{url}: is not the URL of a web server, expected http:// or https://: {error}")


def _refusal(client: httpx.Client, url: str, known_url: str, response: httpx.Response) -> Exception:
    """Return the error that an answer without the file stands for."""
    status = response.status_code
    answer = f"{url}: HTTP {status}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return SourceThrottled(f"{answer}, retry after {response.headers.get('Retry-After', 'a while')}")
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return NotPublished(f"{answer}: the source does not have the file")
    if status == HTTPStatus.FORBIDDEN:
        return _forbidden(client, answer, known_url)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return SourceUnavailable(answer)
    return PermanentError(f"{answer}, expected 200")


def _forbidden(client: httpx.Client, answer: str, known_url: str) -> Exception:
    """Ask for a known file: the official source answers 403 for an unpublished month and to throttle a client."""
    known = _head(client, known_url).status_code
    if known == HTTPStatus.OK:
        return NotPublished(
            f"{answer}, and {known_url} is there: the month is not published (yet); "
            "the publisher is about two months behind"
        )
    return SourceThrottled(f"{answer}, and HTTP {known} for {known_url}, which has been there for years")


def _head(client: httpx.Client, url: str) -> httpx.Response:
    """Request a URL without its body, by GET if the server does not know HEAD."""
    head = client.head(url)
    if head.status_code not in _NO_HEAD:
        return head
    with client.stream("GET", url) as response:
        return response


def _check_gzip(path: Path) -> None:
    from isal import igzip, igzip_lib

    try:
        with igzip.open(path, "rb") as file:
            while file.read(_CHUNK_BYTES):
                pass
    except (OSError, EOFError, igzip_lib.IsalError) as error:
        raise ValueError(str(error)) from error


def _check_parquet(path: Path) -> None:
    from pyarrow import parquet

    try:
        parquet.read_metadata(path)
    except OSError as error:
        raise ValueError(str(error)) from error


def _check_csv(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(_CHUNK_BYTES)
    if not _CSV_HEADER.match(start):
        raise ValueError("its first line is not column names with commas between them")


def _check_zip(path: Path) -> None:
    try:
        with ZipFile(path) as archive:
            damaged = archive.testzip()
    except (BadZipFile, zlib.error) as error:
        raise ValueError(str(error)) from error
    if damaged is not None:
        raise ValueError(f"its member {damaged} is damaged")
