"""bucket: the lake in a bucket of Google Cloud Storage. Generation preconditions make conditional writes safe."""

from __future__ import annotations

import base64
import hashlib
import uuid
from contextlib import contextmanager, suppress
from datetime import timedelta
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from include.nyc_taxi.errors import LakeChanged, LakeUnavailable
from include.nyc_taxi.lake.keys import STAGING
from include.nyc_taxi.lake.store import ANYTHING, STAGED_FOR_SECONDS, Anything, Stamp, Store, temporary_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from fsspec import AbstractFileSystem

    from include.nyc_taxi.lake.store import Replacing

_REWRITE = "b/{}/o/{}/rewriteTo/b/{}/o/{}"


class Bucket(Store):
    """Objects in a bucket, under a prefix if the root has one."""

    def __init__(self, fs: AbstractFileSystem, root: str) -> None:
        """Hold objects under `root`, `bucket` or `bucket/prefix`, by a gcsfs file system."""
        self.fs = fs
        self.root = root

    @staticmethod
    def opened(path: str) -> tuple[AbstractFileSystem, str]:
        """Open a bucket with the credentials of this machine, as gcsfs finds them."""
        from fsspec.core import url_to_fs

        return cast("tuple[AbstractFileSystem, str]", url_to_fs(f"gs://{path}"))

    def objects(self) -> AbstractFileSystem:
        from include.nyc_taxi.lake.objects import objects_of

        return objects_of(self.fs)

    def url(self, key: str) -> str:
        return str(self.fs.unstrip_protocol(self._path(key)))

    def stamp(self, key: str) -> Stamp | None:
        try:
            self.fs.invalidate_cache()
            info = self.fs.info(self._path(key))
        except FileNotFoundError:
            return None
        return _stamp_of(info) if info["type"] == "file" else None

    def listed(self, zone: str) -> dict[str, Stamp]:
        self.fs.invalidate_cache()
        found = self.fs.find(self._path(zone), detail=True)
        return {path.removeprefix(f"{self.root}/"): _stamp_of(info) for path, info in found.items()}

    def open(self, key: str) -> BinaryIO:
        self.fs.invalidate_cache()  # other runs write there meanwhile
        return cast("BinaryIO", self.fs.open(self._path(key), "rb"))

    def read(self, key: str) -> bytes:
        # One request. An opened object is read by the size that it had, and another run may have replaced it.
        return cast("bytes", self.fs.cat_file(self._path(key)))

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        with temporary_folder() as folder:
            path = folder / PurePosixPath(key).name
            self.fs.get_file(self._path(key), str(path))
            self._check_same(path, key)
            yield path

    def staging_folder(self) -> AbstractContextManager[Path]:
        return temporary_folder()

    def commit(self, path: Path, key: str, replacing: Replacing) -> None:
        """Upload the file to a staging key, and move it to its own key when the upload is complete."""
        parts = f"{STAGING}/{uuid.uuid4().hex}/{path.name}"
        self.fs.put_file(str(path), self._path(parts))
        self._check_same(path, parts)
        self._delete_uploads_older_than(parts)
        try:
            self.move(parts, key, replacing)
        except LakeChanged:
            self.delete(parts)
            raise

    def move(self, key: str, to: str, replacing: Replacing, moving: Replacing = ANYTHING) -> None:
        try:
            self._rewrite(key, to, _condition(replacing) | _condition(moving, "ifSourceGenerationMatch"))
        except OSError as error:
            if not _is_refused(error):
                raise
            # The answer to a first attempt may have been lost: then it is our own bytes that are there.
            ours, there = self.stamp(key), self.stamp(to)
            if ours is None or there is None or ours.md5 is None or ours.md5 != there.md5:
                raise LakeChanged(f"{self.url(to)}: another run replaced it meanwhile") from error
        self.delete(key, moving)

    def copy(self, key: str, to: str, copying: Replacing) -> None:
        try:
            self._rewrite(key, to, _condition(copying, "ifSourceGenerationMatch"))
        except OSError as error:
            if _is_refused(error):
                raise LakeChanged(f"{self.url(key)}: another run replaced it meanwhile") from error
            raise

    def delete(self, key: str, deleting: Replacing = ANYTHING) -> None:
        bucket, name, _ = self.fs.split_path(self._path(key))
        try:
            self.fs.call("DELETE", "b/{}/o/{}", bucket, name, **_condition(deleting))
        except FileNotFoundError:
            return
        except OSError as error:
            if _is_refused(error):
                raise LakeChanged(f"{self.url(key)}: another run replaced it meanwhile") from error
            raise

    def _path(self, key: str) -> str:
        return f"{self.root}/{key}"

    def _rewrite(self, key: str, to: str, condition: Mapping[str, str]) -> None:
        (bucket, name, _), (other_bucket, other_name, _) = map(self.fs.split_path, (self._path(key), self._path(to)))
        token: dict[str, str] = {}
        while True:
            answer: dict[str, Any] = self.fs.call(
                "POST",
                _REWRITE,
                bucket,
                name,
                other_bucket,
                other_name,
                headers={"Content-Type": "application/json"},
                json_out=True,
                **condition,
                **token,
            )
            if answer["done"]:
                return
            token = {"rewriteToken": answer["rewriteToken"]}

    def _check_same(self, path: Path, key: str) -> None:
        """Check that a file and an object have the same size and the same md5."""
        info = self.fs.info(self._path(key))
        there = info["size"], info.get("md5Hash")
        here = path.stat().st_size, _md5_of(path) if there[1] else None
        if there != here:
            raise LakeUnavailable(f"{self.url(key)}: size and md5 are {there} in the bucket, expected {here}")

    def _delete_uploads_older_than(self, upload: str) -> None:
        """Delete what killed processes left a day before this upload, by the clock of the bucket."""
        before = self.fs.modified(self._path(upload)) - timedelta(seconds=STAGED_FOR_SECONDS)
        for path in self.fs.find(self._path(STAGING)):
            with suppress(FileNotFoundError):
                if self.fs.modified(path) < before:
                    self.fs.rm_file(path)


def _stamp_of(info: Mapping[str, Any]) -> Stamp:
    return Stamp(int(info["size"]), info["etag"], info["mtime"], str(info["generation"]), info.get("md5Hash"))


def _condition(state: Replacing, name: str = "ifGenerationMatch") -> dict[str, str]:
    """Return the parameter that makes the bucket refuse a request unless the object is in this state."""
    if isinstance(state, Anything):
        return {}
    return {name: "0" if state is None else state.version}


def _is_refused(error: OSError) -> bool:
    """Whether a precondition failed, which gcsfs reports as one error or another."""
    return isinstance(error, FileExistsError) or getattr(error, "code", None) == HTTPStatus.PRECONDITION_FAILED


def _md5_of(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
    return base64.b64encode(digest).decode()
