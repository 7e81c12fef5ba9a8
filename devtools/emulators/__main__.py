"""Serve GCS and BigQuery from a folder, until SIGTERM or Ctrl-C.

python -m devtools.emulators --host 0.0.0.0 --storage-port 4443 --bigquery-port 9050 --folder /var/lib/cloud

Each port answers GET / with status 200 once it serves.
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import selectors
import signal
import socket
import sys
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import uvicorn

from devtools.emulators import HOST, create_bucket

if TYPE_CHECKING:
    from http.server import HTTPServer
    from types import FrameType

log = logging.getLogger("devtools.emulators")

PATIENCE_SECONDS = 1  # for unfinished answers when the server stops


def main() -> None:
    """Serve as the command line says."""
    arguments = _arguments()
    ready = _detach() if arguments.until_unused else None
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, _end)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with (arguments.folder / "server.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # wait for a server that is stopping to release the files
        _serve(arguments, ready)


def _serve(arguments: argparse.Namespace, ready: int | None) -> None:
    from devtools.emulators.bigquery.server import BigQuery

    folder: Path = arguments.folder.resolve()
    storage = _start_storage(arguments, folder)
    listener = socket.create_server((arguments.host, arguments.bigquery_port))
    bigquery = BigQuery(folder / "bigquery")
    server = uvicorn.Server(
        uvicorn.Config(
            bigquery.application,
            lifespan="off",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=PATIENCE_SECONDS,
        )
    )
    ports = [storage.server_address[1], listener.getsockname()[1]]
    if ready is not None:
        _end_with_last_user(server, folder, ports, ready)
    log.info("GCS on %s:%d, BigQuery on %s:%d, data in %s", arguments.host, ports[0], arguments.host, ports[1], folder)
    try:
        server.run([listener])
    finally:
        storage.shutdown()
        storage.server_close()
        bigquery.close()


def _start_storage(arguments: argparse.Namespace, folder: Path) -> HTTPServer:
    from devtools.emulators.bigquery.sources import STORAGE_HOST
    from devtools.emulators.storage import storage_server

    storage = storage_server(arguments.host, arguments.storage_port, folder / "storage")
    Thread(target=storage.serve_forever, name="storage", daemon=True).start()
    os.environ[STORAGE_HOST] = f"http://{HOST}:{storage.server_address[1]}"
    if arguments.bucket:
        create_bucket(os.environ[STORAGE_HOST], arguments.bucket)
    return storage


def _end_with_last_user(server: uvicorn.Server, folder: Path, ports: list[int], ready: int) -> None:
    """Write down the ports, report that they serve, and stop the server when its last user leaves."""
    lifelines = socket.create_server((HOST, 0))
    Thread(target=_watch, args=(lifelines, folder, server), name="lifelines", daemon=True).start()
    (folder / "ports").write_text(" ".join(map(str, [*ports, lifelines.getsockname()[1]])))
    os.write(ready, b"1")
    os.close(ready)


def _watch(lifelines: socket.socket, folder: Path, server: uvicorn.Server) -> None:
    """Stop the server when its last user leaves; each user holds one connection to this socket."""
    selector = selectors.DefaultSelector()
    selector.register(lifelines, selectors.EVENT_READ)
    lifelines.settimeout(None)
    users = 0
    while True:
        for key, _ in selector.select():
            if key.fileobj is lifelines:
                user, _ = lifelines.accept()
                user.sendall(str(folder).encode())
                selector.register(user, selectors.EVENT_READ)
                users += 1
                continue
            users -= 1
            if users:
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
                continue
            lifelines.close()
            server.should_exit = True
            Event().wait()  # the last user's connection stays open until this process ends, so that it sees the end


def _detach() -> int:
    """Continue in a process without terminal or parent; the original one ends when `ready` is written to."""
    listens, ready = os.pipe()
    if os.fork():
        os.close(ready)
        os._exit(0 if os.read(listens, 1) else 1)
    os.close(listens)
    os.setsid()
    return ready


def _end(_: int, __: FrameType | None) -> None:
    sys.exit()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devtools.emulators", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="holds all data")
    parser.add_argument("--host", default=HOST, help="the address to listen on")
    parser.add_argument("--storage-port", type=int, default=0, help="of GCS; 0 picks a free one")
    parser.add_argument("--bigquery-port", type=int, default=0, help="of BigQuery; 0 picks a free one")
    parser.add_argument("--bucket", help="a bucket to create if it does not exist, in US")
    parser.add_argument("--until-unused", action="store_true", help="end with the last LocalCloud of the folder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
