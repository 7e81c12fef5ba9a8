"""s3: the lake in a bucket of S3, or of a server that speaks its protocol. Conditional uploads make writes safe.

Nothing is asked of the server but that it honours `If-Match` and `If-None-Match` when an object is put, which is tried
before the first conditional write of a process. See ADR 25 for what that leaves open.

An object without bytes counts as deleted, because an upload can be conditional everywhere and a deletion cannot.
"""

from __future__ import annotations

import base64
import hashlib
import io
import uuid
from contextlib import contextmanager
from datetime import timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from include.nyc_taxi.errors import LakeChanged, LakeUnavailable, SetUpError
from include.nyc_taxi.lake.keys import STAGING
from include.nyc_taxi.lake.s3_conditions import are_deletions_conditional, is_refused, status_of
from include.nyc_taxi.lake.store import ANYTHING, STAGED_FOR_SECONDS, Anything, Stamp, Store, temporary_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from include.nyc_taxi.lake.s3_objects import Objects
    from include.nyc_taxi.lake.store import Replacing

_MD5, _WRITE = "nyc-taxi-md5", "nyc-taxi-write"
_CHUNK_BYTES = 1024 * 1024
_CLIENT: Mapping[str, Any] = {
    "connect_timeout": 20,
    "read_timeout": 60,
    "retries": {"mode": "standard", "total_max_attempts": 5},
    # Each upload has an md5. Many servers other than Amazon's refuse the newer checksums that boto3 adds.
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}


