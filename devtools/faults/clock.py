"""clock: a wrong clock for the process of a task, as far as the core asks a clock."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta, tzinfo
from typing import Self

_CORE = "include."


def set_off(seconds: float) -> None:
    """Give every module of the bundle that this process has imported a clock that is off by `seconds`."""
    if not seconds:
        return

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls._of(datetime.now(tz) + timedelta(seconds=seconds))

        @classmethod
        def _of(cls, moment: datetime) -> Self:
            return cls(
                moment.year,
                moment.month,
                moment.day,
                moment.hour,
                moment.minute,
                moment.second,
                moment.microsecond,
                moment.tzinfo,
            )

    def wrong_time() -> float:
        return time.time() + seconds

    for name, module in list(sys.modules.items()):
        if name.startswith(_CORE):
            for attribute, found in list(vars(module).items()):
                if found is datetime:
                    setattr(module, attribute, Wrong)
                elif found is time.time:
                    setattr(module, attribute, wrong_time)
