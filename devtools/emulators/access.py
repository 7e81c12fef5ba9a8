"""Who may use the emulators: programs that know their key, and no web page.

The key is the first part of the path of every request, because Google's clients, gcsfs and Airflow keep the path of an
endpoint, and send nothing else that is secret to an emulator.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

OWN_NAMES = frozenset({"127.0.0.1", "::1", "localhost"})
KEY = re.compile(r"[\w-]+", re.ASCII)
KEY_BYTES = 24
STATUS = 403


class Denied(Exception):
    """A request that is not answered. The message does not say how near it came to the key."""

    def body(self) -> bytes:
        """Return the answer, as Google's services write errors."""
        reason = {"domain": "global", "reason": "forbidden", "message": str(self)}
        return json.dumps({"error": {"code": STATUS, "message": str(self), "errors": [reason]}}).encode()


@dataclass(frozen=True)
class Access:
    """What a request must have.

    Attributes:
        key: the first part of the path; no other part of a request is secret.
        names: the host names that clients may use for the emulators.
    """

    key: str = field(default_factory=lambda: secrets.token_hex(KEY_BYTES), repr=False)
    names: frozenset[str] = OWN_NAMES

    def admit(self, path: str, headers: Mapping[str, str]) -> str:
        """Return the path without the key. `GET /`, which says only that the emulator serves, needs none.

        Raises:
            Denied: the key is missing or wrong, or the request comes from a web page.
        """
        host = headers.get("host", "")
        if _name(host) not in self.names:
            # A page of another site can make its own name resolve to this machine.
            raise Denied(f"local cloud: host {host!r} is not one of {', '.join(sorted(self.names))}")
        if "origin" in headers:
            raise Denied("local cloud: the request has the header Origin, and web pages are not answered")
        if path == "/":
            return path
        key, _, rest = path.removeprefix("/").partition("/")
        if not secrets.compare_digest(key.encode(), self.key.encode()):
            raise Denied(
                "local cloud: the path does not begin with the key, expected an address that the server wrote down"
            )
        return f"/{rest}"


class Guard:
    """Passes on the requests that are admitted, and refuses the others.

    Args:
        application: sees the key as the path that it is mounted at.
        access: what a request must have.
    """

    def __init__(self, application: ASGIApp, access: Access) -> None:
        self._application = application
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        try:
            rest = self._access.admit(scope["path"], Headers(scope=scope))
        except Denied as denied:
            await Response(denied.body(), STATUS, media_type="application/json")(scope, receive, send)
            return
        await self._application({**scope, "root_path": scope["path"].removesuffix(rest)}, receive, send)


def _name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
