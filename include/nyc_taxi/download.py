"""download: download a published file into raw/ of the lake, and again if the publisher has replaced it."""

from __future__ import annotations

import hashlib
import logging
import re
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack
from zipfile import BadZipFile, ZipFile

import httpx

from include.nyc_taxi import catalog, editions, faults, formats, limits
from include.nyc_taxi.addresses import Address, shown
from include.nyc_taxi.errors import (
    DamagedFile,
    LakeChanged,
    NotPublished,
    PermanentError,
    SetUpError,
    ShrunkenEdition,
    SourceThrottled,
    SourceUnavailable,
    TooLarge,
)
from include.nyc_taxi.lake import Lake, raw_key, sha256_of
from include.nyc_taxi.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import BinaryIO

    from include.nyc_taxi.editions import Edition, History
    from include.nyc_taxi.trip_file import TripFile

log = logging.getLogger(__name__)

ONE_DAY = timedelta(days=1)
STALLED_SECONDS = 30.0
_CONNECT_SECONDS = 10.0
_CHUNK_BYTES = 1 << 20
_ATTEMPTS = 5
_ADDRESS = "nyc_taxi_address"
_WANTS_LOGIN = (HTTPStatus.UNAUTHORIZED, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED)
_NO_HEAD = (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
_CSV_HEADER = re.compile(rb'(\xef\xbb\xbf)?[\w" :.]*,[^\n<{]*\n')
_MOST_MEMBERS = 1_000
_SLOWEST_BYTES_A_SECOND = 1_000
_SPEED_WINDOW_SECONDS = 60.0
_TOTAL = re.compile(r"/(\d+)$")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True)
class Fetched:
    """Describes an edition in raw/, and whether it was downloaded, found unchanged, or taken without a request.

    `key` is that of its bytes.
    """

    key: str
    edition: Edition
    outcome: Literal["downloaded", "unchanged", "cached"]


class Options(TypedDict, total=False):
    """How a file is downloaded, for `fetch`.

    `edition` is another edition than the current one: its sha256, the first 8 digits of that or more, or the date as of
    which it was current. An edition that was held back is accepted by naming it. `cache_ttl` is how long a cached
    edition is fresh: it is used without a request. `force` downloads the file even if a cached edition is there.
    `timeout` is the seconds without a byte after which the server counts as stalled. `pause` is the seconds before the
    second attempt of a download; it doubles with each further attempt.
    """

    edition: str | None
    cache_ttl: timedelta
    force: bool
    timeout: float
    pause: float


def fetch(
    file: TripFile,
    lake: Lake,
    *,
    source: str = "official",
    base_url: str | None = None,
    redirect_hosts: Sequence[str] = (),
    **options: Unpack[Options],
) -> Fetched:
    """Have the current edition of a trip file in raw/; download it unless the cached one is fresh or confirmed.

    What raw/ has of earlier editions stays.

    Args:
        file: the service and month.
        lake: the lake to download into.
        source: the source of the catalogue that publishes the file.
        base_url: the URL that the source's paths are under, if it is not the publisher's. A login in it is sent.
        redirect_hosts: other hosts that the source may redirect to, besides its own and those of the catalogue.
        options: see `Options`.

    Raises:
        NotPublished: the source does not have the file, or not yet.
        SourceUnavailable: the server failed, stalled, cut the connection or throttles us.
        DamagedFile: the server's file is cut, empty or not of its format.
        TooLarge: it is far larger than any known one.
        PermanentError: the source never had the month, or the server rejects the request.
        SetUpError: the server wants a login, its certificate is not trusted, or it redirects to another host.
        ShrunkenEdition: the publisher's edition is held back, because it lost too many rows.
        LakeChanged: another run added an edition meanwhile, and nothing tells which one is newer.
    """
    origin = catalog.source(source)
    era, expected = catalog.service(file.service).era(source, file.month), catalog.expected(file, source)
    return fetch_url(
        origin.url(file, base_url),
        raw_key(file, source),
        lake,
        source=source,
        schema_era=era.name,
        known_url=origin.known_url(file.service, base_url),
        redirect_hosts=(*origin.redirect_hosts, *redirect_hosts),
        known_bytes=expected.bytes if expected else None,
        if_missing=_another_month(file.service, source),
        **options,
    )


