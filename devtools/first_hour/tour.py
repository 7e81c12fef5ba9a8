"""tour: look at Airflow's pages and at the page Taxi in a browser, and take a picture of each. Needs Chromium."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from playwright.sync_api import Error, sync_playwright

from devtools.screenshots import chromium

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

SIZE = (1280, 800)
FORM = "#form"  # not a part of the path: the button "Trigger" opens it
PATIENCE_SECONDS = 60
DRAWN_MILLISECONDS = 1_500  # Airflow's pages ask for news every few seconds, so their network is never idle


class Stop(NamedTuple):
    """A page to look at: the name of its picture, a few words, its path, and a selector that it must show."""

    name: str
    what: str
    path: str
    proof: str
    frame: str | None = None


STOPS = [
    Stop("first-hour-form", "The form of a run.", f"/dags/ingest_data{FORM}", "[role=dialog] :text('Service')"),
    Stop("first-hour-blocks", "The blocks, as connections.", "/connections", "text=taxi_source"),
    Stop("first-hour-lake", "The lake, as a Variable.", "/variables", "text=taxi_lake"),
    Stop("first-hour-flows", "The flows, without their deployments.", "/dags?tags=flow", "text=ingest_data"),
    Stop("first-hour-flow", "A flow, its tasks and its runs.", "/dags/ingest_data", "text=load_data"),
    Stop("first-hour-taxi", "The page Taxi: the month of the demo.", "/plugin/taxi", "#coverage-says b", "iframe"),
]


# Replaces a text wherever a page shows it.
HIDE = """hidden => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        walker.currentNode.nodeValue = walker.currentNode.nodeValue.replaceAll(hidden, '…');
    }
}"""


def take(url: str, user: str, password: str, into: Path, hidden: str) -> dict[str, str]:
    """Log in, look at every page, and save its picture, without a text that is to be hidden.

    Returns:
        What is wrong, by the name of the stop: errors of the page's scripts, or what it did not show; mostly empty.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, reduced_motion="reduce")
        page.set_default_timeout(PATIENCE_SECONDS * 1_000)
        _log_in(page, url, user, password)
        found = {stop.name: _look(page, url, stop, into, hidden) for stop in STOPS}
        browser.close()
    return found


def _log_in(page: Page, url: str, user: str, password: str) -> None:
    page.goto(url)
    page.locator("input[name=username]").fill(user)
    page.locator("input[name=password]").fill(password)
    page.locator("button[type=submit]").click()
    page.wait_for_url(lambda address: "/auth/" not in address)


def _look(page: Page, url: str, stop: Stop, into: Path, hidden: str) -> str:
    wrong: list[str] = []

    def listen(error: Error) -> None:
        wrong.append(str(error))

    page.on("pageerror", listen)
    try:
        page.goto(url + stop.path.removesuffix(FORM))
        if stop.path.endswith(FORM):
            page.locator("button:has-text('Trigger')").first.click()
        inside = page.frame_locator(stop.frame) if stop.frame else page
        inside.locator(stop.proof).first.wait_for()
    except Error as error:
        wrong.append(str(error).partition("\n")[0])
    page.wait_for_timeout(DRAWN_MILLISECONDS)
    page.evaluate(HIDE, hidden)
    page.screenshot(path=into / f"{stop.name}.png")
    page.remove_listener("pageerror", listen)
    return "; ".join(wrong)
