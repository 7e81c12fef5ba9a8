"""Emulate GCS: gcp-storage-emulator with its objects in a folder, and with the preconditions that it leaves out.

gcp-storage-emulator ignores `ifGenerationMatch` and its relatives. `_Objects` checks them where objects are read,
written and deleted. The server answers one request at a time, so a check and the write that follows it are one step.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.server import HTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Resource = dict[str, Any]

# What a precondition compares, and whether the two must be equal.
PRECONDITIONS = {
    "GenerationMatch": ("generation", True),
    "GenerationNotMatch": ("generation", False),
    "MetagenerationMatch": ("metageneration", True),
    "MetagenerationNotMatch": ("metageneration", False),
}
NEEDS_SOURCE = ("/copyTo/", "/rewriteTo/")
NOT_MET = "At least one of the pre-conditions you specified did not hold."


def storage_server(host: str, port: int, folder: Path) -> HTTPServer:
    """Return a server that listens, and answers once its `serve_forever` is called.

    Args:
        host: the address to listen on.
        port: 0 picks a free one.
        folder: holds buckets and objects, in `.cloudstorage`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)  # it logs a warning for every answer
    return HTTPServer((host, port), partial(_Handler, _Objects(data_dir=str(folder))))


class _ConditionNotMetError(Exception):
    """A precondition of the request does not hold."""


@dataclass(frozen=True)
class _Request:
    """The request that is being answered, as far as preconditions depend on it."""

    method: str = "GET"
    path: str = ""
    params: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, method: str, url: str) -> _Request:
        parts = urlsplit(url)
        return cls(method, parts.path, dict(parse_qsl(parts.query)))

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

    def create_resumable_upload(self, bucket_name: str, file_name: str, file_obj: Resource) -> str:
        self.request.check_write(self._existing(bucket_name, file_name))
        return str(super().create_resumable_upload(bucket_name, file_name, file_obj))

    def create_file(
        self, bucket_name: str, file_name: str, content: bytes, file_obj: Resource, file_id: str | None = None
    ) -> None:
        existing = self._existing(bucket_name, file_name)
        self.request.check_write(existing)
        _number(file_obj, after=existing)
        super().create_file(bucket_name, file_name, content, file_obj, file_id)

    def delete_file(self, bucket_name: str, file_name: str) -> None:
        existing = self._existing(bucket_name, file_name)
        if existing:
            self.request.check_write(existing)
        super().delete_file(bucket_name, file_name)

    def get_file_obj(self, bucket_name: str, file_name: str) -> Resource:
        found: Resource = super().get_file_obj(bucket_name, file_name)
        self.request.check_read(found)
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

    def parse_request(self) -> bool:
        is_valid = bool(super().parse_request())
        if is_valid:
            self.storage.request = _Request.of(self.command, self.path)
        return is_valid

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except _ConditionNotMetError:
            self._refuse()

    def _refuse(self) -> None:
        if self.command == "GET" and any("NotMatch" in name for name in self.storage.request.params):
            self.send_response(HTTPStatus.NOT_MODIFIED)
            self.end_headers()
            return
        reason = {"domain": "global", "reason": "conditionNotMet", "message": NOT_MET}
        answer = json.dumps({"error": {"code": 412, "message": NOT_MET, "errors": [reason]}}).encode()
        self.send_response(HTTPStatus.PRECONDITION_FAILED)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
