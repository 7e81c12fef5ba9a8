"""s3: a server that speaks S3's protocol, on loopback, with its objects in memory: moto, with two additions.

    with LocalS3() as s3:
        s3.create_bucket("lake")
        lake = s3.lake("lake/trips")

    python -m devtools.servers.s3 --port 9000 --bucket lake

moto answers several requests at once, and looks at a condition before it writes: here, one request is answered after
the other. Uploads must have the md5 that they say. Nobody is asked for a key: any login and password do.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import logging
import signal
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, Self

from include.nyc_taxi.lake import Lake, s3

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    Application = Callable[[dict[str, Any], Callable[..., object]], Iterable[bytes]]

HOST = "127.0.0.1"
LOGIN, PASSWORD, REGION = "local", "local-password", "us-east-1"
_BAD_DIGEST = b"<Error><Code>BadDigest</Code><Message>The Content-MD5 you specified did not match.</Message></Error>"


class LocalS3:
    """Serves buckets during its `with` block. All servers of a process hold the same buckets."""

    def __init__(self, port: int = 0, *, ignored: Collection[tuple[str, str]] = ()) -> None:
        """Serve nothing yet.

        Args:
            port: 0 picks a free one.
            ignored: methods and headers that this server does not know, such as `("DELETE", "If-Match")`.
        """
        self._wanted_port = port
        self._ignored = {(method, f"HTTP_{header.upper().replace('-', '_')}") for method, header in ignored}

    def __enter__(self) -> Self:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request otherwise
        app = _one_after_the_other(DomainDispatcherApplication(create_backend_app), self._ignored)
        self._server = make_server(HOST, self._wanted_port, app, threaded=True)
        self._thread = Thread(target=self._server.serve_forever, name="s3", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"http://{HOST}:{self._server.server_port}"

    @property
    def connection(self) -> dict[str, Any]:
        """Airflow's connection to it."""
        extra = {"endpoint_url": self.url, "region_name": REGION}
        return {"conn_type": "aws", "login": LOGIN, "password": PASSWORD, "extra": extra}

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point Airflow's connection `taxi_aws` and boto3 to it."""
        return {
            "AIRFLOW_CONN_TAXI_AWS": json.dumps(self.connection),
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": LOGIN,
            "AWS_SECRET_ACCESS_KEY": PASSWORD,
            "AWS_DEFAULT_REGION": REGION,
        }

    def client(self) -> Any:  # noqa: ANN401 - boto3 has no types
        """Return a client of boto3, with the settings of a lake's."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=LOGIN,
            aws_secret_access_key=PASSWORD,
            region_name=REGION,
            config=s3.client_config(),
        )

    def create_bucket(self, name: str) -> None:
        """Create a bucket."""
        self.client().create_bucket(Bucket=name)

    def lake(self, root: str) -> Lake:
        """Open the lake in a bucket and prefix."""
        return Lake(s3.objects_of(self.client()), root)


def _one_after_the_other(app: Application, ignored: Collection[tuple[str, str]]) -> Application:
    lock = Lock()

    def answer(request: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
        body = request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))
        wanted = request.get("HTTP_CONTENT_MD5")
        found = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        if wanted not in (None, found):
            start("400 Bad Request", [("Content-Type", "application/xml")])
            return [_BAD_DIGEST]
        request["wsgi.input"] = io.BytesIO(body)
        for method, header in ignored:
            if request["REQUEST_METHOD"] == method:
                request.pop(header, None)
        with lock:
            return list(app(request, start))

    return answer


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m devtools.servers.s3", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=9000, help="0 picks a free one; default: %(default)s")
    parser.add_argument("--bucket", action="append", default=[], help="create this bucket; may be repeated")
    options = parser.parse_args()
    stopped = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with LocalS3(options.port) as server:
        for name in options.bucket:
            server.create_bucket(name)
        for name, value in server.environment.items():
            print(f"export {name}='{value}'", flush=True)
        stopped.wait()


if __name__ == "__main__":
    main()
