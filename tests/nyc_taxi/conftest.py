"""Lakes for the core's tests: a folder, and file systems that are none."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from include.nyc_taxi.lake import Lake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.at(tmp_path / "lake")


@pytest.fixture(params=["local", "memory", "dir"])
def any_lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lake]:
    if request.param == "local":
        yield Lake.at(tmp_path / "lake")
    elif request.param == "dir":
        yield Lake(DirFileSystem(str(tmp_path), LocalFileSystem(auto_mkdir=True)), "lake")
    else:
        lake = Lake.at(f"memory://{tmp_path.name}")
        lake.fs.mkdirs(lake.root)
        yield lake
        lake.fs.rm(lake.root, recursive=True)
