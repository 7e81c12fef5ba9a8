"""Emulate GCS: gcp-storage-emulator with its objects in a folder, and with the preconditions that it leaves out.

gcp-storage-emulator ignores `ifGenerationMatch` and its relatives. `_Objects` checks them where objects are read,
written and deleted. The server answers one request at a time, so a check and the write that follows it are one step.

Of the verbs of gcp-storage-emulator, those of GCS's JSON API are open: not `/wipe`, which deletes everything, and no
addresses without a version.
"""

from __future__ import annotations

import json
import logging
import re
import time
from dataclasses import dataclass, field
from functools import partial, partialmethod
from http import HTTPStatus
from http.server import HTTPServer, ThreadingHTTPServer
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.server import RequestHandler, Router
from gcp_storage_emulator.storage import Storage

from devtools.emulators.access import STATUS, Denied

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from devtools.emulators.access import Access

Resource = dict[str, Any]

# What a precondition compares, and whether the two must be equal.
PRECONDITIONS = {
    "GenerationMatch": ("generation", True),
    "GenerationNotMatch": ("generation", False),
    "MetagenerationMatch": ("metageneration", True),
    "MetagenerationNotMatch": ("metageneration", False),
}
NEEDS_SOURCE = ("/copyTo/", "/rewriteTo/")
JSON_API = re.compile(r"/|/batch/storage/v1|/((upload|download)/)?storage/v1/b(/.*)?")
TEST_PERMISSIONS = re.compile(r"/storage/v1/b/[^/]+/iam/testPermissions")
BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
PATIENCE_SECONDS = 60  # for the next bytes of a client
NOT_MET = "At least one of the pre-conditions you specified did not hold."


def storage_server(host: str, port: int, folder: Path, access: Access) -> HTTPServer:
    """Return a server that listens, and answers once its `serve_forever` is called.

    Args:
        host: the address to listen on.
        port: 0 picks a free one.
        folder: holds buckets and objects, in `.cloudstorage`.
        access: what a request must have.
    """
    folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)  # it logs a warning for every answer
    return _Server((host, port), partial(_Handler, _Objects(data_dir=str(folder)), access))


class _Server(ThreadingHTTPServer):
    """Reads requests in parallel, so that a client that sends nothing holds up no other, and answers one at a time."""

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - those of HTTPServer
        self.turn = Lock()
        super().__init__(*arguments)

    def server_close(self) -> None:
        """Stop listening, and answer nothing any more once the current request is answered."""
        super().server_close()
        self.turn.acquire()


class _ConditionNotMetError(Exception):
    """A precondition of the request does not hold."""


class _NoSuchObjectError(Exception):
    """The object of a download does not exist. GCS says so in plain text, and Airflow's upload of logs looks for it."""


@dataclass(frozen=True)
class _Request:
    """The request that is being answered, as far as preconditions depend on it."""

    method: str = "GET"
    path: str = ""
    base_url: str = ""
    params: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, method: str, url: str, base_url: str) -> _Request:
        parts = urlsplit(url)
        return cls(method, parts.path, base_url, dict(parse_qsl(parts.query)))

    def check_read(self, found: Resource) -> None:
        """Check an object that is read: the one that the request names, or the source of a copy."""
        if any(part in self.path for part in NEEDS_SOURCE):
            self._check(found, "ifSource", self.params.get("sourceGeneration"))
        elif self.method != "POST":  # reading the parts of a compose request has no preconditions
            self._check(found, "if", self.params.get("generation"))

    def check_write(self, existing: Resource | None) -> None:
        """Check the object that is about to be written or deleted; None if there is none."""
        self._check(existing, "if", self.params.get("generation") if self.method == "DELETE" else None)

    def _check(self, found: Resource | None, prefix: str, generation: str | None) -> None:
        values = found or {"generation": "0", "metageneration": "0"}
        if generation is not None and values["generation"] != generation:
            raise NotFound
        for name, (key, must_be_equal) in PRECONDITIONS.items():
            wanted = self.params.get(prefix + name)
            if wanted is not None and (values[key] == wanted) is not must_be_equal:
                raise _ConditionNotMetError


