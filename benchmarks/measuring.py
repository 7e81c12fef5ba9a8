"""measuring: a process and the server that works for it, seen from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import resource
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_SETTLING_SECONDS = 0.2
_MAXRSS_PER_MB = 1024 * (1024 if sys.platform == "darwin" else 1)


@dataclass(frozen=True)
class Measured:
    """One run of one process: seconds of time and CPU, its children's included, and the largest one's peak memory.

    The peak is never below that of the process which measures, as the kernel hands it down: that one has to be small.
    """

    wall: float
    client_cpu: float
    server_cpu: float
    peak_mb: float
    output: str

    @property
    def cpu(self) -> float:
        """Client's and server's together."""
        return self.client_cpu + self.server_cpu


def measure(command: Sequence[str], cwd: Path, environment: Mapping[str, str], server_pid: int) -> Measured:
    """Run the command to its end; raises if it fails."""
    with tempfile.TemporaryFile("w+") as output:
        server_before = server_cpu(server_pid)
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        time.sleep(_SETTLING_SECONDS)  # for the backend to end and be counted with the postmaster
        output.seek(0)
        return Measured(
            wall=wall,
            client_cpu=usage.ru_utime + usage.ru_stime,
            server_cpu=server_cpu(server_pid) - server_before,
            peak_mb=peak_mb(usage),
            output=output.read(),
        )


def peak_mb(usage: resource.struct_rusage) -> float:
    """Peak memory of the largest process that the usage speaks of."""
    return usage.ru_maxrss / _MAXRSS_PER_MB


def server_cpu(postmaster_pid: int) -> float:
    """CPU seconds of a PostgreSQL server so far, those of its ended backends included."""
    postmaster = psutil.Process(postmaster_pid)
    while True:
        try:
            return sum(sum(process.cpu_times()[:4]) for process in [postmaster, *postmaster.children()])
        except psutil.NoSuchProcess:  # a backend ended meanwhile: it counts with the postmaster now
            postmaster.cpu_times()
