"""measuring: time, CPU and memory of a process and of the Postgres server that it uses, measured from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import resource
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

_SETTLING_SECONDS = 0.2
_MAXRSS_PER_MB = 1024 * (1024 if sys.platform == "darwin" else 1)


@dataclass(frozen=True)
class Measured:
    """One run of one process with its children: seconds of time and CPU, and the highest peak memory of any of them.

    The kernel never reports a peak below that of the measuring process, which must therefore be small.
    """

    wall: float
    client_cpu: float
    server_cpu: float
    peak_mb: float
    output: str

    @property
    def cpu(self) -> float:
        """CPU seconds of client and server together."""
        return self.client_cpu + self.server_cpu


def measure(command: Sequence[str], cwd: Path, environment: Mapping[str, str], server_pid: int) -> Measured:
    """Run the command and wait for its end; raise if it fails."""
    with tempfile.TemporaryFile("w+") as output:
        server_before = server_cpu(server_pid)
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        time.sleep(_SETTLING_SECONDS)  # until the backend has ended and counts with the postmaster
        output.seek(0)
        return Measured(
            wall=wall,
            client_cpu=usage.ru_utime + usage.ru_stime,
            server_cpu=server_cpu(server_pid) - server_before,
            peak_mb=peak_mb(usage),
            output=output.read(),
        )


def peak_mb(usage: resource.struct_rusage) -> float:
    """Return the peak memory of the largest process in the usage."""
    return usage.ru_maxrss / _MAXRSS_PER_MB


def cpu_of_trees(pids: Iterable[int]) -> float:
    """Return the CPU seconds so far of processes and all their descendants, including those that have ended."""
    total = 0.0
    for process in map(psutil.Process, pids):
        for each in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):  # it has just ended, and counts with its parent now
                total += sum(each.cpu_times()[:4])
    return total


def server_cpu(postmaster_pid: int) -> float:
    """Return the CPU seconds of a PostgreSQL server so far, including its ended backends."""
    postmaster = psutil.Process(postmaster_pid)
    while True:
        try:
            return sum(sum(process.cpu_times()[:4]) for process in [postmaster, *postmaster.children()])
        except psutil.NoSuchProcess:  # a backend has just ended, and counts with the postmaster now
            postmaster.cpu_times()
