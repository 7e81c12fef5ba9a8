"""s3_objects: a file system that reads objects of S3, each in one state of it, for readers of columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from fsspec import AbstractFileSystem
from fsspec.spec import AbstractBufferedFile

from include.nyc_taxi.lake.s3_conditions import is_refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime


class Objects(AbstractFileSystem):  # type: ignore[misc] # published without types
    """Objects named as `bucket/key`, or as `bucket/key#etag`, which are not found when they were replaced.

    DuckDB asks for the state of each file many times, and a state that has an ETag never changes. It only reads:
    whoever writes to the lake does it through the lake.
    """

    protocol = "s3"
    root_marker = ""
    cachable = False

    def __init__(self, client: Any, **options: Any) -> None:  # noqa: ANN401 - boto3 has no types
        """Read by a client of boto3."""
        super().__init__(**options)
        self.client = client
        self.client_error: type[Exception] = client.exceptions.ClientError
        self._states: dict[str, dict[str, Any]] = {}

    @staticmethod
    def place_of(path: str) -> dict[str, str]:
        """Return the bucket and the key that a path means, as parameters of a request."""
        bucket, _, key = path.partition("/")
        return {"Bucket": bucket, "Key": key}

    def entries(self, path: str) -> Iterator[dict[str, Any]]:
        """List the objects whose path begins with this one, as S3 does, each with its `Bucket` and the server's `Date`.

        Raises:
            botocore.exceptions.ClientError: S3 refuses the request.
        """
        bucket, _, prefix = path.partition("/")
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            date = page["ResponseMetadata"]["HTTPHeaders"]["date"]
            for entry in page.get("Contents", ()):
                yield {**entry, "Bucket": bucket, "Date": date}

    def find(self, path: str, maxdepth: int | None = None, withdirs: bool = False, **options: Any) -> Any:  # noqa: ANN401, ARG002, FBT001, FBT002 - fsspec's signature
        found = self.entries(f"{self._strip_protocol(path).rstrip('/')}/")
        infos = {f"{entry['Bucket']}/{entry['Key']}": _info(entry) for entry in found}
        return infos if options.get("detail") else sorted(infos)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:  # noqa: ANN401, FBT001, FBT002 - fsspec's signature
        infos = self.find(path, detail=True)
        return list(infos.values()) if detail else sorted(infos)

    def info(self, path: str, **_: Any) -> dict[str, Any]:  # noqa: ANN401 - fsspec's signature
        stated = str(self._strip_protocol(path))
        if stated in self._states:
            return self._states[stated]
        name, _mark, etag = stated.partition("#")
        found = self._asked(name, etag)
        if etag:
            self._states[stated] = found
        return found

    def modified(self, path: str) -> datetime:
        return cast("datetime", self.info(path)["mtime"])

    def _asked(self, path: str, etag: str) -> dict[str, Any]:
        place = self.place_of(path)
        try:
            if not place["Key"]:
                self.client.head_bucket(Bucket=place["Bucket"])
                return {"name": path, "size": 0, "type": "directory"}
            head = self.client.head_object(**place, **_if_match(etag))
        except self.client_error as error:
            if is_refused(error):
                raise FileNotFoundError(f"s3://{path}") from error
            raise
        if not head["ContentLength"]:
            raise FileNotFoundError(f"s3://{path}")
        return _info({**head, **place})

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Reader:  # noqa: ANN401 - fsspec's signature
        if mode != "rb":
            raise ValueError(f"s3://{path} was to be opened as {mode!r}; expected 'rb'")
        options = {"cache_type": "readahead"} | options
        return Reader(self, path, self.info(path), **options)


class Reader(AbstractBufferedFile):  # type: ignore[misc] # published without types
    """One state of an object, from which ranges are read."""

    def __init__(self, fs: Objects, path: str, state: dict[str, Any], **options: Any) -> None:  # noqa: ANN401 - fsspec's
        """Read nothing yet."""
        super().__init__(fs, path, "rb", **options | {"size": state["size"]})
        self._client = fs.client
        self._place = fs.place_of(state["name"])
        self._etag = state["etag"]

    def _fetch_range(self, start: int, end: int) -> bytes:
        try:
            answer = self._client.get_object(**self._place, Range=f"bytes={start}-{end - 1}", **_if_match(self._etag))
        except self.fs.client_error as error:
            if is_refused(error):
                raise FileNotFoundError(f"s3://{self.path}: another run replaced it meanwhile") from error
            raise
        return bytes(answer["Body"].read())


def _if_match(etag: str) -> dict[str, str]:
    return {"IfMatch": f'"{etag}"'} if etag else {}


def _info(entry: dict[str, Any]) -> dict[str, Any]:
    """What fsspec tells of a file, from an answer about an object or an entry of a listing."""
    return {
        "name": f"{entry['Bucket']}/{entry['Key']}",
        "size": entry["Size"] if "Size" in entry else entry["ContentLength"],
        "type": "file",
        "etag": str(entry["ETag"]).strip('"'),
        "mtime": entry["LastModified"],
        "version": str(entry["ETag"]).strip('"'),
    }