def _another_month(service: str, source: str) -> str:
    """Say which months a source publishes, and how to choose one of them."""
    first, last = catalog.service(service).eras[source][0].since, catalog.service(service).last.get(source)
    return (
        f"{source} has {service} from {first} to {last or 'about two months ago'}: choose another month by the params "
        f"year and month (or months), or correct the host of connection {catalog.source(source).connection!r}"
    )


def fetch_elsewhere(
    file: TripFile, url: str, lake: Lake, *, redirect_hosts: Sequence[str] = (), **options: Unpack[Options]
) -> Fetched:
    """Have the current file of a URL of no publisher in raw/, as the month of a service.

    The URL is a source of its own, so its editions are not compared with those of a publisher, nor of another URL.

    Args:
        file: the service and month that the file is for.
        url: where it is. A login in it is sent, and kept nowhere.
        lake: the lake to download into.
        redirect_hosts: other hosts that it may redirect to.
        options: see `Options`.

    Raises: as `fetch`.
    """
    origin = catalog.elsewhere(url)
    return fetch_url(
        url,
        raw_key(file, origin.name),
        lake,
        source=origin.name,
        schema_era=catalog.service(file.service).era(origin.name, file.month).name,
        known_url=None,
        redirect_hosts=redirect_hosts,
        if_missing="correct the param url",
        **options,
    )


def fetch_url(
    url: str,
    key: str,
    lake: Lake,
    *,
    source: str,
    known_url: str | None,
    if_missing: str = "correct the URL",
    redirect_hosts: Sequence[str] = (),
    known_bytes: int | None = None,
    most_bytes: int | None = None,
    schema_era: str | None = None,
    edition: str | None = None,
    cache_ttl: timedelta = ONE_DAY,
    force: bool = False,
    timeout: float = STALLED_SECONDS,
    pause: float = 1.0,
) -> Fetched:
    """Have the current edition of a URL in raw/ under a key; arguments and errors are those of `fetch`.

    `known_url` is a URL of the source that has been there for years: it tells "not published" from "throttled", which
    nothing does if it is None. `if_missing` says what to do if the source does not have the file. `known_bytes` is the
    size that it once had, `most_bytes` the most it may have, `schema_era` the era of its month.
    """
    name, asked_at, address = key.rpartition("/")[2], datetime.now(UTC), Address.parse(url, redirect_hosts)
    known = editions.history(lake, key)
    if edition and (named := _named(lake, key, known, edition)):
        return Fetched(named.key, named, "cached")
    newest = known.newest
    held = newest if newest and not force and newest.url == str(address) and _is_whole(lake, key, newest) else None
    if held and not edition and _is_fresh(known, asked_at, cache_ttl):
        return _current(lake, key, "cached")
    try:
        with connect(timeout) as client, lake.scratch(key) as path, _advised(if_missing):
            with path.open("wb") as out:
                transfer = _Transfer(client, address, known_url, out=out, path=path, held=held, known_bytes=known_bytes)
                transfer.run(pause, most_bytes or limits.most_bytes())
            after = newest.number if newest else 0
            added = editions.add(lake, key, path, transfer.seen(source, schema_era, at=asked_at, after=after))
    except _NotModified as unchanged:
        editions.confirm(lake, key, unchanged.held, asked_at)
        log.info("%s: edition %s is unchanged at %s", name, unchanged.held.id, address)
        return _current(lake, key, "unchanged", edition)
    log.info("%s: downloaded edition %s, %s bytes, from %s", name, added.id, f"{added.bytes:,}", address)
    return _current(lake, key, "downloaded", edition, offered=added.sha256)


