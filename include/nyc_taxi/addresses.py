"""addresses: URLs of sources and of the lake, parsed once, and shown without their secrets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

_WEB = ("http", "https")
_PORTS = {"http": 80, "https": 443}
_EXPECTED_WEB = "expected a base URL such as https://host/path"


def _either(texts: Iterable[str]) -> str:
    *others, last = texts
    return f"{', '.join(others)} or {last}"


# The places that a lake can be in, by the protocols of their URLs.
FOLDER, BUCKETS = "file", ("gs", "s3")
LAKE_BEGINNINGS = _either((f"{FOLDER}:///", *(f"{protocol}://" for protocol in BUCKETS)))
EXPECTED_LAKE = "expected " + _either(
    (f"{FOLDER}:///folder", *(f"{protocol}://connection_id@bucket/prefix" for protocol in BUCKETS))
)


def shown(url: str, *, path: bool = True) -> str:
    """Return a URL as logs, files and errors may have it: without login, password, query and fragment.

    A path may be a secret too, as in the URL of a web hook; then leave it out.

    >>> shown("https://tlc:s3cret@example.org/trip-data/a.parquet?sig=abc")
    'https://example.org/trip-data/a.parquet'
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url.partition("?")[0].partition("#")[0].rpartition("@")[2]
    where = rest.partition("?")[0].partition("#")[0]
    # A password may hold a slash that somebody forgot to encode, so whatever stands before an @ is left out.
    where = where.rpartition("@")[2]
    return f"{scheme}://{where if path else where.partition('/')[0]}"


@dataclass(frozen=True)
class Address:
    """The URL of a file on the web: what is requested, by whom, and to which other hosts it may redirect.

    As a text, it is the URL without secrets.
    """

    url: str
    login: tuple[str, str] | None
    shown: str
    redirect_hosts: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, url: str, redirect_hosts: Iterable[str] = ()) -> Address:
        """Read a URL of the web.

        Raises:
            ValueError: it is none, or has no host or a port that is none.
        """
        parts = _split_web(url)
        host = parts.netloc.rpartition("@")[2]
        login = (unquote(parts.username or ""), unquote(parts.password or "")) if "@" in parts.netloc else None
        return cls(
            urlunsplit(parts._replace(netloc=host)), login, shown(url), frozenset(map(str.lower, redirect_hosts))
        )

    def may_lead_to(self, url: str) -> bool:
        """Whether a request for this file may be redirected there: to its own host, or to one that is listed."""
        ours, theirs = urlsplit(self.url), urlsplit(url)
        if theirs.scheme not in _WEB or (ours.scheme == "https" and theirs.scheme != "https"):
            return False
        host = _host(theirs)
        if not self.redirect_hosts.isdisjoint((host, _host_and_port(theirs))):
            return True
        is_same_port = _port(ours) == _port(theirs)
        is_upgrade = (_port(ours), _port(theirs)) == (_PORTS["http"], _PORTS["https"])
        return host == _host(ours) and (is_same_port or is_upgrade)

    def __str__(self) -> str:
        return self.shown


def host_of(url: str) -> str:
    """Return the host of a URL, with its port unless that is the one of its scheme.

    >>> host_of("https://Example.org:443/a"), host_of("http://example.org:8000/a")
    ('example.org', 'example.org:8000')
    """
    return _host_and_port(_split_web(url))


def under(base_url: str, path: str) -> str:
    """Return the URL of a path under a base URL, which may have a signed query.

    >>> under("https://host/copies/?sig=abc", "trip-data/a.parquet")
    'https://host/copies/trip-data/a.parquet?sig=abc'
    """
    base, mark, query = base_url.partition("?")
    return f"{base.rstrip('/')}/{path}{mark}{query}"


def check_web(url: str, by: str) -> str:
    """Return the URL if it is one of the web. `by` names the connection that has it.

    Raises:
        ValueError: it is none.
    """
    try:
        _split_web(url)
    except ValueError as error:
        raise ValueError(f"{by}: {error}") from None
    return url


class LakeAddress(NamedTuple):
    """Where the lake is: a folder of this machine, or a bucket and the connection that opens it."""

    path: str
    connection: str | None = None
    protocol: str = FOLDER


