"""tour: look at Airflow's pages and at the page Taxi in a browser, and take a picture of each. Needs Chromium."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from playwright.sync_api import sync_playwright

from devtools.screenshots import chromium

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

SIZE = (1280, 800)


class Stop(NamedTuple):
    """A page to look at: the name of its picture, a few words, its path, and a selector that it must show."""

    name: str
    what: str
    path: str
    proof: str
    frame: str | None = None


STOPS = [
    Stop("first-hour-flows", "The flows, without their deployments.", "/dags?tags=flow", "text=ingest_data"),
    Stop("first-hour-flow", "A flow and its tasks.", "/dags/ingest_data", "text=load_data"),
    Stop("first-hour-form", "The form of a run.", "/dags/ingest_data?trigger=1", "text=Trigger"),
    Stop("first-hour-blocks", "The blocks, as connections.", "/connections", "text=taxi_source"),
    Stop("first-hour-lake", "The lake, as a Variable.", "/variables", "text=taxi_lake"),
    Stop("first-hour-taxi", "The page Taxi: the month of the demo.", "/plugin/taxi", "#coverage-says b", "iframe"),
]


def take(url: str, user: str, password: str, into: Path) -> dict[str, str]:
    """Log in, look at every page, and save its picture.

    Returns:
        What the browser complained about, by the name of the stop; empty if it did not.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, reduced_motion="reduce")
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        _log_in(page, url, user, password)
        found = {}
        for stop in STOPS:
            complaints.clear()
            _look(page, url, stop)
            page.screenshot(path=into / f"{stop.name}.png")
            found[stop.name] = "; ".join(complaints)
        browser.close()
    return found


def _log_in(page: Page, url: str, user: str, password: str) -> None:
    page.goto(url)
    page.locator("input[name=username]").fill(user)
    page.locator("input[name=password]").fill(password)
    page.locator("button[type=submit]").click()
    page.wait_for_url(lambda address: "/auth/" not in address)


def _look(page: Page, url: str, stop: Stop) -> None:
    page.goto(url + stop.path.partition("?trigger")[0])
    if "?trigger" in stop.path:
        page.get_by_role("button", name="Trigger", exact=True).first.click()
        page.get_by_role("dialog").wait_for()
    inside = page.frame_locator(stop.frame) if stop.frame else page
    inside.locator(stop.proof).first.wait_for()
    page.wait_for_timeout(1_500)  # pages of Airflow ask again every few seconds, so the network is never idle
