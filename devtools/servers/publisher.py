"""publisher: a folder served over HTTP, on loopback unless told otherwise, as the publisher's server does it.

It answers ranges, conditional requests and HEAD, so that a download from here is a download like any other:

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
PATIENCE_SECONDS = 1  # for downloads that still run when the server is to stop


class Publisher:
    """Serves the files of a folder while its `with` block runs.

    Args:
        folder: what is served; files may come and change meanwhile. Links in it are followed.
        host: the address to listen on.
        port: the one to listen on, or 0 for any that is free.
    """

    def __init__(self, folder: Path, *, host: str = HOST, port: int = 0) -> None:
        self.folder = folder
        self.host = host
        self._wanted_port = port

    def __enter__(self) -> Self:
        files = Starlette(routes=[Mount("/", StaticFiles(directory=self.folder, follow_symlink=True))])
        # Who connects before the thread is ready waits in the socket's queue.
        self._socket = socket.create_server((self.host, self._wanted_port))
        self._server = uvicorn.Server(
            uvicorn.Config(
                files,
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=PATIENCE_SECONDS,
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
        """Where the paths of the folder begin."""
        return f"http://{self.host}:{self._socket.getsockname()[1]}"
