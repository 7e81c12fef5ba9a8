"""The recordings show what a command printed and what a browser showed, at their times."""

import base64
import re
import sys
from xml.etree import ElementTree as ET

import pytest

from devtools.recordings import film, terminal
from devtools.recordings.film import Camera
from devtools.recordings.terminal import COLUMNS, LAST_PAUSE, LONGEST_PAUSE, ROWS, Line

SVG = "{http://www.w3.org/2000/svg}"


def texts(drawing):
    """The texts of the drawing's lines, without its title."""
    return [text.text for text in ET.fromstring(drawing).iter(f"{SVG}text")][1:]  # noqa: S314 - our own


def appears_at(drawing):
    """The share of the whole, in percent, at which each line after the first appears."""
    return [float(share) for share in re.findall(r"visibility:hidden}([\d.]+)%{visibility:visible}", drawing)]


def test_a_command_runs_in_a_terminal_of_its_own(tmp_path):
    script = "import os, time; print('\x1b[1mat', os.get_terminal_size().columns, '\x1b[0m'); print('10 %\\r20 %')"

    lines = terminal.record([sys.executable, "-c", script], tmp_path, {})

    assert [line.text.rstrip() for line in lines] == [f"at {COLUMNS}", "20 %"]
    assert 0 < lines[0].at <= lines[1].at


def test_a_command_that_fails_is_not_recorded(tmp_path):
    with pytest.raises(RuntimeError, match=r"exited with 3; expected 0:\nno such month"):
        terminal.record([sys.executable, "-c", "print('no such month'); raise SystemExit(3)"], tmp_path, {})


def test_lines_appear_at_their_times_with_their_pauses_cut():
    drawing = terminal.animated("make demo", "today", [Line("one & <two>", 1.0), Line("  three", 100.0)])

    total = 1.0 + LONGEST_PAUSE + LAST_PAUSE
    assert texts(drawing) == ["$ make demo", "one & <two>", "three"]
    assert appears_at(drawing) == pytest.approx([100 / total, 100 * (1 + LONGEST_PAUSE) / total], abs=0.01)
    assert "make demo, today: 100 seconds, pauses cut" in drawing


def test_what_does_not_fit_is_wrapped_and_scrolled():
    long, many = "word " * COLUMNS, [Line(str(number), float(number)) for number in range(ROWS)]

    drawing = terminal.animated("make demo", "today", [Line(long, 0.5), *many])

    assert max(map(len, texts(drawing))) <= COLUMNS
    assert " ".join(texts(drawing)[1:-ROWS]) == long.strip()
    hidden = len(texts(drawing)) - ROWS
    assert f".screen{{transform:translateY({-hidden * terminal.LINE}px)" in drawing


DECODED = """async webp => {
    const bytes = Uint8Array.from(atob(webp), c => c.charCodeAt(0));
    const decoder = new ImageDecoder({ data: bytes, type: "image/webp" });
    await decoder.tracks.ready;
    const { frameCount, repetitionCount } = decoder.tracks.selectedTrack, frames = [];
    for (let frameIndex = 0; frameIndex < frameCount; frameIndex++) {
        const { image } = await decoder.decode({ frameIndex });
        const canvas = new OffscreenCanvas(image.displayWidth, image.displayHeight);
        const brush = canvas.getContext("2d");
        brush.drawImage(image, 0, 0);
        const at = (x, y) => [...brush.getImageData(x, y, 1, 1).data].slice(0, 3);
        frames.push([canvas.width, canvas.height, image.duration / 1000, at(5, 5), at(150, 90)]);
    }
    return [frames, repetitionCount === Infinity];
}"""


def test_a_film_shows_each_change_of_the_page_for_its_time(browser):
    page = browser.new_page(viewport={"width": 201, "height": 120})
    page.route("https://film.test/", lambda route: route.fulfill(body="<body style='background: #ff0000'>"))
    page.goto("https://film.test/")
    camera = Camera(page)
    camera.hold(1)
    camera.hold(0.5)
    page.evaluate("document.body.innerHTML = `<div style='position: fixed; inset: 61px 0 0 101px; background: #00f'>`")
    camera.hold(2)

    webp = base64.b64encode(film.animated(browser, camera.shots)).decode()

    frames, is_endless = page.evaluate(DECODED, webp)
    red, blue = pytest.approx([255, 0, 0], abs=6), pytest.approx([0, 0, 255], abs=6)
    assert [frame[:3] for frame in frames] == [[201, 120, 1500], [201, 120, 2000]]
    assert [frame[4] for frame in frames] == [red, blue]
    assert is_endless
    page.close()
