"""Serve GCS and BigQuery from a folder, until SIGTERM or Ctrl-C.

python -m devtools.emulators --storage-port 4443 --bigquery-port 9050 --folder /var/lib/cloud

The addresses, with the key that clients need, are in addresses.json of the folder. Each port answers GET / with status
200 once it serves.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import uvicorn

from devtools.emulators import ADDRESSES, HOST, SERVER, USERS, create_bucket
from devtools.emulators.access import KEY, OWN_NAMES, Access, Guard
from devtools.emulators.private import private_folder, write_private

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
    os.umask(0o077)
    private_folder(arguments.folder)
    with (arguments.folder / SERVER).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # wait for a server that is stopping to release the files
        _serve(arguments, ready)


def _serve(arguments: argparse.Namespace, ready: int | None) -> None:
    from devtools.emulators.bigquery.server import BigQuery

    folder: Path = arguments.folder.resolve()
    access = _access(arguments)
    storage = _start_storage(arguments, folder, access)
    listener = socket.create_server((arguments.host, arguments.bigquery_port))
    bigquery = BigQuery(folder / "bigquery")
    server = uvicorn.Server(
        uvicorn.Config(
            Guard(bigquery.application, access),
            lifespan="off",
            ws="none",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=PATIENCE_SECONDS,
        )
    )
    ports = {"storage": storage.server_address[1], "bigquery": listener.getsockname()[1]}
    addresses = {name: f"http://{HOST}:{port}/{access.key}" for name, port in ports.items()}
    write_private(folder / ADDRESSES, json.dumps(addresses))
    if ready is not None:
        Thread(target=_end_with_last_user, args=(server, folder), name="users", daemon=True).start()
        os.write(ready, b"1")
        os.close(ready)
    log.info("on %s, ports %s, data in %s", arguments.host, ports, folder)
    try:
        server.run([listener])
    finally:
        storage.shutdown()
        storage.server_close()
        bigquery.close()


def _access(arguments: argparse.Namespace) -> Access:
    names = OWN_NAMES.union(arguments.name)
    if arguments.key_file is None:
        return Access(names=names)
    key = arguments.key_file.read_text().strip()
    if not KEY.fullmatch(key):
        sys.exit(f"{arguments.key_file}: expected a key of letters, digits, - and _")
    return Access(key, names)


def _start_storage(arguments: argparse.Namespace, folder: Path, access: Access) -> HTTPServer:
    from devtools.emulators.bigquery.sources import STORAGE_HOST
    from devtools.emulators.storage import storage_server

    storage = storage_server(arguments.host, arguments.storage_port, folder / "storage", access)
    Thread(target=storage.serve_forever, name="storage", daemon=True).start()
    os.environ[STORAGE_HOST] = f"http://{HOST}:{storage.server_address[1]}/{access.key}"
    if arguments.bucket:
        create_bucket(os.environ[STORAGE_HOST], arguments.bucket)
    return storage


def _end_with_last_user(server: uvicorn.Server, folder: Path) -> None:
    """Stop the server when no user has its lock any more, and keep new ones waiting until it has ended."""
    users = os.open(folder / USERS, os.O_RDWR)
    fcntl.flock(users, fcntl.LOCK_EX)
    server.should_exit = True


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
    parser.add_argument("--folder", type=Path, required=True, help="holds all data; only its owner can enter it")
    parser.add_argument("--host", default=HOST, help="the address to listen on")
    parser.add_argument("--storage-port", type=int, default=0, help="of GCS; 0 picks a free one")
    parser.add_argument("--bigquery-port", type=int, default=0, help="of BigQuery; 0 picks a free one")
    parser.add_argument("--name", action="append", default=[], help="another host name that clients use for it")
    parser.add_argument("--key-file", type=Path, help="holds the key of the addresses; the default is a new one")
    parser.add_argument("--bucket", help="a bucket to create if it does not exist, in US")
    parser.add_argument("--until-unused", action="store_true", help="end with the last LocalCloud of the folder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