@contextmanager
def _advised(if_missing: str) -> Iterator[None]:
    """Add what to do to the error of a file that the source does not have."""
    try:
        yield
    except NotPublished as missing:
        raise NotPublished(f"{missing}; {if_missing}") from None


def _named(lake: Lake, key: str, known: History, name: str) -> Edition | None:
    """Return the edition of that name; None if its bytes are not in raw/, or if it is not known yet."""
    try:
        edition = known.named(name)
    except NotPublished:
        return None
    if not _is_whole(lake, key, edition):
        return None
    if edition.is_held_back:
        editions.describe(lake, key, edition.sha256, is_held_back=False)
    log.info("%s: using edition %s, as asked", key.rpartition("/")[2], edition)
    return edition


def _current(
    lake: Lake,
    key: str,
    outcome: Literal["downloaded", "unchanged", "cached"],
    edition: str | None = None,
    *,
    offered: str | None = None,
) -> Fetched:
    """Return the edition that is current now, or the named one.

    `offered` is the sha256 of what the publisher has, if that was downloaded just now.

    Raises:
        ShrunkenEdition: the newest one is held back, and the publisher has not gone back to the current one.
        NotPublished: the named one is neither in raw/ nor what the publisher offers.
    """
    name, known = key.rpartition("/")[2], editions.history(lake, key)
    if edition:
        named = _named(lake, key, known, edition)
        if named is None:
            kept = known.named(edition)  # says so if it is not known
            raise NotPublished(f"{name}: the bytes of edition {kept} are no longer kept, and the publisher has others")
        return Fetched(named.key, named, outcome)
    newest, current = known.newest, known.current
    is_taken_back = offered is not None and known.is_current(offered)
    if newest is not None and newest.is_held_back and not is_taken_back:
        raise ShrunkenEdition(f"{name}: {editions.shrunken(known, newest)}")
    if newest is None or current is None:
        raise LakeChanged(f"{name}: another run removed what is known of its editions")
    if outcome == "cached":
        log.info("%s: edition %s is fresh, checked at %s: no request made", name, current.id, known.checked_at)
    return Fetched(current.key, current, outcome)


def _is_fresh(known: History, now: datetime, cache_ttl: timedelta) -> bool:
    """Whether the publisher was asked a short time ago. A check in the future is one by another clock: ask again."""
    if known.checked_at is None:
        return False
    return timedelta(0) <= now - datetime.fromisoformat(known.checked_at) < cache_ttl


def _is_whole(lake: Lake, key: str, edition: Edition) -> bool:
    """Whether raw/ has the edition's bytes. Bytes that are not those of the edition are set aside."""
    stamp = lake.stamp(edition.key)
    if stamp is None:
        return False
    is_same = stamp.bytes == edition.bytes and (edition.md5 is None or stamp.md5 in (None, edition.md5))
    if is_same and lake.is_local:
        with lake.local(edition.key) as path:
            is_same = sha256_of(path) == edition.sha256
    if not is_same:
        editions.set_aside(lake, key, edition, stamp)
    return is_same


def ask(client: httpx.Client, url: str, known_url: str, redirect_hosts: Sequence[str] = ()) -> httpx.Headers:
    """Request the headers of a URL, without its bytes.

    Args:
        client: from `connect`.
        url: the URL to ask for.
        known_url: a URL of the source that has been there for years.
        redirect_hosts: other hosts that the source may redirect to.

    Raises:
        NotPublished: the source does not have the file, or not yet.
        SourceThrottled: the server asks us to slow down.
        SourceUnavailable: the server failed, stalled or cut the connection.
        SetUpError: the server wants a login, its certificate is not trusted, or it redirects to another host.
    """
    address = Address.parse(url, redirect_hosts)
    try:
        answer = _head(client, address)
        if answer.status_code != HTTPStatus.OK:
            raise _refusal(client, address, known_url, answer)
    except httpx.RequestError as error:
        raise faults.of_web(error).error(f"{address}: {_reason(error)}") from error
    return answer.headers


