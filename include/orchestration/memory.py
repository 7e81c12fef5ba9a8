"""memory: name a task whose earlier try was killed because the machine had no memory left.

The kernel kills such a process with SIGKILL. No code of it runs then, and Airflow retries it without asking the retry
policy: the next try is killed too, some minutes later. So each try leaves a mark on its machine, with how many
processes the kernel has killed so far. A try that ends by itself removes its mark, and one that finds a mark compares.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from time import time
from typing import Any

from include.nyc_taxi import faults
from include.nyc_taxi.errors import OutOfMemory

_COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))
"""Of a container, else of the machine."""
_KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)
_KEPT_SECONDS = 24 * 3600


def check_memory(context: Any) -> None:  # noqa: ANN401 - Airflow's context
    """Leave a mark that a try begins. It runs before each task of the Dags.

    Raises:
        OutOfMemory: the try before left its mark, and the kernel has killed processes since then.
    """
    ti, kills = context["ti"], _kills()
    if kills is None:
        return
    mark = _mark(ti)
    before = _kills_at(mark) if ti.try_number > 1 else kills
    if kills <= before:
        _leave(mark, kills)
        return
    with suppress(OSError):
        mark.unlink()
    raise OutOfMemory(
        f"{ti.task_id}: try {ti.try_number - 1} was killed, while the kernel killed {kills - before} processes as "
        f"memory ran out; {faults.MEMORY.advice}, and clear the task"
    )


def forget_memory(context: Any) -> None:  # noqa: ANN401 - Airflow's context
    """Remove the mark of a try that ended by itself.

    For one that was killed, Airflow calls it too, from another process: that one's mark stays.
    """
    mark = _mark(context["ti"])
    with suppress(OSError):
        if mark.read_text().split()[-1:] == [str(os.getpid())]:
            mark.unlink()


def _leave(mark: Path, kills: int) -> None:
    """Leave a mark with the number of kills and of this process; a task runs without one where none can be left."""
    with suppress(OSError):
        mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for other in mark.parent.iterdir():
            if _is_old(other):
                other.unlink()
        mark.write_text(f"{kills} {os.getpid()}")


def _is_old(mark: Path) -> bool:
    return time() - mark.stat().st_mtime > _KEPT_SECONDS


def _kills() -> int | None:
    """Return how many processes of this container the kernel has killed for memory; None where it does not count."""
    for path in _COUNTERS:
        with suppress(OSError):
            if found := _KILLS.search(path.read_text()):
                return int(found[1])
    return None


def _kills_at(mark: Path) -> float:
    """Return the count in a mark; of no mark, or one of long ago, more than there can be."""
    with suppress(OSError, ValueError, IndexError):
        if not _is_old(mark):
            return int(mark.read_text().split()[0])
    return float("inf")


def _mark(ti: Any) -> Path:  # noqa: ANN401 - Airflow's task instance
    name = hashlib.sha256(repr((ti.dag_id, ti.run_id, ti.task_id, ti.map_index)).encode()).hexdigest()
    return Path(tempfile.gettempdir()) / f"nyc-taxi-tries-{os.getuid()}" / name
