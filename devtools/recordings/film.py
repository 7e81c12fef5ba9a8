"""film: pictures of a browser's page, with a pointer in them, as an animated WebP.

Chromium does the work: it takes the pictures, finds what changed since the one before, and encodes that part.
"""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from playwright.sync_api import Browser, Locator, Page

QUALITY = 0.82  # of WebP, from 0 to 1
GLIDE = 5  # pictures of a move of the pointer
GLIDE_SECONDS = 0.06  # that each of them lasts
_IMAGES = (b"VP8 ", b"VP8L", b"ALPH")

_POINTER = """([x, y]) => {
    let pointer = document.getElementById("film-pointer");
    if (!pointer) {
        document.body.insertAdjacentHTML("beforeend", `<svg id="film-pointer" width="26" height="30">
            <path d="M2 2v21l5.5-5 3.6 8.3 4-1.8-3.6-8H19z" fill="#111" stroke="#fff" stroke-width="2"/></svg>`);
        pointer = document.getElementById("film-pointer");
        pointer.style = "position: fixed; z-index: 2147483647; pointer-events: none; left: -2px; top: -2px";
    }
    pointer.style.transform = `translate(${x}px, ${y}px)`;
}"""
# What changed since the picture before, as a WebP; its corner is even, as the format wants it.
_ENCODE = """async ([png, quality]) => {
    const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
    const { width, height } = image;
    const canvas = new OffscreenCanvas(width, height);
    const brush = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    brush.drawImage(image, 0, 0);
    const pixels = new Uint32Array(brush.getImageData(0, 0, width, height).data.buffer);
    let [left, top, right, bottom] = window.before ? [width, height, 0, 0] : [0, 0, width, height];
    for (let i = 0; window.before && i < pixels.length; i++) {
        if (pixels[i] === window.before[i]) continue;
        const x = i % width, y = (i - x) / width;
        left = Math.min(left, x), right = Math.max(right, x + 1);
        top = Math.min(top, y), bottom = Math.max(bottom, y + 1);
    }
    window.before = pixels;
    if (right <= left) return null;
    left -= left % 2, top -= top % 2;
    const part = new OffscreenCanvas(right - left, bottom - top);
    part.getContext("2d", { alpha: false }).drawImage(canvas, -left, -top);
    const bytes = await (await part.convertToBlob({ type: "image/webp", quality })).bytes();
    return { left, top, width: part.width, height: part.height, webp: bytes.toBase64() };
}"""


class Shot(NamedTuple):
    """A picture of the page as PNG, and how long it is shown."""

    png: bytes
    seconds: float


class Part(NamedTuple):
    """What a picture changes of the one before, as WebP, and how long the whole is shown."""

    left: int
    top: int
    width: int
    height: int
    webp: bytes
    seconds: float


class Camera:
    """Takes pictures of a page, and moves the pointer that is seen in them."""

    def __init__(self, page: Page) -> None:
        self.shots: list[Shot] = []
        self._page = page
        self._pointer = (0.0, 0.0)

    def hold(self, seconds: float) -> None:
        """Take a picture that is shown for seconds."""
        self._page.evaluate(_POINTER, self._pointer)
        self.shots.append(Shot(self._page.screenshot(), seconds))

    def point(self, place: Locator, across: float = 0.5, down: float = 0.5) -> None:
        """Move the pointer to a place: to its middle, or to shares of its width and height."""
        place.scroll_into_view_if_needed()
        box = place.bounding_box()
        assert box is not None  # noqa: S101 - it is in view
        goal = (box["x"] + across * box["width"], box["y"] + down * box["height"])
        start = self._pointer
        for step in range(1, GLIDE + 1):
            x, y = (a + (b - a) * step / GLIDE for a, b in zip(start, goal, strict=True))
            self._pointer = (x, y)
            self._page.mouse.move(x, y)
            self.hold(GLIDE_SECONDS)

    def click(self, place: Locator) -> None:
        """Move the pointer to a place and click there."""
        self.point(place)
        self._page.mouse.click(*self._pointer)


def animated(browser: Browser, shots: Sequence[Shot]) -> bytes:
    """Return the pictures, which have one size, as a WebP that shows them again and again."""
    parts = list(_parts(browser, shots))
    width, height = parts[0].width, parts[0].height
    is_animated = 0x02
    head = _chunk(b"VP8X", bytes([is_animated, 0, 0, 0]) + _uint24(width - 1) + _uint24(height - 1))
    head += _chunk(b"ANIM", struct.pack("<IH", 0xFFFFFFFF, 0))  # white behind all, for ever
    body = b"WEBP" + head + b"".join(map(_frame, parts))
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _parts(browser: Browser, shots: Sequence[Shot]) -> Iterator[Part]:
    page = browser.new_page()
    last: Part | None = None
    for shot in shots:
        found: dict[str, Any] | None = page.evaluate(_ENCODE, [base64.b64encode(shot.png).decode(), QUALITY])
        if found is None and last is not None:  # nothing changed
            last = last._replace(seconds=last.seconds + shot.seconds)
            continue
        if last is not None:
            yield last
        assert found is not None  # noqa: S101 - the first picture is new as a whole
        webp = base64.b64decode(found.pop("webp"))
        last = Part(**found, webp=webp, seconds=shot.seconds)
    if last is not None:
        yield last
    page.close()


def _frame(part: Part) -> bytes:
    stays_and_replaces = 0x02
    head = (part.left // 2, part.top // 2, part.width - 1, part.height - 1, round(1000 * part.seconds))
    return _chunk(b"ANMF", b"".join(map(_uint24, head)) + bytes([stays_and_replaces]) + _image(part.webp))


def _image(webp: bytes) -> bytes:
    """The chunks of a still WebP that hold its image: its own header and colour profile may not be in a frame."""
    at, found = len(b"RIFF1234WEBP"), b""
    while at < len(webp):
        (size,) = struct.unpack_from("<I", webp, at + 4)
        end = at + 8 + size + size % 2
        if webp[at : at + 4] in _IMAGES:
            found += webp[at:end]
        at = end
    return found


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def _uint24(number: int) -> bytes:
    return number.to_bytes(3, "little")