def connect(timeout: float = STALLED_SECONDS) -> httpx.Client:
    """Open a client that names this bundle to the server; the caller closes it. `timeout` is as in `fetch`."""
    # A server that compresses on the fly would send other bytes, and another length, than the published file.
    headers = {"Accept-Encoding": "identity", "User-Agent": "nyc-taxi-bundle"}
    limits = httpx.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS))
    # httpx logs the URL of every request, which may have a signature.
    logging.getLogger("httpx").addFilter(_is_worth_a_line)
    return httpx.Client(
        follow_redirects=True,
        timeout=limits,
        headers=headers,
        event_hooks={"request": [_refuse_other_hosts], "response": [_keep_bytes_of_headers]},
    )


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    return record.levelno > logging.INFO


def _refuse_other_hosts(request: httpx.Request) -> None:
    """End a request that was redirected to a host that its source does not stand for, before it is sent."""
    address: Address = request.extensions[_ADDRESS]
    to = str(request.url)
    if not address.may_lead_to(to):
        raise SetUpError(
            f"{address}: the server redirects to {shown(to, path=False)}; expected its own host, by https if it was "
            f"asked by https, or one of {sorted(address.redirect_hosts)}: to allow another one, list it in "
            "redirect_hosts of the connection's extra, or for a param url in the Variable taxi_url_hosts"
        )


def request_options(address: Address) -> dict[str, Any]:
    """Return what each request for an address is made with: its login, and the address for the check of redirects."""
    return {"auth": address.login, "extensions": {_ADDRESS: address}}


class _NotModified(Exception):
    """The server confirms that the cached copy is current."""

    def __init__(self, held: Edition) -> None:
        self.held = held


class _Speed:
    """Ends a download that would take for ever, although some bytes come now and then."""

    def __init__(self) -> None:
        self._since, self._bytes = monotonic(), 0

    def check(self, size: int) -> None:
        self._bytes += size
        seconds = monotonic() - self._since
        if seconds < _SPEED_WINDOW_SECONDS:
            return
        if self._bytes < _SLOWEST_BYTES_A_SECOND * seconds:
            raise SourceUnavailable(
                f"received {self._bytes:,} bytes in {seconds:.0f} s, "
                f"expected at least {_SLOWEST_BYTES_A_SECOND:,} bytes/s"
            )
        self._since, self._bytes = monotonic(), 0