def parse_lake(url: str, by: str) -> LakeAddress:
    """Read the URL of a lake. `by` names the Variable that has it.

    A folder is taken as it is written: `%20` is three characters and no space, and `~` is refused, because the workers
    may run as another user than the one who wrote it.

    Raises:
        ValueError: it is not absolute, or names no store that the lake can be in.
    """
    wrong = f"{by} is {shown_lake(url)!r}"
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in (FOLDER, *BUCKETS) or url != url.strip() or not url.isprintable():
        raise ValueError(f"{wrong}; {EXPECTED_LAKE}")
    return _folder(rest, wrong) if scheme == FOLDER else _bucket(scheme, rest, wrong)


def shown_lake(url: str) -> str:
    """Return the URL of a lake without secrets. What stands before the @ of a bucket is a connection's name."""
    scheme, _, rest = url.partition("://")
    connection, at, bucket = rest.partition("?")[0].partition("@")
    if scheme in BUCKETS and at and connection.replace("_", "").replace("-", "").isalnum():
        return f"{scheme}://{connection}@{bucket}"
    return shown(url)


def _folder(path: str, wrong: str) -> LakeAddress:
    host, _, folder = path.partition("/")
    if folder and host not in ("", "~"):
        raise ValueError(
            f"{wrong}: {host!r} stands where a host would, and a folder has none; "
            f"expected file:///{folder} or file:///{path}"
        )
    if not path.startswith("/"):
        raise ValueError(f"{wrong}: the folder is not absolute; {EXPECTED_LAKE}")
    parts = PurePosixPath(path).parts
    if len(parts) < 2 or path.startswith("//") or ".." in parts:  # noqa: PLR2004 - the root and a name
        raise ValueError(f"{wrong}: names no folder; {EXPECTED_LAKE}")
    if any(part.startswith("~") for part in parts):
        raise ValueError(f"{wrong}: ~ is not expanded; write the folder in full: {EXPECTED_LAKE}")
    if "%" in path and unquote(path) != path:
        raise ValueError(f"{wrong}: write {unquote(path)!r} for {path!r}, as % does not encode characters here")
    return LakeAddress(path.rstrip("/"))


def _bucket(protocol: str, rest: str, wrong: str) -> LakeAddress:
    connection, at, path = rest.rpartition("@")
    bucket, _, prefix = path.partition("/")
    is_name = bucket.replace("-", "").replace("_", "").replace(".", "").isalnum() and bucket.isascii()
    if not is_name or any(mark in rest for mark in "?#%~") or ":" in rest or "//" in f"/{prefix}":
        raise ValueError(f"{wrong}: names no bucket and prefix; {EXPECTED_LAKE}")
    if at and not connection:
        raise ValueError(f"{wrong}: names no connection before the @; {EXPECTED_LAKE}")
    return LakeAddress(path.rstrip("/"), connection or None, protocol)


def _split_web(url: str) -> SplitResult:
    if not url.isprintable() or url != url.strip():
        raise ValueError(f"{shown(url)!r} has a space at an end, a line break or a control character; {_EXPECTED_WEB}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{shown(url)!r}: {_without_value(error)}; {_EXPECTED_WEB}") from None
    if parts.scheme.lower() == "file":
        raise ValueError(
            f"{shown(url)!r} is a folder; expected the URL of a web server, such as http://127.0.0.1:8000 while "
            "`python3 -m http.server` serves the folder"
        )
    if parts.scheme.lower() not in _WEB or not parts.hostname:
        raise ValueError(f"{shown(url)!r} is not the URL of a web server, expected http:// or https:// and a host")
    if port == 0 or " " in parts.netloc or parts.fragment:
        raise ValueError(f"{shown(url)!r} has port 0, a space in its host or a #; {_EXPECTED_WEB}")
    return parts._replace(scheme=parts.scheme.lower())


def _without_value(error: ValueError) -> str:
    """The complaint of the parser without the part of the URL that it quotes, which may be of a password."""
    return "its port is not a number up to 65535" if "ort" in str(error) else "it cannot be parsed"


def _host_and_port(parts: SplitResult) -> str:
    is_usual = _port(parts) == _PORTS[parts.scheme]
    return _host(parts) if is_usual else f"{_host(parts)}:{parts.port}"


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").lower()
    return host if host.isascii() else host.encode("idna").decode()


def _port(parts: SplitResult) -> int | None:
    return parts.port or _PORTS.get(parts.scheme)
