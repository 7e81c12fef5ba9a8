"""misbehaving: a publisher on loopback whose server makes the faults that it is asked for, answer by answer.

with Publisher() as publisher:
    publisher.files["/trip-data/green_tripdata_2024-01.parquet"] = Published(content)
    publisher.faults = [Fault(cut_at=1_000), Fault(status=503)]
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HOST = "127.0.0.1"
_LONGEST_STALL_SECONDS = 10
_ENDLESS = bytes(1 << 16)
_SLOW_PARTS = 20


@dataclass(frozen=True)
class Fault:
    """What is wrong with one answer to a GET.

    Args:
        status: answered in place of the file.
        headers: sent in place of the right ones, or besides them.
        cut_at: the connection ends after this number of bytes of the body.
        part: of a requested range only this number of bytes is sent, and the answer says so.
        stalls: after those bytes nothing more comes, and the connection stays.
        endless: after those bytes, zeros follow for as long as the client takes them; use `framing` "chunked".
        slow_seconds: the body is sent in parts, over this time.
        raw: sent in place of an answer of HTTP.
        meanwhile: happens after those bytes, and then the others follow.
        then: happens after the answer.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_at: int | None = None
    part: int | None = None
    stalls: bool = False
    endless: bool = False
    slow_seconds: float = 0.0
    raw: bytes | None = None
    meanwhile: Callable[[], object] | None = None
    then: Callable[[], None] = lambda: None


class Published(NamedTuple):
    """A file as the server offers it."""

    content: bytes
    etag: str | None = '"v1"'
    last_modified: str | None = "Mon, 01 Mar 2021 10:00:00 GMT"


class Asked(NamedTuple):
    """A request that the server got."""

    method: str
    path: str
    headers: Mapping[str, str]


class Publisher:
    """Serves `files` by their path; `faults` are those of the next GETs, one each, and `always` of all later GETs."""

    def __init__(self) -> None:
        self.files: dict[str, Published] = {}
        self.asked: list[Asked] = []
        self.faults: list[Fault] = []
        self.always = Fault()
        self.missing = HTTPStatus.NOT_FOUND
        self.heads: list[int] = []  # answers to the next HEADs
        self.head: int | None = None  # the answer to every HEAD, if it is not the file's
        self.head_has_length = True
        self.knows_ranges = True
        self.knows_if_range = True
        self.framing = "length"  # or "chunked" or "close": how an answer marks its end
        self.stopping = Event()

    def __enter__(self) -> Self:
        self._server = _Server((HOST, 0), _Handler)
        self._server.publisher = self
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """The URL that the paths of the files are under."""
        return f"http://{HOST}:{self._server.server_port}"

    def gets(self) -> list[Asked]:
        """The GET requests so far."""
        return [asked for asked in self.asked if asked.method == "GET"]


def _validators(published: Published) -> dict[str, str]:
    names = {"ETag": published.etag, "Last-Modified": published.last_modified}
    return {name: value for name, value in names.items() if value is not None}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    publisher: Publisher

    def handle_error(self, *_: object) -> None:
        """Ignore a client that hangs up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def do_HEAD(self) -> None:
        publisher = self._note()
        published = publisher.files.get(self.path)
        refused = publisher.heads.pop(0) if publisher.heads else publisher.head
        if refused is not None or published is None:
            self._start(refused or publisher.missing, {"Content-Length": "0"})
        else:
            length = {"Content-Length": str(len(published.content))} if publisher.head_has_length else {}
            self._start(HTTPStatus.OK, {**_validators(published), **length})

    def do_GET(self) -> None:
        publisher = self._note()
        fault = publisher.faults.pop(0) if publisher.faults else publisher.always
        published = publisher.files.get(self.path)
        if fault.raw is not None:
            self.wfile.write(fault.raw)
            self.close_connection = True
        elif fault.status is not None or published is None:
            self._send(fault.status or publisher.missing, {}, b"no file here", fault)
        elif self._is_unchanged(published):
            self._start(HTTPStatus.NOT_MODIFIED, fault.headers)
        else:
            self._send_file(published, fault)
        fault.then()

    def _note(self) -> Publisher:
        publisher = self.server.publisher
        publisher.asked.append(Asked(self.command, self.path, dict(self.headers)))
        return publisher

    def _is_unchanged(self, published: Published) -> bool:
        if "If-None-Match" in self.headers:
            return self.headers["If-None-Match"] == published.etag
        return published.last_modified is not None and self.headers["If-Modified-Since"] == published.last_modified

    def _send_file(self, published: Published, fault: Fault) -> None:
        content, total = published.content, len(published.content)
        headers = _validators(published)
        first = self._first_byte(published)
        if first is None:
            self._send(HTTPStatus.OK, headers, content, fault)
        elif first >= total:
            headers["Content-Range"] = f"bytes */{total}"
            self._send(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers, b"", fault)
        else:
            end = total if fault.part is None else first + fault.part
            headers["Content-Range"] = f"bytes {first}-{end - 1}/{total}"
            self._send(HTTPStatus.PARTIAL_CONTENT, headers, content[first:end], fault)

    def _first_byte(self, published: Published) -> int | None:
        """Return where the requested part begins; None is the whole file."""
        publisher = self.server.publisher
        asked = self.headers["Range"]
        if asked is None or not publisher.knows_ranges:
            return None
        current = (published.etag, published.last_modified)
        if publisher.knows_if_range and self.headers.get("If-Range", current[0]) not in current:
            return None
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def _send(self, status: int, headers: Mapping[str, str], body: bytes, fault: Fault) -> None:
        framing = self.server.publisher.framing
        how = {
            "length": {"Content-Length": str(len(body))},
            "chunked": {"Transfer-Encoding": "chunked"},
            "close": {"Connection": "close"},
        }
        self._start(status, {**headers, **how[framing], **fault.headers})
        part, rest = body[: fault.cut_at], body[len(body[: fault.cut_at]) :]
        self._write_slowly(part, framing, fault.slow_seconds)
        if fault.meanwhile is not None:
            self.wfile.flush()
            fault.meanwhile()
            self._write(rest, framing)
        if fault.endless:
            self._write_for_ever(framing)
        if fault.stalls:
            self.wfile.flush()
            self.server.publisher.stopping.wait(_LONGEST_STALL_SECONDS)
        if fault.stalls or (fault.cut_at is not None and fault.meanwhile is None) or framing == "close":
            self.close_connection = True
        elif framing == "chunked":
            self.wfile.write(b"0\r\n\r\n")

    def _write_slowly(self, part: bytes, framing: str, seconds: float) -> None:
        if not seconds:
            self._write(part, framing)
            return
        size = len(part) // _SLOW_PARTS + 1
        for first in range(0, len(part), size):
            self._write(part[first : first + size], framing)
            self.wfile.flush()
            self.server.publisher.stopping.wait(seconds / _SLOW_PARTS)

    def _write_for_ever(self, framing: str) -> None:
        with suppress(OSError):
            while not self.server.publisher.stopping.is_set():
                self._write(_ENDLESS, framing)

    def _write(self, part: bytes, framing: str) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part) if framing == "chunked" and part else part)

    def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