class _Transfer:
    """Downloads one file to a local path, in as many requests as it takes."""

    def __init__(
        self,
        client: httpx.Client,
        address: Address,
        known_url: str | None,
        *,
        out: BinaryIO,
        path: Path,
        held: Edition | None,
        known_bytes: int | None,
    ) -> None:
        self.client = client
        self.address = address
        self.url = str(address)
        self.known_url = known_url
        self.out = out
        self.path = path
        self.held = held
        self.known_bytes = known_bytes
        self.most_bytes = 0
        self.etag: str | None = None
        self.last_modified: str | None = None
        self.progress: Progress | None = None
        self._restart()

    def run(self, pause: float, most_bytes: int) -> None:
        """Download the complete file and check it; it may have `most_bytes`, also when it is inflated.

        Raises: as `fetch`.
        """
        self.most_bytes = most_bytes
        damaged: str | None = None
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._request()
                self._check_whole()
            except SourceThrottled:
                raise
            except httpx.RequestError as error:
                reason = _reason(error)
                if not issubclass(faults.of_web(error).error, SourceUnavailable):
                    raise SetUpError(f"{self.address}: {reason}") from error
            except SourceUnavailable as error:
                reason = str(error)
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

    def seen(self, source: str, schema_era: str | None, *, at: datetime, after: int) -> editions.Seen:
        """Describe what was downloaded."""
        return editions.Seen(
            sha256=self.digest.hexdigest(),
            source=source,
            url=self.url,
            etag=self.etag,
            last_modified=self.last_modified,
            bytes=self.offset,
            at=at,
            after=after,
            schema_era=schema_era,
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
        with self._get(self._headers()) as response:
            self._accept(response)
            if self.progress is None:
                self.progress = Progress(self.url.rpartition("/")[2], "bytes", self.total)
            speed = _Speed()
            for chunk in response.iter_raw():
                limits.check(self.offset + len(chunk), self.most_bytes, f"{self.url}: bytes")
                self.out.write(chunk)
                self.digest.update(chunk)
                self.offset += len(chunk)
                self.progress.advance(len(chunk))
                speed.check(len(chunk))
        self.out.flush()
        if self.total is None and self._suffix() == formats.CSV:
            self.total = self._proven_total()
        if self.total is not None and self.offset != self.total:
            raise SourceUnavailable(f"received {self.offset:,} of {self.total:,} bytes")

    def _get(self, headers: dict[bytes, bytes]) -> AbstractContextManager[httpx.Response]:
        return self.client.stream("GET", self.address.url, headers=headers, **request_options(self.address))

    def _proven_total(self) -> int:
        """Return the length of a file that came without one, and whose format does not show where it ends."""
        head = _head(self.client, self.address)
        length = head.headers.get("Content-Length", "")
        if head.status_code == HTTPStatus.OK and length.isdecimal():
            return int(length)
        with self._get({b"Range": f"bytes={self.offset}-".encode()}) as rest:
            total = _TOTAL.search(rest.headers.get("Content-Range", ""))
        if total is not None:
            return int(total[1])
        if self.known_bytes == self.offset:
            return self.offset
        self._restart()
        raise SourceUnavailable("the answer has no Content-Length, and nothing shows that the file is complete")

    @property
    def _validator(self) -> str | None:
        """The ETag or date that proves that both parts of a resumed download are of the same file."""
        if self.etag is not None and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified

    def _headers(self) -> dict[bytes, bytes]:
        """Return the headers of the next request, as bytes: an ETag may hold any."""
        headers: dict[str, str] = {}
        if self.offset and self._validator is not None:
            headers = {"Range": f"bytes={self.offset}-", "If-Range": self._validator}
        elif self.held is not None and self.held.etag is not None:
            headers = {"If-None-Match": self.held.etag}
        elif self.held is not None and self.held.last_modified is not None:
            headers = {"If-Modified-Since": self.held.last_modified}
        return {name.encode(): value.encode("latin-1") for name, value in headers.items()}

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
            raise _refusal(self.client, self.address, self.known_url, response)
        self._restart()
        self.etag = response.headers.get("ETag")
        self.last_modified = response.headers.get("Last-Modified")
        length = response.headers.get("Content-Length", "")
        self.total = int(length) if length.isdecimal() else None
        limits.check(self.total or 0, self.most_bytes, f"{self.url}: bytes")

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
        suffix = self._suffix()
        try:
            _CHECKS[suffix](self.path, self.most_bytes)
        except ValueError as error:
            with self.path.open("rb") as file:
                start = file.read(formats.FIRST_BYTES)
            words = formats.impostor(start, suffix)
            if words is None and formats.format_of(start) != suffix:
                words = formats.kind(start)
            raise DamagedFile(
                f"{self.url}: {self.offset:,} bytes are not a complete {suffix[1:]} file: "
                f"{f'it is {words}' if words else error}"
            ) from error
        except TooLarge as error:
            raise TooLarge(f"{self.url}: {error}") from error

    def _suffix(self) -> str:
        """Return the suffix of the format that the URL promises, or else the first bytes."""
        promised = f".{self.url.rpartition('.')[2]}"
        if promised in _CHECKS:
            return promised
        with self.path.open("rb") as file:
            return formats.format_of(file.read(formats.FIRST_BYTES))


def _keep_bytes_of_headers(response: httpx.Response) -> None:
    """Give each byte of a header as the character of that number: httpx would guess an encoding."""
    response.headers.encoding = "latin-1"


def _reason(error: httpx.RequestError) -> str:
    """Say what went wrong with a request, and nothing of what the server answered: httpx quotes a garbled answer."""
    name = type(error).__name__
    if isinstance(error, httpx.ProtocolError | httpx.DecodingError):
        return f"{name}: the answer is cut or is not HTTP"
    fault = faults.of_web(error)
    return f"{name}: {faults.said(error)}{f'; {fault.advice}' if fault.advice else ''}"


def _refusal(client: httpx.Client, address: Address, known_url: str | None, response: httpx.Response) -> Exception:
    """Return the error that an answer without the file stands for."""
    status = response.status_code
    answer = f"{address}: HTTP {status}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return SourceThrottled(f"{answer}, retry after {response.headers.get('Retry-After', 'a while')}")
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return NotPublished(f"{answer}: the source does not have the file")
    if status == HTTPStatus.FORBIDDEN and known_url is not None:
        return _forbidden(client, answer, Address.parse(known_url, address.redirect_hosts))
    if status in _WANTS_LOGIN:
        given = "with" if address.login else "without"
        return SetUpError(
            f"{answer}, asked {given} a login; expected 200: correct login and password of the connection"
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return SourceUnavailable(answer)
    return PermanentError(f"{answer}, expected 200")


def _forbidden(client: httpx.Client, answer: str, known_url: Address) -> Exception:
    """Ask for a known file: the official source answers 403 for an unpublished month and to throttle a client."""
    known = _head(client, known_url).status_code
    if known == HTTPStatus.OK:
        return NotPublished(f"{answer}, and {known_url} is there: the source does not have the file")
    return SourceThrottled(f"{answer}, and HTTP {known} for {known_url}, which has been there for years")


def _head(client: httpx.Client, address: Address) -> httpx.Response:
    """Request a URL without its body, by GET if the server does not know HEAD."""
    head = client.head(address.url, **request_options(address))
    if head.status_code not in _NO_HEAD:
        return head
    with client.stream("GET", address.url, **request_options(address)) as response:
        return response


def _check_gzip(path: Path, most_bytes: int) -> None:
    from isal import igzip, igzip_lib

    size = 0
    try:
        with igzip.open(path, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                if size == 0 and (words := formats.twice(chunk[: formats.FIRST_BYTES])):
                    raise ValueError(f"it is {words}")
                size += len(chunk)
                limits.check(size, most_bytes, "inflated bytes")
    except (OSError, EOFError, igzip_lib.IsalError) as error:
        raise ValueError(faults.said(error)) from error


def _check_parquet(path: Path, _most_bytes: int) -> None:
    from pyarrow import parquet

    try:
        parquet.read_metadata(path)
    except OSError as error:
        raise ValueError(faults.said(error)) from error


def _check_csv(path: Path, _most_bytes: int) -> None:
    with path.open("rb") as file:
        start = file.read(_CHUNK_BYTES)
    if not _CSV_HEADER.match(start):
        raise ValueError("its first line is not column names with commas between them")


def _check_zip(path: Path, most_bytes: int) -> None:
    """Check the sizes by the directory before anything is inflated; zipfile inflates no more than they state."""
    try:
        with ZipFile(path) as archive:
            members = archive.infolist()
            limits.check(len(members), _MOST_MEMBERS, "members of the archive")
            limits.check(sum(member.file_size for member in members), most_bytes, "inflated bytes")
            damaged = archive.testzip()
    except (BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
        raise ValueError(faults.said(error)) from error
    if damaged is not None:
        raise ValueError(f"its member {damaged} is damaged")


_CHECKS = {
    formats.GZIP: _check_gzip,
    formats.PARQUET: _check_parquet,
    formats.ZIP: _check_zip,
    formats.CSV: _check_csv,
}