class _Objects(Storage):  # type: ignore[misc] # published without types
    """Objects on disk, read and written only if the preconditions of the current request hold."""

    request = _Request()

    def create_bucket(self, bucket_name: str, bucket_obj: Resource) -> Resource:
        if not BUCKET.fullmatch(bucket_name):
            raise ValueError(f"Invalid bucket name: {bucket_name!r}")
        return dict(super().create_bucket(bucket_name, bucket_obj))

    def create_resumable_upload(self, bucket_name: str, file_name: str, file_obj: Resource) -> str:
        self.request.check_write(self._existing(bucket_name, file_name))
        return str(super().create_resumable_upload(bucket_name, file_name, file_obj))

    def create_file(
        self, bucket_name: str, file_name: str, content: bytes, file_obj: Resource, file_id: str | None = None
    ) -> None:
        existing = self._existing(bucket_name, file_name)
        self.request.check_write(existing)
        _number(file_obj, after=existing)
        self._link(file_obj)
        super().create_file(bucket_name, file_name, content, file_obj, file_id)

    def delete_file(self, bucket_name: str, file_name: str) -> None:
        existing = self._existing(bucket_name, file_name)
        if existing:
            self.request.check_write(existing)
        super().delete_file(bucket_name, file_name)

    def get_file(self, bucket_name: str, file_name: str, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        try:
            return super().get_file(bucket_name, file_name, *arguments, **options)
        except NotFound:
            if self.request.method != "GET":
                raise
            raise _NoSuchObjectError(f"No such object: {bucket_name}/{file_name}") from None

    def get_file_obj(self, bucket_name: str, file_name: str) -> Resource:
        found: Resource = super().get_file_obj(bucket_name, file_name)
        self.request.check_read(found)
        return self._link(found)

    def get_file_list(self, *arguments: Any, **options: Any) -> tuple[list[Resource], list[str]]:  # noqa: ANN401
        objects, prefixes = super().get_file_list(*arguments, **options)
        return [self._link(found) for found in objects], prefixes

    def _link(self, found: Resource) -> Resource:
        """Point the object's link to the server as it runs now, with its key; clients download from it."""
        path = found["mediaLink"].partition("/download/")[2]
        found["mediaLink"] = f"{self.request.base_url}/download/{path}"
        return found

    def _existing(self, bucket_name: str, file_name: str) -> Resource | None:
        found: Resource | None = self.objects.get(bucket_name, {}).get(file_name)
        return found


def _number(file_obj: Resource, *, after: Resource | None) -> None:
    """Give an object its generation when its upload ends; the emulator gives it when the upload starts."""
    early, last = file_obj["generation"], int(after["generation"]) if after else 0
    file_obj["generation"] = str(max(time.time_ns(), last + 1))
    for name in ("id", "mediaLink"):
        file_obj[name] = file_obj[name].replace(early, file_obj["generation"])


class _Handler(RequestHandler):  # type: ignore[misc] # published without types
    """Answers requests; one whose preconditions do not hold gets 412, or 304 if it only reads."""

    timeout = PATIENCE_SECONDS
    path: str
    server: _Server

    def __init__(self, objects: _Objects, access: Access, *arguments: Any) -> None:  # noqa: ANN401 - of the server
        self.access = access
        super().__init__(objects, *arguments)

    def parse_request(self) -> bool:
        """Return whether the request may be answered, without the key in its path; answer it if not."""
        if not super().parse_request():
            return False
        try:
            self.path = self.access.admit(self.path, self.headers)
        except Denied as denied:
            self._send(STATUS, denied.body())
            return False
        path, _, query = self.path.partition("?")
        if TEST_PERMISSIONS.fullmatch(path):
            self._send(HTTPStatus.OK, json.dumps({"permissions": parse_qs(query).get("permissions", [])}).encode())
            return False
        if not JSON_API.fullmatch(path):
            self._refuse(HTTPStatus.NOT_FOUND, "notFound", f"local cloud: {path} is not in the JSON API of GCS")
            return False
        return True

    def send_header(self, keyword: str, value: str) -> None:
        """Send a header; the address of a resumable upload gets the key."""
        if keyword == "Location":
            value = f"{self._base_url()}{value.removeprefix(self._base_url(with_key=False))}"
        super().send_header(keyword, value)

    def _answer(self, method: str) -> None:
        with self.server.turn:
            self.storage.request = _Request.of(method, self.path, self._base_url())
            try:
                Router(self).handle(method)
            except _ConditionNotMetError:
                self._refuse_condition()
            except _NoSuchObjectError as error:
                self._send(HTTPStatus.NOT_FOUND, str(error).encode(), "text/html; charset=UTF-8")
            except ValueError as error:  # a name that GCS or the file system refuses
                self._refuse(HTTPStatus.BAD_REQUEST, "invalid", f"local cloud: {error}")

    do_GET = partialmethod(_answer, "GET")  # noqa: N815 - a name of http.server
    do_POST = partialmethod(_answer, "POST")  # noqa: N815 - a name of http.server
    do_PUT = partialmethod(_answer, "PUT")  # noqa: N815 - a name of http.server
    do_PATCH = partialmethod(_answer, "PATCH")  # noqa: N815 - a name of http.server
    do_DELETE = partialmethod(_answer, "DELETE")  # noqa: N815 - a name of http.server

    def _base_url(self, *, with_key: bool = True) -> str:
        return f"http://{self.headers['Host']}" + (f"/{self.access.key}" if with_key else "")

    def _refuse_condition(self) -> None:
        if self.command == "GET" and any("NotMatch" in name for name in self.storage.request.params):
            self.send_response(HTTPStatus.NOT_MODIFIED)
            self.end_headers()
            return
        self._refuse(HTTPStatus.PRECONDITION_FAILED, "conditionNotMet", NOT_MET)

    def _refuse(self, status: HTTPStatus, reason: str, message: str) -> None:
        about = {"domain": "global", "reason": reason, "message": message}
        self._send(status, json.dumps({"error": {"code": status, "message": message, "errors": [about]}}).encode())

    def _send(self, status: int, answer: bytes, content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
