"""tour: what the film of the coverage page shows: a month, the charts, and the map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devtools.recordings.film import Camera
from devtools.screenshots import SHOWN

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FrameLocator

    from devtools.recordings.film import Shot

WIDTH, HEIGHT = 1240, 760


def take(browser: Browser, url: str) -> list[Shot]:
    """Visit the page in Airflow at the URL, and return the pictures."""
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce", color_scheme="light")
    page.goto(f"{url}/plugin/taxi")
    inside = page.frame_locator("iframe")
    inside.locator("#coverage-says b").wait_for()
    page.wait_for_load_state("networkidle")
    camera = Camera(page)
    for scene in (_coverage, _quality, _city):
        scene(camera, inside)
    page.close()
    return camera.shots


def _coverage(camera: Camera, inside: FrameLocator) -> None:
    camera.hold(1.5)
    camera.click(inside.locator(f"[data-file='{SHOWN}']"))
    inside.locator("dialog dl.counts").wait_for()
    camera.hold(3)
    camera.click(inside.locator("dialog").get_by_role("button", name="Close"))
    camera.hold(0.6)


def _quality(camera: Camera, inside: FrameLocator) -> None:
    camera.click(inside.locator("nav [data-tab=quality]"))
    chart = inside.locator("#quality .u-over")
    chart.first.wait_for()
    camera.hold(1.5)
    camera.point(chart.first, across=0.4)
    camera.hold(1)
    camera.point(chart.first, across=0.66)
    camera.hold(1.5)


def _city(camera: Camera, inside: FrameLocator) -> None:
    camera.click(inside.locator("nav [data-tab=city]"))
    inside.locator("#map [data-q]").first.wait_for()
    camera.hold(1.5)
    inside.locator("#zones-title").evaluate("title => title.scrollIntoView({ block: 'start' })")
    camera.hold(1.5)
    camera.point(inside.locator("#map"), across=0.52, down=0.3)
    camera.hold(1.5)
    camera.click(inside.locator("#measure").get_by_text("Mean fare"))
    camera.hold(2)
