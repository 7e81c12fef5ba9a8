"""How far a step has come, as it is logged and read back."""

import time

import pytest

from include.nyc_taxi import progress
from include.nyc_taxi.progress import Progress, Reached, reached


@pytest.mark.parametrize(
    ("total", "unit", "expected"),
    [
        (56_039, "rows", Reached("34,000 of 56,039 rows", 60)),
        (None, "bytes", Reached("34,000 bytes", None)),
    ],
)
def test_what_is_logged_is_read_back(total, unit, expected, caplog, monkeypatch):
    monkeypatch.setattr(progress, "_FIRST_LINE_AFTER_SECONDS", 0.001)
    caplog.set_level("INFO")
    counted = Progress("green_tripdata_2024-01", unit, total)
    time.sleep(0.002)

    counted.advance(34_000)

    assert [reached(line) for line in caplog.messages] == [expected]


@pytest.mark.parametrize("line", ["", "loading 3 files: none", "a: loaded 5 rows into b in 0.4 s (140,000 rows/s)"])
def test_another_line_is_no_progress(line):
    assert reached(line) is None
