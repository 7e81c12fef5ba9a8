"""web: play the hosts of the web with the files of a folder, so that clients use real URLs without the internet.

A proxy on loopback answers every https request to the hosts that it plays, with a certificate of its own:

    with Web(Path("published"), ["files.example.org"], certificate=Path("web.pem")) as web:
        subprocess.run(command, env=os.environ | web.environment)
"""

from __future__ import annotations

import socket
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from devtools.servers.publisher import HOST, Publisher

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PIECE_BYTES = 65_536


class Web:
    """Plays hosts of the web during its `with` block.

    Args:
        folder: the files that every host has.
        hosts: the names of the hosts; any other is answered with 502.
        certificate: the path to write the hosts' certificate and its key to.
    """

    def __init__(self, folder: Path, hosts: Sequence[str], *, certificate: Path) -> None:
        self.hosts = frozenset(hosts)
        self.certificate = certificate
        write_certificate(hosts, certificate)
        self.publisher = Publisher(folder, certificate=certificate)

    def __enter__(self) -> Self:
        self.publisher.__enter__()
        self._server = ThreadingHTTPServer((HOST, 0), partial(_Proxy, self))
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.publisher.__exit__()

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a client finds the hosts."""
        proxy = f"http://{HOST}:{self._server.server_port}"
        return {"HTTPS_PROXY": proxy, "https_proxy": proxy, "SSL_CERT_FILE": str(self.certificate)}


class _Proxy(BaseHTTPRequestHandler):
    def __init__(self, web: Web, request: socket.socket, address: object, server: ThreadingHTTPServer) -> None:
        self.web = web
        super().__init__(request, address, server)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_CONNECT(self) -> None:
        """Connect the client to the publisher, which plays the host that it asks for."""
        self.close_connection = True
        if self.path.partition(":")[0] not in self.web.hosts:
            self.send_error(502)
            return
        with socket.create_connection((HOST, self.web.publisher.port)) as host:
            self.send_response(200)
            self.end_headers()
            Thread(target=_copy, args=(host, self.connection), daemon=True).start()
            _copy(self.connection, host)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):  # either side may be gone
        while piece := source.recv(PIECE_BYTES):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)


def write_certificate(hosts: Sequence[str], path: Path) -> None:
    """Write a certificate for the hosts, which clients can trust as an authority, and its key, into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hosts[0])])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(made.public_bytes(pem) + private)
