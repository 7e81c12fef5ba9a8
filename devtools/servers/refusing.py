"""refusing: a server on loopback that speaks the protocol of Postgres, and refuses every connection.

    with RefusingPostgres("28P01", "Passwort-Authentifizierung fehlgeschlagen") as server:
        psycopg.connect(f"host={server.host} port={server.port}")

It stands for servers whose messages are in another language than English.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Thread
from typing import Self

HOST = "127.0.0.1"
_ENCRYPTION_REQUESTS = (80877103, 80877104)


class RefusingPostgres:
    """Refuses connections during a `with` block.

    Args:
        state: the SQLSTATE of the refusal.
        words: its message.
        severity: its severity, in the language of the message.
    """

    host = HOST

    def __init__(self, state: str, words: str, severity: str = "FATAL") -> None:
        fields = {"S": severity, "V": "FATAL", "C": state, "M": words}
        body = b"".join(f"{key}{text}\0".encode() for key, text in fields.items()) + b"\0"
        self._answer = b"E" + (len(body) + 4).to_bytes(4, "big") + body
        self.asked = 0

    def __enter__(self) -> Self:
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, suppress(OSError):
                    self._refuse(client)

    def _refuse(self, client: socket.socket) -> None:
        while request := client.recv(4096):
            if int.from_bytes(request[4:8], "big") in _ENCRYPTION_REQUESTS:
                client.sendall(b"N")
            else:
                self.asked += 1
                client.sendall(self._answer)
                return
