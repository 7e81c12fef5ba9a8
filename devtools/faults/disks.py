"""disks: small file systems of their own, which only root may mount."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from devtools.faults.fault import NotHereError

if TYPE_CHECKING:
    from pathlib import Path

    from devtools.faults.scene import Scene


def small_disk(scene: Scene, name: str, *, kilobytes: int) -> Path:
    """Mount a file system of that size in the scene's folder until the run has ended.

    Raises:
        NotHereError: only root may mount one, and only on Linux.
    """
    folder = scene.folder / name
    folder.mkdir(parents=True)
    mount(scene, folder, kilobytes=kilobytes)
    return folder


def mount(scene: Scene, folder: Path, *, kilobytes: int) -> None:
    """Mount a file system over a folder until the run has ended; what the folder holds is hidden meanwhile."""
    if os.geteuid() != 0 or sys.platform != "linux":
        raise NotHereError("only root may mount a small disk, on Linux")
    _run("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder))
    scene.afterwards(lambda: _run("umount", "--lazy", str(folder)))


def make_read_only(folder: Path) -> None:
    """Let nobody write to a mounted file system."""
    _run("mount", "-o", "remount,ro", str(folder))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotHereError(f"{' '.join(command)}: {done.stderr.strip()}")
