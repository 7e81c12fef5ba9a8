"""objects: a file system that opens an object of a bucket in one state of it, for readers of columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gcsfs import GCSFileSystem

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem
    from gcsfs.core import GCSFile


class Objects(GCSFileSystem):  # type: ignore[misc] # published without types
    """Objects named as `bucket/key#generation`, which are not found when they were replaced.

    DuckDB asks for the state of each file many times, and a state that has a generation never changes.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of gcsfs
        super().__init__(**options)
        self._states: dict[str, dict[str, Any]] = {}

    async def _info(self, path: str, generation: str | None = None, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        if "#" not in path:
            return dict(await super()._info(path, generation=generation, **options))
        key = str(self._strip_protocol(path))
        if key not in self._states:
            self._states[key] = await super()._info(path, generation=generation, **options)
        return self._states[key]

    async def _isdir(self, path: str) -> bool:
        return "#" not in path and bool(await super()._isdir(path))

    def _open(self, path: str, mode: str = "rb", **options: Any) -> GCSFile:  # noqa: ANN401
        # By default gcsfs reads ahead in the background, and leaves tasks behind when a reader ends early.
        return super()._open(path, mode, **{"cache_type": "readahead"} | options)


def objects_of(fs: AbstractFileSystem) -> Objects:
    """Return the file system of a lake's bucket as one that takes generations."""
    return Objects(**fs.storage_options | {"version_aware": True})
