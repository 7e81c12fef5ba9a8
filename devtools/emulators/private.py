"""Files and folders that only their owner can read, whatever the umask of the caller."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

OWNERS_ONLY = stat.S_IRWXU


def private_folder(folder: Path, mode: int = OWNERS_ONLY) -> None:
    """Create the folder, or close an existing one to other users.

    Raises:
        PermissionError: it belongs to another user, who could read what is put there.
    """
    folder.mkdir(mode=mode, parents=True, exist_ok=True)
    found = folder.stat()
    # The owner of the parent could put another folder in its place anyway.
    if found.st_uid not in {os.geteuid(), folder.parent.stat().st_uid}:
        raise PermissionError(f"{folder} belongs to uid {found.st_uid}, expected a folder of uid {os.geteuid()}")
    if stat.S_IMODE(found.st_mode) & ~mode:
        folder.chmod(mode)


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step by one that only its owner can read."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=stat.S_IRUSR | stat.S_IWUSR)
    new.write_text(text)
    new.replace(path)
