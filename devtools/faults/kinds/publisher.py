"""publisher: what the publisher's server may do wrong, for once and for good."""

from __future__ import annotations

import socket
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from devtools.faults.fault import RIGHT, Fault
from devtools.faults.months import KNOWN_URL, PATH, edition
from devtools.servers import misbehaving as web
from devtools.servers.postgres import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.faults.scene import Scene

_KIND = "publisher"
_CUT = 200_000
_TRANSIENT = [500, 502, 503, 504, 408, 599]
_REFUSED = {400: "PermanentError", 405: "PermanentError", 410: "NotPublished", 418: "PermanentError"}
_LOGINS = {401: "SetUpError", 407: "SetUpError"}
_GARBAGE = b"\x00\x01SSH-2.0-OpenSSH_9.6\r\n\r\n"
_PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in to the network.</body></html>"


def faults() -> Iterator[Fault]:
    """List the faults of this kind."""
    yield from _statuses()
    yield from _transfers()
    yield from _framings()
    yield from _validators()
    yield from _changes()
    yield from _addresses()


def _fault(name: str, what: str, do: Callable[[Scene], object], *expects: str, is_short: bool = False) -> Fault:
    return Fault(_KIND, f"publisher: {name}", what, do, expects or (RIGHT,), is_short=is_short)


def _once(*found: web.Fault) -> Callable[[Scene], object]:
    return lambda scene: scene.publisher.faults.extend(found)


def _always(found: web.Fault) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        scene.publisher.always = found
        scene.afterwards(lambda: setattr(scene.publisher, "always", web.Fault()))

    return do


def _statuses() -> Iterator[Fault]:
    for status in _TRANSIENT:
        yield _fault(
            f"HTTP {status} once",
            f"The first answer is HTTP {status}.",
            _once(web.Fault(status=status)),
            is_short=status == HTTPStatus.SERVICE_UNAVAILABLE,
        )
    for status in (HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE):
        name = f"HTTP {status.value} for good"
        yield _fault(
            name, f"Every answer is HTTP {status.value}.", _always(web.Fault(status=status)), "SourceUnavailable"
        )
    for status, word in (_REFUSED | _LOGINS).items():
        yield _fault(f"HTTP {status}", f"Every answer is HTTP {status}.", _always(web.Fault(status=status)), word)
    yield _fault("HTTP 429 once", "The first answer asks to slow down.", _once(web.Fault(status=429)))
    yield _fault(
        "HTTP 429 for good", "Every answer asks to slow down.", _always(web.Fault(status=429)), "SourceThrottled"
    )
    yield _fault("HTTP 404", "The month is gone.", _gone(HTTPStatus.NOT_FOUND), "NotPublished", is_short=True)
    yield _fault(
        "HTTP 403 of an unknown month", "The month is forbidden, and a known one is there.", _gone(403), "NotPublished"
    )
    yield _fault(
        "HTTP 403 of everything",
        "The month and a known one are forbidden.",
        _gone(403, everything=True),
        "SourceThrottled",
    )


def _gone(status: int, *, everything: bool = False) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        server, files = scene.publisher, dict(scene.publisher.files)
        server.files = {} if everything else {KNOWN_URL: files[KNOWN_URL]}
        server.missing = HTTPStatus(status)
        scene.afterwards(lambda: setattr(server, "files", files))

    return do


