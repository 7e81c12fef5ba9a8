"""flow: run the tasks of a flow one after the other, each try in a process of its own, and retry as the Dags do.

A try that raises is retried if the bundle's own policy says so; one that was killed is retried always, as Airflow does.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import dataclass, field
from threading import Event, Timer
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from devtools.faults import tasks
from devtools.faults.tasks import GO_ON, POINT, RAISED, RETRIES, RETURNED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    from devtools.faults.tasks import Conditions, Wanted

PATIENCE_SECONDS = 120.0
_POLL_SECONDS = 0.02
_RETRY = ("retry", "default")

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(tasks.PRELOADED)


class Running(NamedTuple):
    """The process of a try, for a fault to meddle with."""

    task: str
    pid: int

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send it a signal; whether it is still there does not matter."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return

    def stop(self) -> None:
        """Have it stand still."""
        self.kill(signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on."""
        self.kill(signal.SIGCONT)

    def wake_after(self, seconds: float) -> None:
        """Let it go on after this number of seconds."""
        Timer(seconds, self.wake).start()


Deed = "Callable[[Running], object]"


class Tried(NamedTuple):
    """How a try of a task ended: `returned`, `raised` or `killed`, and what it said."""

    task: str
    number: int
    how: str
    error: str = ""
    message: str = ""
    is_retried: bool = False
    trace: str = ""


@dataclass
class Meddling:
    """What happens to the processes of a flow, and when.

    Args:
        at: by point, what is done once when a process first reaches it.
        after: by task, what is done a number of seconds after its first try began.
        before_retry: what is done before each retry.
    """

    at: dict[str, list[Callable[[Running], object]]] = field(default_factory=dict)
    after: dict[str, list[tuple[float, Callable[[Running], object]]]] = field(default_factory=dict)
    before_retry: list[Callable[[], object]] = field(default_factory=list)
    running: Running | None = None
    reached: list[str] = field(default_factory=list)


@dataclass
class Ended:
    """How a run of a flow ended: every try, and what the last task returned; None if one failed for good."""

    tries: list[Tried]
    returned: Any = None

    @property
    def is_right(self) -> bool:
        """Whether every task succeeded in the end."""
        return bool(self.tries) and self.tries[-1].how == RETURNED

    @property
    def failures(self) -> list[Tried]:
        """The tries that did not succeed."""
        return [tried for tried in self.tries if tried.how != RETURNED]


def run(names: Sequence[str], wanted: Wanted, conditions: Callable[[], Conditions], meddling: Meddling) -> Ended:
    """Run the tasks until one fails for good. `conditions` are asked for before each try."""
    ended, given = Ended([]), None
    for name in names:
        for number in range(1, RETRIES[name] + 2):
            if number > 1:
                for deed in meddling.before_retry:
                    deed()
            tried, returned = _try(name, number, wanted, given, conditions(), meddling)
            ended.tries.append(tried)
            if not tried.is_retried:
                break
        if ended.tries[-1].how != RETURNED:
            return ended
        given = returned
    ended.returned = given
    return ended


def run_at_once(names: Sequence[str], wanted: Wanted, conditions: Conditions) -> Ended:
    """Run the tasks in one process, without a retry and without a stop."""
    ours, theirs = _processes.Pipe()
    process = _processes.Process(target=tasks.perform, args=(theirs, list(names), wanted, None, conditions))
    process.start()
    theirs.close()
    tried, returned = _followed(process, ours, names[-1], 1, Meddling())
    return Ended([tried], returned)


def run_apart(do: Callable[[str], None], argument: str) -> bool:
    """Call a function in a process of its own; returns whether it succeeded."""
    process = _processes.Process(target=do, args=(argument,))
    process.start()
    process.join()
    return process.exitcode == 0


def _try(  # noqa: PLR0917 - of one caller
    name: str,
    number: int,
    wanted: Wanted,
    given: Any,
    conditions: Conditions,
    meddling: Meddling,
) -> tuple[Tried, Any]:
    ours, theirs = _processes.Pipe()
    process = _processes.Process(target=tasks.perform, args=(theirs, [name], wanted, given, conditions))
    process.start()
    theirs.close()
    assert process.pid is not None  # noqa: S101 - it has started
    running = Running(name, process.pid)
    meddling.running = running
    timers = [Timer(seconds, deed, [running]) for seconds, deed in meddling.after.pop(name, [])]
    for timer in timers:
        timer.start()
    try:
        return _followed(process, ours, name, number, meddling)
    finally:
        for timer in timers:
            timer.cancel()
            timer.join()


def _followed(process: Any, link: Connection, name: str, number: int, meddling: Meddling) -> tuple[Tried, Any]:
    """Let a process go on from point to point until it ends."""
    said = _last_word(process, link, name, meddling)
    process.join(PATIENCE_SECONDS)
    link.close()
    if said is None:
        killed_by = signal.Signals(-process.exitcode).name if process.exitcode and process.exitcode < 0 else "nothing"
        return Tried(name, number, "killed", message=killed_by, is_retried=number <= RETRIES[name]), None
    if said[0] == RETURNED:
        return Tried(name, number, RETURNED), said[1]
    _, error, message, action, trace = said
    return Tried(name, number, RAISED, error, message, action in _RETRY and number <= RETRIES[name], trace), None


def _last_word(process: Any, link: Connection, name: str, meddling: Meddling) -> Any:
    running, deadline = Running(name, process.pid), monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if not link.poll(_POLL_SECONDS):
                if monotonic() > deadline:
                    running.kill()
                continue
            said = link.recv()
        except (EOFError, ConnectionError):
            return None
        if said[0] != POINT:
            return said
        meddling.reached.append(said[1])
        deeds = meddling.at.get(said[1], [])
        if deeds:
            deeds.pop(0)(running)
        try:
            link.send(GO_ON)
        except OSError:
            return None


def wait_until_stopped(running: Running, seconds: float = 20.0) -> bool:
    """Wait until the process stands still; false if it ends or runs on."""
    deadline, pause = monotonic() + seconds, Event()
    while monotonic() < deadline:
        try:
            if psutil.Process(running.pid).status() == psutil.STATUS_STOPPED:
                return True
        except psutil.NoSuchProcess:
            return False
        pause.wait(0.01)
    return False
