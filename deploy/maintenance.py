"""Delete old task logs, and old runs from Airflow's database, once a day.

    maintenance.py            repeats it until it is stopped, and begins a while after the start
    maintenance.py --once     does it now
    maintenance.py --check    exits with 0 unless no clean-up has succeeded for more than a day

LOG_DAYS and RUN_DAYS are how many days logs and runs are kept. `airflow db clean` runs in a process of its own, so that
this one needs little memory in between. It keeps the newest run of each Dag that no person started, because Airflow
schedules the next one from it.
"""

import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

LOGS = Path("/opt/airflow/logs")
LAST_GOOD = Path("/tmp/last-good")  # noqa: S108 - of this container alone; touched at the start, and by each success
FIRST_AFTER = timedelta(minutes=10)  # the other services start meanwhile
AFTER_SUCCESS = timedelta(days=1)
AFTER_FAILURE = timedelta(hours=1)
DAYS = re.compile(r"[1-9]\d{0,4}", re.ASCII)


def days(setting: str) -> timedelta:
    """Return the age that an environment variable gives in days."""
    value = os.environ.get(setting, "")
    if not DAYS.fullmatch(value):
        sys.exit(f"{setting}: found {value!r}, expected a whole number of days from 1 to 99999")
    return timedelta(days=int(value))


def delete_logs(folder: Path, before: datetime) -> int:
    """Delete the files that were last written before this time, and return how many.

    A folder is deleted once it has been empty for a day, so that no task that begins to write there loses it.
    """
    emptied_before = (datetime.now(UTC) - timedelta(days=1)).timestamp()
    deleted = 0
    for parent, _, files in os.walk(folder, topdown=False):
        here = Path(parent)
        with suppress(OSError):  # it is not empty, or gone
            if here != folder and here.stat().st_mtime < emptied_before:
                here.rmdir()
                continue
        for file in map(here.joinpath, files):
            with suppress(FileNotFoundError):
                if file.lstat().st_mtime < before.timestamp():
                    file.unlink()
                    deleted += 1
    return deleted


def delete_runs(before: datetime) -> None:
    """Delete the runs that began before this time from Airflow's database, with their tasks, XComs and events."""
    subprocess.run(
        [
            *(
                sys.executable,
                "-P",
                "-m",
                "airflow",
                "db",
                "clean",
                "--yes",
                "--skip-archive",
                "--error-on-cleanup-failure",
            ),
            *("--batch-size", "10000", "--clean-before-timestamp", before.isoformat()),
        ],
        check=True,
        stdout=subprocess.DEVNULL,  # a page of it, even if there is nothing to delete
    )


def clean(logs: Path, logs_before: datetime, runs_before: datetime) -> None:
    """Delete both, and say so in one line each."""
    deleted = delete_logs(logs, logs_before)
    print(f"deleted {deleted:,} log files last written before {logs_before:%Y-%m-%d}", flush=True)
    delete_runs(runs_before)
    print(f"deleted the runs that began before {runs_before:%Y-%m-%d}", flush=True)


def once() -> None:
    """Clean up as the settings say."""
    now = datetime.now(UTC)
    clean(LOGS, now - days("LOG_DAYS"), now - days("RUN_DAYS"))


def repeat() -> None:
    """Clean up every day, and sooner again if that fails."""
    days("LOG_DAYS"), days("RUN_DAYS")  # to refuse them at once
    pause = FIRST_AFTER
    LAST_GOOD.touch()
    while True:
        time.sleep(pause.total_seconds())
        try:
            once()
        except (OSError, subprocess.CalledProcessError) as error:
            pause = AFTER_FAILURE
            print(f"the clean-up failed, and is repeated in an hour: {error}", file=sys.stderr, flush=True)
        else:
            pause = AFTER_SUCCESS
            LAST_GOOD.touch()


def check() -> None:
    """Exit with an error if no clean-up has succeeded for more than a day."""
    if time.time() - LAST_GOOD.stat().st_mtime > (AFTER_SUCCESS + AFTER_FAILURE).total_seconds():
        sys.exit("no clean-up has succeeded for more than a day: see the log of this container")


if __name__ == "__main__":
    {"--once": once, "--check": check}.get("".join(sys.argv[1:]), repeat)()