class S3(Store):
    """Objects in a bucket, under a prefix if the root has one."""

    fs: Objects

    def __init__(self, fs: Objects, root: str) -> None:
        """Hold objects under `root`, `bucket` or `bucket/prefix`."""
        self.fs = fs
        self.root = root
        self._client = fs.client

    @staticmethod
    def opened(path: str) -> tuple[Objects, str]:
        """Open a bucket with the credentials of this machine, as boto3 finds them.

        Raises:
            SetUpError: boto3 is not installed.
        """
        try:
            import boto3
        except ImportError as error:
            raise missing_package(f"s3://{path}", "boto3") from error
        return objects_of(boto3.client("s3", config=client_config())), path

    def objects(self) -> Objects:
        return self.fs

    def url(self, key: str) -> str:
        return f"s3://{self.root}/{key}"

    def stamp(self, key: str) -> Stamp | None:
        head = self._head(key)
        return _stamp_of(head) if head is not None and head["ContentLength"] else None

    def listed(self, zone: str) -> dict[str, Stamp]:
        entries = self.fs.entries(f"{self.root}/{zone.rstrip('/')}/" if zone else f"{self.root}/")
        return {
            f"{entry['Bucket']}/{entry['Key']}".removeprefix(f"{self.root}/"): _stamp_of(entry)
            for entry in entries
            if entry["Size"]
        }

    def open(self, key: str) -> BinaryIO:
        return cast("BinaryIO", self.fs.open(f"{self.root}/{key}", "rb"))

    def read(self, key: str) -> bytes:
        content = io.BytesIO()
        self._get(key, content, ANYTHING)
        return content.getvalue()

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        with temporary_folder() as folder:
            path = folder / PurePosixPath(key).name
            with path.open("wb") as file:
                self._get(key, file, ANYTHING)
            yield path

    def staging_folder(self) -> AbstractContextManager[Path]:
        return temporary_folder()

    def commit(self, path: Path, key: str, replacing: Replacing) -> None:
        """Upload the file: readers find the object that was there until S3 has got every byte.

        Raises:
            ValueError: the file is empty, as an object without bytes counts as deleted.
        """
        if not path.stat().st_size:
            raise ValueError(f"{self.url(key)}: found an empty file; expected bytes")
        with path.open("rb") as file:
            self._put(file, key, replacing)
        if key.startswith(f"{STAGING}/"):
            self._delete_staged_a_day_ago()

    def move(self, key: str, to: str, replacing: Replacing, moving: Replacing = ANYTHING) -> None:
        self._transfer(key, to, replacing, moving)
        self.delete(key, moving)

    def copy(self, key: str, to: str, copying: Replacing) -> None:
        self._transfer(key, to, ANYTHING, copying)

    def delete(self, key: str, deleting: Replacing = ANYTHING) -> None:
        """Delete the object. On a condition, it is first emptied by a conditional upload: from then on it is deleted.

        The empty object is removed only if the server can do that on a condition; otherwise it stays.
        """
        if isinstance(deleting, Anything):
            self._client.delete_object(**self._place(key))
            return
        if self.stamp(key) != deleting:  # the time, too: a state has the ETag of any other with the same bytes
            raise self._changed(key)
        if deleting is not None:
            etag = self._put(io.BytesIO(), key, deleting)
            if self._deletes_on_condition():
                self._remove(key, etag)

    def check(self) -> None:
        """See that the server honours the conditions of writes.

        Raises:
            SetUpError: it does not.
        """
        self._deletes_on_condition()

    def _put(self, body: BinaryIO, key: str, replacing: Replacing) -> str:
        """Upload an object in one request, and return its ETag."""
        condition = _condition(replacing)
        if condition:
            self._deletes_on_condition()
        write, md5 = uuid.uuid4().hex, _md5_of(body)
        body.seek(0)
        try:
            answer = self._client.put_object(
                **self._place(key), Body=body, ContentMD5=md5, Metadata={_MD5: md5, _WRITE: write}, **condition
            )
        except self.fs.client_error as error:
            if not is_refused(error):
                raise
            there = self._head(key)
            # The answer to a first attempt may have been lost: then it is our own write that is there.
            if there is not None and there["Metadata"].get(_WRITE) == write:
                return str(there["ETag"])
            if replacing is None and there is not None and not there["ContentLength"]:
                return self._put(body, key, _stamp_of(there))
            raise self._changed(key) from error
        return str(answer["ETag"])

    def _get(self, key: str, file: BinaryIO, state: Replacing) -> None:
        """Write the object's bytes into a file, all of one state of it."""
        try:
            answer = self._client.get_object(**self._place(key), **_condition(state))
        except self.fs.client_error as error:
            if is_refused(error):
                is_gone = isinstance(state, Anything) or self._head(key) is None
                raise FileNotFoundError(self.url(key)) if is_gone else self._changed(key) from error
            raise
        if not answer["ContentLength"]:
            raise FileNotFoundError(self.url(key))
        digest = hashlib.md5(usedforsecurity=False)
        for chunk in answer["Body"].iter_chunks(_CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
        found, sent = base64.b64encode(digest.digest()).decode(), answer["Metadata"].get(_MD5)
        if sent not in (None, found):
            raise LakeUnavailable(f"{self.url(key)}: the md5 of the bytes that came is {found}, expected {sent}")

    def _transfer(self, key: str, to: str, replacing: Replacing, state: Replacing) -> None:
        """Copy an object through this machine: few servers can copy on a condition of both objects."""
        with temporary_folder() as folder, (folder / PurePosixPath(to).name).open("w+b") as file:
            self._get(key, file, state)
            self._put(file, to, replacing)

    def _remove(self, key: str, etag: str) -> None:
        try:
            self._client.delete_object(**self._place(key), IfMatch=etag)
        except self.fs.client_error as error:
            if not is_refused(error):  # another run has written there meanwhile
                raise

    def _deletes_on_condition(self) -> bool:
        return are_deletions_conditional(self._client, self._place(f"{STAGING}/{uuid.uuid4().hex}/condition"))

    def _delete_staged_a_day_ago(self) -> None:
        """Delete what killed processes left a day ago, by the clock of the server."""
        for entry in self.fs.entries(f"{self.root}/{STAGING}/"):
            if entry["LastModified"] < parsedate_to_datetime(entry["Date"]) - timedelta(seconds=STAGED_FOR_SECONDS):
                self._client.delete_object(Bucket=entry["Bucket"], Key=entry["Key"])

    def _head(self, key: str) -> dict[str, Any] | None:
        try:
            return dict(self._client.head_object(**self._place(key)))
        except self.fs.client_error as error:
            if status_of(error) == HTTPStatus.NOT_FOUND:
                return None
            raise

    def _place(self, key: str) -> dict[str, str]:
        return self.fs.place_of(f"{self.root}/{key}")

    def _changed(self, key: str) -> LakeChanged:
        return LakeChanged(f"{self.url(key)}: another run replaced it meanwhile")


def client_config(others: Any = None) -> Any:  # noqa: ANN401 - botocore has no types
    """Return the settings of a client for a lake; those of a connection come before them."""
    from botocore.config import Config

    ours = Config(**_CLIENT)
    return ours if others is None else ours.merge(others)


def objects_of(client: Any) -> Objects:  # noqa: ANN401 - boto3 has no types
    """Return what `Lake` takes as its file system, for a client of boto3."""
    from include.nyc_taxi.lake.s3_objects import Objects

    return Objects(client)


def missing_package(url: str, package: str) -> SetUpError:
    """Return the error that says what to install for a lake in S3."""
    return SetUpError(
        f"lake {url}: needs the package {package}, which is not installed; install it: pip install -r "
        "requirements-extra.txt, or build the image with TAXI_REQUIREMENTS=requirements-extra.txt"
    )


def _stamp_of(entry: Mapping[str, Any]) -> Stamp:
    """The state that an answer about an object, or an entry of a listing, tells of. S3's times have whole seconds."""
    size = entry["Size"] if "Size" in entry else entry["ContentLength"]
    etag = str(entry["ETag"]).strip('"')
    return Stamp(
        int(size), etag, entry["LastModified"].replace(microsecond=0), etag, entry.get("Metadata", {}).get(_MD5)
    )


def _condition(state: Replacing) -> dict[str, str]:
    """Return the parameter that makes S3 refuse a request unless the object is in this state."""
    if isinstance(state, Anything):
        return {}
    return {"IfNoneMatch": "*"} if state is None else {"IfMatch": f'"{state.version}"'}


def _md5_of(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()  # type: ignore[arg-type] # any file
    return base64.b64encode(digest).decode()
