"""terminal: the output of a command in a terminal, with its times, as an SVG that plays it again and again."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from html import escape
from itertools import accumulate, pairwise
from textwrap import wrap
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

COLUMNS, ROWS = 112, 26
SHORTEST_PAUSE, LONGEST_PAUSE, LAST_PAUSE = 0.06, 1.5, 8.0  # seconds, between two lines and after the last
CHARACTER, LINE, MARGIN, TITLE = 7.6, 18, 16, 34  # pixels
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]")


class Line(NamedTuple):
    """A line of output, and how many seconds after the start it was there."""

    text: str
    at: float


def record(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> list[Line]:
    """Run a command in a terminal of its own, and return the lines that it shows.

    Raises:
        RuntimeError: it failed.
    """
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    started = monotonic()
    with subprocess.Popen(command, cwd=folder, env=environment, stdin=its, stdout=its, stderr=its) as process:
        os.close(its)
        lines = [Line(text, monotonic() - started) for text in _lines(ours)]
    os.close(ours)
    if process.returncode:
        shown = "\n".join(line.text for line in lines)
        raise RuntimeError(f"{' '.join(command)} exited with {process.returncode}; expected 0:\n{shown}")
    return lines


def _lines(terminal: int) -> Iterator[str]:
    """The lines as each of them ends, without control sequences and what was overwritten."""
    unfinished = b""
    while some := _read(terminal):
        *whole, unfinished = (unfinished + some).split(b"\n")
        yield from map(_plain, whole)
    if unfinished:
        yield _plain(unfinished)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # so Linux tells the end, as soon as no process has the terminal open
        return b""


def _plain(line: bytes) -> str:
    return _CONTROLS.sub("", line.decode().rstrip("\r").rpartition("\r")[2])


def animated(command: str, when: str, lines: Sequence[Line]) -> str:
    """Draw the lines as an SVG, in which each appears at its time; pauses are kept within bounds.

    Its title says when the command was run, such as "after the installation". Without animation, as readers may have
    asked their browser, it shows the last lines.
    """
    shown = [Line(f"$ {command}", 0.0), *_wrapped(lines)]
    times = _compressed([line.at for line in shown])
    total = times[-1] + LAST_PAUSE
    hidden = max(0, len(shown) - ROWS)
    steps = [f"{100 * times[number + ROWS] / total:.2f}%{{{_moved(number + 1)}}}" for number in range(hidden)]
    style = STYLE.format(seconds=f"{total:.1f}", moves=f"0%{{{_moved(0)}}}{''.join(steps)}", last=_moved(hidden))
    style += "".join(
        f"@keyframes l{number}{{0%{{visibility:hidden}}{100 * at / total:.2f}%{{visibility:visible}}}}"
        for number, at in enumerate(times[1:], start=1)
    )
    return DRAWING.format(
        width=round(COLUMNS * CHARACTER + 2 * MARGIN),
        height=TITLE + ROWS * LINE + MARGIN,
        title=escape(f"{command}, {when}: {lines[-1].at:.0f} seconds, pauses cut"),
        style=style,
        middle=round(COLUMNS * CHARACTER / 2 + MARGIN),
        top=TITLE,
        screen=ROWS * LINE + 4,
        texts="\n".join(_drawn(number, line.text, is_later=number > 0) for number, line in enumerate(shown)),
    )


def _wrapped(lines: Sequence[Line]) -> Iterator[Line]:
    """The lines in parts of at most COLUMNS characters; those that follow the first are indented further."""
    for line in lines:
        indent = " " * (len(line.text) - len(line.text.lstrip()) + 4)
        for part in wrap(line.text, COLUMNS, subsequent_indent=indent, break_on_hyphens=False) or [""]:
            yield Line(part, line.at)


def _compressed(times: Sequence[float]) -> list[float]:
    pauses = (min(max(after - before, SHORTEST_PAUSE), LONGEST_PAUSE) for before, after in pairwise(times))
    return list(accumulate(pauses, initial=0.0))


def _moved(lines: int) -> str:
    return f"transform:translateY({-lines * LINE}px)"


def _drawn(number: int, text: str, *, is_later: bool) -> str:
    if not text.strip():
        return ""
    indent = len(text) - len(text.lstrip())
    place = f'x="{MARGIN + indent * CHARACTER:.1f}" y="{TITLE + (number + 1) * LINE - 4}"'
    length = f'textLength="{len(text.strip()) * CHARACTER:.1f}" lengthAdjust="spacingAndGlyphs"'
    kind = "" if indent else ' class="head"'
    plays = f' style="animation-name:l{number}"' if is_later else ""
    return f"<text {place} {length}{kind}{plays}>{escape(text.strip())}</text>"


STYLE = """
text{{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;fill:#b9c0c9;white-space:pre;\
animation:{seconds}s step-end infinite}}
.head{{fill:#ffd23e}}
.title{{fill:#8b949e;text-anchor:middle}}
.screen{{{last};animation:scroll {seconds}s step-end infinite}}
@media (prefers-reduced-motion:reduce){{text,.screen{{animation-duration:0s!important;animation-name:none!important}}}}
@keyframes scroll{{{moves}}}
"""
DRAWING = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">
<title>{title}</title>
<style>{style}</style>
<rect width="{width}" height="{height}" rx="10" fill="#16181d"/>
<circle cx="20" cy="17" r="5.5" fill="#ff5f57"/><circle cx="38" cy="17" r="5.5" fill="#febc2e"/>\
<circle cx="56" cy="17" r="5.5" fill="#28c840"/>
<text class="title" x="{middle}" y="22">{title}</text>
<clipPath id="screen"><rect x="0" y="{top}" width="{width}" height="{screen}"/></clipPath>
<g clip-path="url(#screen)"><g class="screen">
{texts}
</g></g>
</svg>
"""
