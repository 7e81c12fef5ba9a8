"""Old logs and old runs are deleted. The runs are those of a real Airflow: test_roles.py."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import maintenance
import pytest

SCRIPT = Path(maintenance.__file__)
NOW = datetime.now(UTC)


def aged(path, *, days):
    """Make a file or a folder look as if it was last changed that many days ago."""
    then = time.time() - days * 86400
    os.utime(path, (then, then))


def written(path, *, days):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a line\n")
    aged(path, days=days)
    return path


def test_old_logs_are_deleted_and_new_ones_kept(tmp_path):
    old = written(tmp_path / "dag_id=a/run_id=1/task_id=t/attempt=1.log", days=31)
    new = written(tmp_path / "dag_id=a/run_id=2/task_id=t/attempt=1.log", days=29)

    assert maintenance.delete_logs(tmp_path, NOW - timedelta(days=30)) == 1

    assert not old.exists()
    assert new.exists()


def test_a_folder_is_deleted_once_it_has_been_empty_for_a_day(tmp_path):
    """A task that begins to write there must not lose it."""
    log = written(tmp_path / "dag_id=a/run_id=1/attempt=1.log", days=31)

    maintenance.delete_logs(tmp_path, NOW - timedelta(days=30))
    assert log.parent.exists()

    aged(log.parent, days=2)
    maintenance.delete_logs(tmp_path, NOW - timedelta(days=30))
    assert not log.parent.exists()
    assert log.parent.parent.exists()


def test_a_folder_with_a_new_log_stays_however_old_it_is(tmp_path):
    log = written(tmp_path / "dag_id=a/attempt=1.log", days=1)
    aged(log.parent, days=400)
    aged(tmp_path, days=400)

    assert maintenance.delete_logs(tmp_path, NOW - timedelta(days=30)) == 0
    assert log.exists()


def test_what_a_link_points_to_stays(tmp_path):
    outside = written(tmp_path / "outside/old.log", days=400)
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "latest").symlink_to(outside.parent)

    maintenance.delete_logs(logs, NOW - timedelta(days=30))

    assert outside.exists()


@pytest.mark.parametrize("value", ["", "0", "-1", "a month", "1.5", "100000", "\u0663\u0660", "30\n"])
def test_an_age_that_is_no_number_of_days_is_refused_at_the_start(value):
    settings = os.environ | {"LOG_DAYS": "30", "RUN_DAYS": value}

    done = subprocess.run(
        [sys.executable, SCRIPT], env=settings, capture_output=True, text=True, check=False, timeout=20
    )

    assert done.returncode == 1
    assert done.stderr.startswith(f"RUN_DAYS: found {value!r}, expected a whole number of days")


def test_it_cleans_up_daily_and_an_hour_after_a_failure(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(maintenance, "LAST_GOOD", tmp_path / "last-good")
    monkeypatch.setenv("LOG_DAYS", "30")
    monkeypatch.setenv("RUN_DAYS", "400")
    outcomes = [subprocess.CalledProcessError(1, ["airflow", "db", "clean"]), None, KeyboardInterrupt()]
    pauses = []

    def once():
        if outcome := outcomes.pop(0):
            raise outcome

    monkeypatch.setattr(maintenance, "once", once)
    monkeypatch.setattr(maintenance.time, "sleep", pauses.append)
    with pytest.raises(KeyboardInterrupt):
        maintenance.repeat()

    assert pauses == [600, 3600, 86400]
    assert "repeated in an hour" in capsys.readouterr().err


def test_it_is_unhealthy_after_a_day_without_success(monkeypatch, tmp_path):
    monkeypatch.setattr(maintenance, "LAST_GOOD", written(tmp_path / "last-good", days=1))
    maintenance.check()

    aged(maintenance.LAST_GOOD, days=1.1)
    with pytest.raises(SystemExit, match="no clean-up has succeeded"):
        maintenance.check()
