"""publisher: serve a folder over HTTP as the publisher's server does, on loopback by default.

It answers range requests, conditional requests and HEAD, so that downloads work as from the publisher:

    with Publisher(Path("published")) as publisher:
        download.fetch(file, lake, base_url=publisher.base_url)
"""

from __future__ import annotations

import socket
from threading import Thread
from typing import TYPE_CHECKING, Self

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.1"
PATIENCE_SECONDS = 1  # for unfinished downloads when the server stops


class Publisher:
    """Serves the files of a folder during its `with` block.

    Args:
        folder: its files may change meanwhile; links are followed.
        host: the address to listen on.
        port: the port to listen on; 0 picks a free one.
        certificate: a file with a certificate and its key, to serve https.
    """

    def __init__(self, folder: Path, *, host: str = HOST, port: int = 0, certificate: Path | None = None) -> None:
        self.folder = folder
        self.host = host
        self.certificate = certificate
        self._wanted_port = port

    def __enter__(self) -> Self:
        files = Starlette(routes=[Mount("/", StaticFiles(directory=self.folder, follow_symlink=True))])
        # Clients that connect before the thread is ready wait in the socket's queue.
        self._socket = socket.create_server((self.host, self._wanted_port))
        self._server = uvicorn.Server(
            uvicorn.Config(
                files,
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=PATIENCE_SECONDS,
                ssl_certfile=self.certificate,
            )
        )
        self._thread = Thread(target=self._server.run, args=([self._socket],), name="publisher", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    @property
    def base_url(self) -> str:
        """The URL of the folder."""
        return f"http{'s' if self.certificate else ''}://{self.host}:{self.port}"

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._socket.getsockname()[1])
