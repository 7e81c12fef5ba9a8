"""transcript: docs/first-hour.md, from what was typed and printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devtools.first_hour import rows
from devtools.first_hour.row import BARE
from devtools.first_hour.tour import FORM, STOPS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from devtools.first_hour.row import Done, Row
    from devtools.first_hour.tour import Stop

UI = "make ui"
SHOWN_LINES, SHOWN_WIDTH = 45, 230
_INTRODUCTION = """# The first hour

Written by `python -m devtools.first_hour --write docs/first-hour.md`. The program does what a new user does: it clones
this repository into a folder with a space in its name, types the commands below, looks at the pages in a browser, and
makes mistakes on purpose. Each table shows the exit code of a command and the line that it prints: the first one, or
the one that gives the reason. Paths, ports and passwords are replaced by `…`.

The web is played on loopback: a proxy answers for the publisher and the CSV mirror with small generated files, whose
row counts differ from those of the real files. Only the installation uses the package index.
"""
_BESIDE = "\n`make ui` runs in another terminal while the commands marked † are typed.\n"


def page(done: Mapping[str, Done]) -> str:
    """Return the page.

    Args:
        done: what came of each row, by its id, and of `make ui`.
    """
    parts = [_INTRODUCTION, _verdict(done), "## The commands\n", *(_block(row, done) for row in rows.START)]
    parts += [
        "## The web pages\n",
        _printed(UI, done.get(UI)),
        *(_picture(stop, done) for stop in STOPS),
        "## The commands of the notes\n",
    ]
    parts.append(f"Every line of the column *try* of [notes-to-airflow.md](notes-to-airflow.md).\n{_BESIDE}")
    parts += [_table(rows.of_the_notes(), done), _not_typed(), "## Slips\n", f"Wrong on purpose.\n{_BESIDE}"]
    parts.append("`$` alone stands for the clone, `2 $` for a second clone where nothing is installed yet.\n")
    parts.append(_table(rows.SLIPS, done))
    return "\n".join(parts)


def _verdict(done: Mapping[str, Done]) -> str:
    every = [row for part in rows.PARTS.values() for row in part]
    tried = [row for row in every if row.id in done]
    wrong = [row for row in tried if done[row.id].problems(row)]
    text = f"{len(tried)} of {len(every)} commands were typed. "
    text += f"{len(wrong)} did not end as expected:\n" if wrong else "All ended as expected.\n"
    return (
        text
        + "".join(f"\n- `{row.shown}`: {', '.join(done[row.id].problems(row))}" for row in wrong)
        + "\n" * bool(wrong)
    )


def _block(row: Row, done: Mapping[str, Done]) -> str:
    return f"{row.what}:\n\n{_printed(row.shown, done.get(row.id))}"


def _printed(command: str, done: Done | None) -> str:
    """Return what a command printed, as a block; the middle of a long one is left out."""
    lines = done.printed.strip("\n").splitlines() if done else ["not typed"]
    if len(lines) > SHOWN_LINES:
        half = SHOWN_LINES // 2
        lines = [*lines[:half], f"... {len(lines) - 2 * half} lines ...", *lines[-half:]]
    shown = "\n".join(line[:SHOWN_WIDTH].rstrip() for line in lines)
    took = f" # {done.seconds:.0f} s" if done else ""
    return f"```\n$ {command}{took}\n{shown}\n```\n"


def _picture(stop: Stop, done: Mapping[str, Done]) -> str:
    wrong = done[stop.name].printed if stop.name in done else ""
    path = stop.path.removesuffix(FORM)
    problem = f"\nWrong: {wrong}\n" if wrong else ""
    return f"{stop.what} `{path}`\n\n![{stop.what}](images/{stop.name}.png)\n{problem}"


def _table(typed: Sequence[Row], done: Mapping[str, Done]) -> str:
    lines = ["| | command | exit code | it prints |", "|---|---|---:|---|"]
    for row in typed:
        outcome = done.get(row.id)
        prompt = ("2 $ " if row.where == BARE else "$ ") + _cell(row.shown) + " †" * row.beside_ui
        said = (str(outcome.code), _cell(outcome.line(row)[:SHOWN_WIDTH])) if outcome else ("", "not typed")
        lines.append(f"| {row.what.replace('|', '')} | {prompt} | {said[0]} | {said[1]} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Return text as code in a cell of a table."""
    text = text.replace("|", r"\|").strip()
    return f"`` {text} ``" if "`" in text else f"`{text}`" if text else ""


def _not_typed() -> str:
    lines = [f"- `{command}`: {why}." for command, why in rows.not_typed().items()]
    return "Not typed as they are written:\n\n" + "\n".join(lines) + "\n"
