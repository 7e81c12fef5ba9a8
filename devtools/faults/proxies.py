"""proxies: what may lie between a step and a server: a network that cuts, waits or swallows, or a front end of HTTP."""

from __future__ import annotations

import http.client
import json
import re
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HOST = "127.0.0.1"
_CHUNK = 1 << 16
_TIMEOUT_SECONDS = 60.0


class Network:
    """Forwards TCP connections to a server during a `with` block.

    Args:
        port: of the server, on loopback; may be changed while it forwards.
    """

    def __init__(self, port: int) -> None:
        self.backend = port
        self.refuses = False
        self.delay_seconds = 0.0
        self.swallows = Event()
        self.ends = Event()
        self.cuts: list[int] = []
        """After how many bytes to and from the server the next connections end, one each."""
        self._open: set[socket.socket] = set()
        self._lock = Lock()

    def __enter__(self) -> Self:
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ends.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()

    def cut_all(self) -> None:
        """End every connection that is open."""
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            _close(end)

    def end_swallowing(self) -> None:
        """End every connection of which packets were swallowed, and forward those of new ones."""
        self.swallows.clear()
        self.cut_all()

    def _accept(self) -> None:
        while not self.ends.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuses:
                _close(client)
                continue
            try:
                server = socket.create_connection((HOST, self.backend), _TIMEOUT_SECONDS)
            except OSError:
                _close(client)
                continue
            budget = _Budget(self.cuts.pop(0) if self.cuts else None)
            with self._lock:
                self._open |= {client, server}
            server.settimeout(None)
            for source, target in ((client, server), (server, client)):
                Thread(target=self._pump, args=(source, target, budget), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, budget: _Budget) -> None:
        with suppress(OSError):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while data := source.recv(_CHUNK):
                self.ends.wait(self.delay_seconds)
                if self.swallows.is_set():
                    continue
                allowed = budget.take(len(data))
                target.sendall(data[:allowed])
                if allowed < len(data):
                    break
        for end in (source, target):
            _close(end)
            with self._lock:
                self._open.discard(end)


class _Budget:
    """How many bytes a connection may carry, in both directions; None is any number."""

    def __init__(self, most: int | None) -> None:
        self.most = most
        self._lock = Lock()

    def take(self, size: int) -> int:
        with self._lock:
            if self.most is None:
                return size
            allowed = min(size, self.most)
            self.most -= allowed
            return allowed


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        end.close()


@dataclass
class Rule:
    """What a front end does to some of the requests in place of forwarding them.

    Args:
        method: of the requests, such as `POST`; a regular expression, as is `path`.
        path: of the requests, with the query.
        status: is answered in place of the server; None lets the request through and loses the answer.
        reason: is Google's word for it.
        message: is what Google says; without one, that it was injected.
        times: how many requests it does this to; later ones pass.
        skip: how many requests pass before.
        meanwhile: is done when the request comes.
        answer: is the body of the answer in place of an error.
        is_forwarded: whether the server gets the request before the status is answered.
    """

    method: str
    path: str
    status: int | None = None
    reason: str = "backendError"
    message: str = ""
    times: int = 1
    skip: int = 0
    meanwhile: Callable[[], object] | None = None
    answer: Mapping[str, object] | None = None
    is_forwarded: bool = False
    done: int = field(default=0, init=False)

    @property
    def is_left(self) -> bool:
        """Whether it has not yet been done as often as it should be."""
        return self.done < self.times

    def takes(self, method: str, path: str) -> bool:
        """Whether this request is one of those; counts those that pass first."""
        if not self.is_left or not re.fullmatch(self.method, method) or not re.search(self.path, path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.done += 1
        return True


class FrontEnd:
    """Forwards HTTP requests to a server during a `with` block, but for those that its rules take.

    Its own address has the path of the server's, and stays if the server moves.
    """

    def __init__(self, url: str) -> None:
        self._path = urlsplit(url).path
        self.move_to(url)
        self.rules: list[Rule] = []
        self.asked: list[str] = []
        self._lock = Lock()

    def __enter__(self) -> Self:
        self._server = _Server((HOST, 0), type("Handler", (_Handler,), {"front": self}))
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self._server.server_port}{self._path}"

    def move_to(self, url: str) -> None:
        """Forward to a server at another address."""
        parts = urlsplit(url)
        self.backend = (parts.hostname or HOST, parts.port or 80)
        self._backend_path = parts.path

    def forwarded(self, path: str) -> str:
        """Return the path of a request as the server knows it."""
        rest = path.removeprefix(self._path)
        return path if rest == path else self._backend_path + rest

    def rule_for(self, method: str, path: str) -> Rule | None:
        """Return the rule that takes the request."""
        with self._lock:
            self.asked.append(f"{method} {path}")
            return next((rule for rule in self.rules if rule.takes(method, path)), None)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Ignore a client that hangs up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    front: FrontEnd

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _answer(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size) if size else b""
        rule = self.front.rule_for(self.command, self.path)
        if rule is not None and rule.meanwhile is not None:
            rule.meanwhile()
        answer = self._forwarded(body) if rule is None or rule.status is None or rule.is_forwarded else None
        if rule is None and answer is not None:
            self._send(*answer)
        elif rule is None or rule.status is None:
            self._hang_up()
        else:
            self._send(rule.status, {"Content-Type": "application/json"}, _refusal(rule))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _answer  # noqa: N815 - http.server has them

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _forwarded(self, body: bytes) -> tuple[int, dict[str, str], bytes] | None:
        """Return the server's answer; None if it gives none."""
        link = http.client.HTTPConnection(*self.front.backend, timeout=_TIMEOUT_SECONDS)
        try:
            link.request(self.command, self.front.forwarded(self.path), body, dict(self.headers))
            answer = link.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            link.close()

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        with suppress(OSError):
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", headers.get("Content-Length", str(len(body))))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)


def _refusal(rule: Rule) -> bytes:
    if rule.answer is not None:
        return json.dumps(rule.answer).encode()
    reason = {"reason": rule.reason, "message": rule.message or f"injected: {rule.reason}"}
    return json.dumps({"error": {"code": rule.status, "message": reason["message"], "errors": [reason]}}).encode()