def _transfers() -> Iterator[Fault]:
    for cut in (0, 4, _CUT, -1):
        where = {0: "before the first byte", -1: "before the last byte"}.get(cut, f"after {cut:,} bytes")
        at = len(edition(2).content) - 1 if cut < 0 else cut
        yield _fault(f"cut {where}", f"The connection ends {where}.", _once(web.Fault(cut_at=at)), is_short=cut == _CUT)
    yield _fault("cut four times", "Four answers in a row are cut.", _once(*[web.Fault(cut_at=_CUT // 2)] * 4))
    yield _fault(
        "cut for good",
        "Every answer is cut before its last byte.",
        _always(web.Fault(cut_at=_CUT, part=_CUT // 100)),
        "SourceUnavailable",
    )
    yield _fault("stalled once", "No byte comes after the first 200,000.", _stalled)
    yield _fault("slow", "The file takes two seconds, byte by byte.", _once(web.Fault(slow_seconds=2.0)))
    yield _fault(
        "no HTTP",
        "The answer is the greeting of another protocol.",
        _always(web.Fault(raw=_GARBAGE)),
        "SourceUnavailable",
    )
    yield _fault("no HTTP once", "The first answer is of another protocol.", _once(web.Fault(raw=_GARBAGE)))
    yield _fault("an answer of nothing", "The first connection ends without an answer.", _once(web.Fault(raw=b"")))
    yield _fault("an endless file", "The file never ends.", _endless, "TooLarge", is_short=True)
    yield _fault("a sign-in page", "Every answer is the page of a hotel's network.", _page, "DamagedFile")


def _stalled(scene: Scene) -> None:
    scene.limit(stalled_seconds=1.0)
    scene.publisher.faults.append(web.Fault(cut_at=_CUT, stalls=True))


def _endless(scene: Scene) -> None:
    scene.set(TAXI_LIMIT_FACTOR="0.003")
    scene.publisher.framing = "chunked"
    _always(web.Fault(endless=True))(scene)
    scene.afterwards(lambda: setattr(scene.publisher, "framing", "length"))


def _page(scene: Scene) -> None:
    scene.offer_what_nobody_should_load(_PAGE)


def _framings() -> Iterator[Fault]:
    for framing in ("chunked", "close"):
        yield _fault(f"framing {framing}", f"The file comes without a length ({framing}).", _framed(framing))
        yield _fault(
            f"framing {framing}, cut",
            f"The file comes without a length ({framing}), and is cut.",
            _framed(framing, _CUT),
        )
    longer, shorter = (str(len(edition(2).content) + by) for by in (1_000, -1_000))
    yield _fault(
        "a length too long",
        "The first answer promises 1,000 bytes too many.",
        _once(web.Fault(headers={"Content-Length": longer})),
    )
    yield _fault(
        "a length too short",
        "The first answer promises 1,000 bytes too few.",
        _once(web.Fault(headers={"Content-Length": shorter})),
    )


def _framed(framing: str, cut: int | None = None) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        scene.publisher.framing = framing
        if cut is not None:
            scene.publisher.faults.append(web.Fault(cut_at=cut))
        scene.afterwards(lambda: setattr(scene.publisher, "framing", "length"))

    return do


def _validators() -> Iterator[Fault]:
    cut = web.Fault(cut_at=_CUT)
    for name, what, published in (
        ("no ETag", "The file has no ETag, and is cut once.", {"etag": None}),
        ("a weak ETag", "The file has a weak ETag, and is cut once.", {"etag": 'W/"2"'}),
        ("an odd ETag", "The file's ETag has bytes beyond ASCII, and it is cut once.", {"etag": '"\xe9\xff"'}),
        ("an odd date", "The file's Last-Modified is no date, and it is cut once.", {"last_modified": "yesterday"}),
        ("no validator", "The file has neither ETag nor date, and is cut once.", {"etag": None, "last_modified": None}),
    ):
        yield _fault(name, what, _published(cut, **published))
    for option in ("knows_ranges", "knows_if_range"):
        yield _fault(
            f"not {option}",
            f"The server is one of which {option} is false; the file is cut once.",
            _without(option, cut),
        )
    yield _fault(
        "a part of a part",
        "The rest of a cut file comes in parts.",
        _once(cut, web.Fault(part=10_000), web.Fault(part=10_000)),
    )


def _published(fault: web.Fault, **validators: Any) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        scene.publisher.files[PATH] = scene.publisher.files[PATH]._replace(**validators)
        scene.publisher.faults.append(fault)

    return do


def _without(option: str, fault: web.Fault) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        setattr(scene.publisher, option, False)
        scene.publisher.faults.append(fault)

    return do


def _changes() -> Iterator[Fault]:
    yield _fault(
        "republished in mid-download",
        "The file is replaced by another edition half way.",
        _republished(cuts=True),
        is_short=True,
    )
    yield _fault(
        "republished behind a slow answer",
        "The file is replaced while the old one is still sent.",
        _republished(cuts=False),
    )


def _republished(*, cuts: bool) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        def publish() -> None:
            scene.publish(3)
            scene.expected = 3

        if cuts:
            scene.publisher.faults.append(web.Fault(cut_at=_CUT, then=publish))
        else:
            scene.publisher.faults.append(web.Fault(cut_at=_CUT, meanwhile=lambda: scene.publish(3)))
            scene.afterwards(lambda: setattr(scene, "expected", 3))

    return do


def _addresses() -> Iterator[Fault]:
    yield _fault(
        "nobody listens", "No server listens at the port.", _host("http://127.0.0.1:{free}"), "SourceUnavailable"
    )
    yield _fault("no such host", "The host's name is unknown.", _host("http://publisher.invalid"), "SourceUnavailable")
    yield _fault(
        "https to http",
        "The connection says https, and the server speaks http.",
        _host("https://127.0.0.1:{port}"),
        "SetUpError",
    )
    yield _fault("silent", "The server takes the connection and says nothing.", _silent, "SourceUnavailable")
    for name, to, what in (
        ("to another host", "http://169.254.169.254/latest/meta-data", "Every answer leads to another host."),
        ("to a file", "file:///etc/passwd", "Every answer leads to a file of this machine."),
    ):
        redirect = web.Fault(status=302, headers={"Location": to})
        yield _fault(f"redirect {name}", what, _always(redirect), "SetUpError", "SourceUnavailable")
    loop = web.Fault(status=302, headers={"Location": PATH})
    yield _fault(
        "redirect in a circle", "Every answer leads to itself.", _always(loop), "SourceUnavailable", "SetUpError"
    )
    yield _fault("redirect within the host", "The first answer leads to the same file.", _once(loop))


def _host(url: str) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        port = scene.publisher.url.rpartition(":")[2]
        scene.ask_source(host=url.format(port=port, free=free_port(1)))

    return do


def _silent(scene: Scene) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    scene.limit(stalled_seconds=0.3)
    scene.ask_source(host=f"http://127.0.0.1:{listener.getsockname()[1]}")
    scene.afterwards(listener.close)
