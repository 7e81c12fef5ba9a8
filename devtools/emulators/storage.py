"""The GCS stand-in: gcp-storage-emulator, with its objects in a folder."""

from __future__ import annotations

import logging
from functools import partial
from http.server import HTTPServer
from typing import TYPE_CHECKING

from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage

if TYPE_CHECKING:
    from pathlib import Path


def storage_server(host: str, port: int, folder: Path) -> HTTPServer:
    """A server that listens, and answers once its `serve_forever` is called.

    Args:
        host: the address to listen on.
        port: 0 for any that is free.
        folder: where buckets and objects are, in `.cloudstorage`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)  # it warns of every request that is answered
    return HTTPServer((host, port), partial(RequestHandler, Storage(data_dir=str(folder))))
