"""A task whose earlier try was killed as memory ran out stops by name."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import SimpleNamespace

import pytest

from include.nyc_taxi.errors import OutOfMemory, PermanentError
from include.orchestration import memory
from include.orchestration.retries import DEFAULT_ARGS, RETRY_POLICY


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Sets how many processes the kernel has killed; marks are in a folder of the test."""
    monkeypatch.setattr(memory, "_COUNTERS", (tmp_path / "missing", tmp_path / "memory.events"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def kill(count):
        (tmp_path / "memory.events").write_text(f"low 0\noom 9\noom_kill {count}\noom_group_kill 0\n")

    kill(3)
    return kill


def begin(number, run_id="run"):
    ti = SimpleNamespace(dag_id="ingest_data", run_id=run_id, task_id="transform_data", map_index=-1, try_number=number)
    context = {"ti": ti}
    memory.check_memory(context)
    return context


def test_a_try_after_one_that_was_killed_for_memory_stops(kernel):
    begin(1)
    kernel(4)

    with pytest.raises(OutOfMemory, match="transform_data: try 1 was killed, while the kernel killed 1 processes"):
        begin(2)

    assert begin(3)


def test_the_retry_policy_fails_it_at_once():
    assert RETRY_POLICY.evaluate(OutOfMemory("x"), 1, 3).action.value == "fail"
    assert issubclass(OutOfMemory, PermanentError)


def test_a_try_that_was_killed_for_another_reason_is_retried(kernel):
    begin(1)

    assert begin(2)


def test_a_try_that_ended_by_itself_leaves_no_mark(kernel):
    memory.forget_memory(begin(1))
    kernel(4)

    assert begin(2)


def test_a_callback_of_another_process_leaves_the_mark_of_a_try_that_was_killed(kernel):
    context = begin(1)
    kernel(4)

    with ProcessPoolExecutor(1, get_context("spawn")) as others:
        others.submit(memory.forget_memory, context).result()

    with pytest.raises(OutOfMemory):
        begin(2)


def test_a_try_on_another_machine_knows_nothing(kernel, tmp_path, monkeypatch):
    begin(1)
    kernel(4)
    (tmp_path / "of another machine").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "of another machine"))

    assert begin(2)


def test_another_run_has_a_mark_of_its_own(kernel):
    begin(1)
    kernel(4)

    assert begin(2, run_id="another")


def test_a_system_without_a_count_runs_tasks_as_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_COUNTERS", (tmp_path / "missing",))

    assert begin(1)
    assert begin(2)


def test_a_task_runs_where_no_mark_can_be_left(kernel, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))

    assert begin(1)
    assert begin(2)


def test_marks_of_long_ago_are_removed_and_count_for_nothing(kernel, tmp_path):
    begin(1)
    [mark] = tmp_path.glob("nyc-taxi-tries-*/*")
    os.utime(mark, (0, 0))
    kernel(4)

    assert begin(2)
    os.utime(mark, (0, 0))
    begin(1, run_id="another")
    assert mark not in tmp_path.glob("nyc-taxi-tries-*/*")


def test_every_task_leaves_a_mark_and_every_end_removes_it():
    ends = [DEFAULT_ARGS[f"on_{end}_callback"] for end in ("success", "skipped", "retry", "failure")]

    assert DEFAULT_ARGS["pre_execute"] is memory.check_memory
    assert all(memory.forget_memory in (end if isinstance(end, list) else [end]) for end in ends)
