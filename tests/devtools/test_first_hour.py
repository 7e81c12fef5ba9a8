"""The first hour of a new user: its rows are well-formed, and the page has all of them and names no machine."""

import json
import re
import socket
from pathlib import Path

import pytest

from devtools.first_hour import rows, transcript
from devtools.first_hour.row import BARE, CLONE, Done, Row
from devtools.first_hour.tour import STOPS
from devtools.first_hour.user import User

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "first-hour.md"
EVERY = [row for part in rows.PARTS.values() for row in part]
AGAIN = "run `python -m devtools.first_hour --write docs/first-hour.md --images docs/images`"


@pytest.fixture
def user(tmp_path):
    return User(tmp_path / "a folder", {})


def test_every_row_has_a_name_of_its_own_and_a_place():
    assert len({row.id for row in EVERY}) == len(EVERY)
    assert {row.where for row in EVERY} == {CLONE, BARE}
    assert [row.what for row in EVERY if not row.what or not row.command] == []


def test_at_least_twenty_slips_fail_with_a_word_that_tells_why():
    assert len(rows.SLIPS) >= 20
    assert [row.what for row in rows.SLIPS if not row.code or not row.says] == []


def test_commands_have_no_blanks_but_those_that_the_user_fills(user):
    known = {"taken", "port", "tools", "warehouse_port"}

    assert {blank for row in EVERY for blank in re.findall(r"\{(\w+)\}", row.command)} <= known
    assert user._filled("make ui PORT={taken} {port} {tools}", 1234) == f"make ui PORT=1234 {user.port} {user.tools}"


def test_every_line_of_the_map_is_typed_or_has_a_reason():
    typed = {row.command for row in rows.of_the_notes()}

    assert len(typed) > 25
    assert typed.isdisjoint(rows.not_typed())
    assert typed | set(rows.not_typed()) == set(rows._map())
    assert [line for line in rows.NOT_TYPED if not any(line in command for command in rows._map())] == []


def test_what_is_not_as_expected_is_noticed():
    row = Row("a slip", "make dmeo", 2, "dmeo")

    assert Done(2, "make: no rule for dmeo", 1.0).problems(row) == []
    assert Done(0, "all is well", 1.0).problems(row) == ["exit code 0; expected 2", "expected 'dmeo'"]
    assert Done(2, "Traceback (most recent call last)\n  dmeo", 1.0).problems(row) == ["a traceback"]
    assert Done(2, "Task failed with exception\nTraceback (most recent call last)\n  dmeo", 1.0).problems(row) == []


def test_the_line_that_gives_the_reason_is_shown():
    row = Row("a slip", "make dmeo", 2, "dmeo")

    assert Done(2, "\nstarting\nno rule for dmeo\n", 1.0).line(row) == "no rule for dmeo"
    assert Done(2, "\nstarting\n", 1.0).line(row) == "starting"
    assert Done(2, "", 1.0).line(row) == ""


def test_nothing_of_a_machine_is_shown(user):
    user.password = "5e37e7"
    assert user.hide("15e1cbff 1234567890 8c21133b5a7a29365bb4889f") == "15e1cbff 1234567890 …"
    said = f"{user.clone}/README.md {Path.home()} /tmp/x {socket.gethostname()} 5e37e7 http://pypi.example.org:8/simple"

    shown = user.hide(f"{said} http://127.0.0.1:{user.port} http://127.0.0.1:45123/x \x1b[1m/sys/lake")

    assert shown == "…/NYC taxi/README.md … … … … http://…/simple http://127.0.0.1:8080 http://127.0.0.1:…/x /sys/lake"


def test_the_user_types_a_row_and_leaves_settings_as_they_were(user):
    user.folder.mkdir()
    user.arrive()

    done = user.type(Row("a slip", 'echo TAXI_LAEK=1 >> .env; tail -1 .env; PATH="{tools}/old" python3 -V; exit 3'))

    assert (done.code, done.printed) == (3, "TAXI_LAEK=1\nPython 3.9.2\n")
    assert "TAXI_LAEK" not in (user.clone / ".env").read_text()


def test_the_page_has_every_row_and_every_picture():
    page = PAGE.read_text()

    assert [row.command for row in EVERY if transcript._cell(row.shown) not in page and row not in rows.START] == [], (
        AGAIN
    )
    assert [row.command for row in rows.START if f"$ {row.shown} #" not in page] == [], AGAIN
    assert [stop.name for stop in STOPS if f"images/{stop.name}.png" not in page] == [], AGAIN
    assert [stop.name for stop in STOPS if not (ROOT / "docs" / "images" / f"{stop.name}.png").exists()] == [], AGAIN
    assert "not typed |" not in page, AGAIN


def test_the_page_names_no_machine():
    page = PAGE.read_text()

    assert re.findall(r"(?<![\w…])/(?:root|home|tmp|work|etc)/\S*", page) == []
    assert set(re.findall(r"\b\d+\.\d+\.\d+\.\d+\b", page)) <= {"127.0.0.1"}
    assert json.dumps(socket.gethostname()) not in page
