"""row: a command that a new user types, and what is expected of it."""

from __future__ import annotations

import re
from typing import NamedTuple

# How the page shows what depends on the machine.
SHOWN = {"{taken}": "8080", "{port}": "8080", "{warehouse_port}": "25432", "{tools}": "…"}
TRACEBACK, OF_A_TASK = "Traceback (most recent call last)", "Task failed with exception"  # the latter is Airflow's
# What Airflow's log puts around a message, and Python before the name of an exception.
AROUND = re.compile(r"^\d{4}-\S+Z \[\w+ *\] +| +\[[\w.]+\] +loc=.*$|^(?:\w+\.)+(?=[A-Z]\w+: )")
CLONE, BARE = "clone", "a clone without packages"


class Row(NamedTuple):
    """A command for the shell, in the folder of the clone, and what is expected of it.

    `{taken}`, `{port}`, `{warehouse_port}` and `{tools}` stand for a port that another program listens on, the port of
    `make ui`, that of its Postgres, and a folder with programs that play those of an older or smaller machine.

    Args:
        what: a few words for people.
        command: the line to type.
        code: the exit code; None if it depends on the machine.
        says: a part of what it must print.
        where: in the clone, or in one without packages.
        beside_ui: whether `make ui` runs meanwhile.
    """

    what: str
    command: str
    code: int | None = 0
    says: str = ""
    where: str = CLONE
    beside_ui: bool = False

    @property
    def id(self) -> str:
        """The name of the row: commands are typed once in each state."""
        return f"{self.what}: {self.command}"

    @property
    def shown(self) -> str:
        """The command as the page has it."""
        command = self.command
        for blank, value in SHOWN.items():
            command = command.replace(blank, value)
        return command


class Done(NamedTuple):
    """What came of a row: its exit code, all that it printed, without names of this machine, and its seconds."""

    code: int
    printed: str
    seconds: float

    def problems(self, row: Row) -> list[str]:
        """Return what is not as the row expects. Airflow logs the traceback of a task; no other is right."""
        found = []
        if row.code not in (None, self.code):
            found.append(f"exit code {self.code}; expected {row.code}")
        if row.says not in self.printed:
            found.append(f"expected {row.says!r}")
        if TRACEBACK in self.printed.partition(OF_A_TASK)[0]:
            found.append("a traceback")
        return found

    def line(self, row: Row) -> str:
        """Return the first line that it printed that says what it must; the last such one if that is a success."""
        lines = [" ".join(AROUND.sub("", line).split()) for line in self.printed.splitlines() if line.strip()]
        saying = [line for line in lines if row.says and row.says in line] or lines or [""]
        return saying[-1] if row.says and not row.code else saying[0]
