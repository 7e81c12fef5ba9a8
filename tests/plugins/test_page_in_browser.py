"""The page in a real browser: inside Airflow, by keyboard, on a phone, in dark mode."""

import psycopg
import pytest

pytest.importorskip("playwright.sync_api")
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from include.nyc_taxi import TripFile, editions, publications
from include.nyc_taxi.lake import raw_key

NAMES = ["Yellow", "Green", "FHV", "FHVHV"]
expect.set_options(timeout=20_000)
SERIOUS = {"serious", "critical"}


def cell(page, file):
    return page.locator(f"[data-file='{file}']")


def shows(page, file, state):
    expect(cell(page, file).locator(".cell")).to_have_attribute("data-state", state)


def test_anonymous_gets_the_login_page_and_then_the_page(look):
    page = look("/taxi/", user=None)
    expect(page.locator("input[name=password]")).to_be_visible()

    page.locator("input[name=username]").fill("admin")
    page.locator("input[name=password]").fill("admin")
    page.keyboard.press("Enter")

    expect(page.locator("#coverage-says")).to_contain_text("published months are in Postgres")


def test_the_calendars_show_what_the_ledger_implies(look):
    page = look("/taxi/")

    shows(page, "green 2025-01", "loaded")
    shows(page, "green 2024-01", "count_differs")
    shows(page, "green 2024-02", "published")
    shows(page, "fhv 2025-01", "stale")
    shows(page, "fhv 2009-01", "not_published")
    expect(cell(page, "green 2024-01")).to_have_attribute("aria-label", "Green January 2024: count differs")
    assert [title.split()[0] for title in page.locator(".calendar h3").all_inner_texts()] == NAMES


def test_the_legend_picks_out_a_state(look):
    page = look("/taxi/")
    button = page.locator("#legend").get_by_role("button", name="Count differs")

    button.click()

    expect(button).to_have_attribute("aria-pressed", "true")
    expect(cell(page, "green 2024-01").locator(".cell")).to_have_css("opacity", "1")
    expect(cell(page, "green 2025-01").locator(".cell")).to_have_css("opacity", "0.16")


def test_a_month_opens_by_keyboard_and_tells_its_ledger_row(look):
    page = look("/taxi/")
    cell(page, "green 2024-02").focus()

    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")

    sheet = page.get_by_role("dialog", name="Green January 2024")
    expect(sheet).to_contain_text("56,551")
    expect(sheet).to_contain_text("public.green_taxi_trips")
    expect(sheet.get_by_role("link", name="run and logs")).to_have_attribute(
        "href", page.url.replace("taxi/", "dags/ingest_data/runs/earlier")
    )
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    expect(cell(page, "green 2024-01")).to_be_focused()


def test_a_month_that_was_replaced_tells_what_was_loaded_and_what_is_there_now(look, site):
    now = publications.known(site.lake)[TripFile.parse("fhv_tripdata_2025-01")].etag
    page = look("/taxi/")

    cell(page, "fhv 2025-01").click()

    sheet = page.get_by_role("dialog", name="FHV January 2025")
    expect(sheet).to_contain_text("Loaded, and republished since.")
    expect(sheet).to_contain_text('ETag"1"')
    expect(sheet).to_contain_text(f"ETag now{now}")
    expect(sheet.get_by_role("button", name="Load again into Postgres")).to_be_enabled()


def test_a_load_that_is_started_here_is_seen_to_run_and_to_end(look, site):
    page = look("/taxi/")
    shows(page, "green 2024-03", "published")

    cell(page, "green 2024-03").click()
    page.get_by_role("button", name="Load into Postgres").click()

    expect(page.get_by_role("button", name="Running …")).to_be_disabled()
    shows(page, "green 2024-03", "running")
    run = the_run(site, month=3)
    assert run["conf"] == {"colour": "green", "year": 2024, "month": 3}
    site.load("green_tripdata_2024-03", run_id=run["dag_run_id"])
    end(site, run, "success")
    shows(page, "green 2024-03", "count_differs")
    expect(page.get_by_role("dialog")).to_contain_text("500")
    expect(page.get_by_role("button", name="Load again into Postgres")).to_be_enabled()


def test_a_load_that_is_done_again_is_done_as_it_was_and_its_failure_shows(look, site):
    site.load("green_tripdata_2025-02")
    page = look("/taxi/")

    cell(page, "green 2025-02").click()
    page.get_by_role("button", name="Load again into Postgres").click()

    shows(page, "green 2025-02", "running")
    run = the_run(site, month=2)
    as_before = {"force": True, "source": "official", "quality": "notes", "table_name": "public.green_taxi_trips"}
    assert run["conf"] == {"colour": "green", "year": 2025, "month": 2} | as_before
    end(site, run, "failed")
    shows(page, "green 2025-02", "failed")
    expect(page.get_by_role("dialog")).to_contain_text("Failed since its last load.")
    with psycopg.connect(site.warehouse) as connection:
        loaded = "SELECT count(DISTINCT month) FROM load_ledger WHERE service = 'green'"
        [(held,)] = connection.execute(loaded).fetchall()
    expect(page.locator("#of-green")).to_contain_text(f"Green{held} of ")  # this month is among them


def test_a_month_lists_its_editions_and_loads_an_earlier_one_by_its_name(look, site):
    name = "green_tripdata_2025-05"
    for rows in (500, 640):
        site.load(name, rows=rows)
    site.publish(name, rows=660)
    first, second, third = editions.history(site.lake, raw_key(TripFile.parse(name), "official")).editions
    page = look("/taxi/")

    cell(page, "green 2025-05").click()

    items = page.get_by_role("dialog").locator(".editions li")
    expect(items).to_contain_text([third.id, second.id, first.id])
    expect(items.nth(0)).to_contain_text("current")
    expect(items.nth(1)).to_contain_text("loaded here")
    expect(items.nth(1)).to_contain_text("rows added")
    expect(items.get_by_role("button")).to_have_count(1)  # the current edition is loaded by the month's own button

    items.nth(2).get_by_role("button", name="Load this edition").click()

    shows(page, "green 2025-05", "running")
    run = the_run(site, month=5)
    as_before = {"source": "official", "quality": "notes", "table_name": "public.green_taxi_trips"}
    asked = {"colour": "green", "year": 2025, "month": 5, "edition": first.sha256}
    assert run["conf"] == asked | as_before
    site.load_edition(name, 1, run_id=run["dag_run_id"])
    end(site, run, "success")
    expect(page.get_by_role("dialog")).to_contain_text(f"Loaded from edition {first.id} by request.")
    expect(items.nth(2)).to_contain_text("loaded here")


def test_the_current_edition_replaces_one_that_was_asked_for(look, site):
    name = "green_tripdata_2025-06"
    for rows in (500, 640):
        site.load(name, rows=rows)
    site.load_edition(name, 1)
    page = look("/taxi/")

    cell(page, "green 2025-06").click()
    page.get_by_role("button", name="Load the current edition").click()

    shows(page, "green 2025-06", "running")
    run = the_run(site, month=6)
    as_before = {"source": "official", "quality": "notes", "table_name": "public.green_taxi_trips"}
    assert run["conf"] == {"colour": "green", "year": 2025, "month": 6} | as_before
    end(site, run, "success")


def the_run(site, *, month):
    with site.client("admin") as client:
        runs = client.get("/api/v2/dags/ingest_data/dagRuns", params={"order_by": "-id"}).json()["dag_runs"]
    return next(run for run in runs if run["conf"]["month"] == month)


def end(site, run, state):
    with site.client("admin") as client:
        path = f"/api/v2/dags/ingest_data/dagRuns/{run['dag_run_id']}"
        assert client.patch(path, json={"state": state}).is_success


def test_a_paused_dag_is_a_notice(look, site):
    with site.client("admin") as client:
        client.patch("/api/v2/dags/ingest_data", json={"is_paused": True}).raise_for_status()
        try:
            page = look("/taxi/")
            expect(page.locator("#coverage-notices")).to_contain_text("The Dag ingest_data is paused")
        finally:
            client.patch("/api/v2/dags/ingest_data", json={"is_paused": False}).raise_for_status()


def test_the_tab_of_a_dag_opens_the_target_that_it_loads_into(look):
    opened = {"etl_gcs_to_bq": "BigQuery", "etl_parent_flow.x": "Lake", "ingest_data.green": "Postgres"}
    for dag_id, title in opened.items():
        page = look(f"/taxi/?dag_id={dag_id}")
        expect(page.get_by_role("radio", name=title)).to_be_checked()


def test_a_part_that_could_not_be_loaded_can_be_retried(look):
    page = look("/taxi/")
    page.route("**/api/quality", lambda route: route.fulfill(status=503, json={"detail": "Postgres does not answer."}))
    page.get_by_role("link", name="Quality").click()
    expect(page.locator("#quality-says")).to_have_text("Could not load this page.")
    expect(page.locator("#quality-notices")).to_contain_text("Postgres does not answer.")

    page.unroute("**/api/quality")
    page.get_by_role("button", name="Retry").click()

    expect(page.locator("#quality-says")).to_contain_text("rows of Yellow were rejected")
    expect(page.locator("#quality-notices")).to_be_empty()


def test_who_may_not_start_runs_has_no_button(look):
    page = look("/taxi/", user="viewer")

    cell(page, "green 2024-01").click()

    expect(page.get_by_role("dialog")).to_contain_text("Rows read")
    expect(page.get_by_role("dialog")).to_contain_text("You can view, but not start runs of ingest_data")
    assert page.get_by_role("dialog").get_by_role("button").count() == 1  # that which closes it


def test_another_target_has_its_own_states_and_words(look):
    page = look("/taxi/")

    page.get_by_text("Lake", exact=True).click()
    expect(page.locator("#coverage-says")).to_contain_text("in the lake")
    shows(page, "yellow 2024-01", "count_differs")

    page.get_by_text("BigQuery", exact=True).click()
    expect(page.locator("#coverage-notices")).to_contain_text("BigQuery does not answer")
    expect(page.locator("#coverage-says")).to_contain_text("the months in BigQuery are unknown")
    shows(page, "yellow 2024-01", "published")
    expect(page.locator("#legend")).not_to_contain_text("Not loaded")
    cell(page, "yellow 2024-01").click()
    expect(page.get_by_role("dialog")).to_contain_text("BigQuery does not answer")
    assert page.get_by_role("dialog").get_by_role("button").count() == 1  # that which closes it


def test_until_another_target_has_answered_no_month_can_be_opened(look):
    page = look("/taxi/")
    shows(page, "green 2025-01", "loaded")
    seen = []

    def answer(route):
        seen.append(page.locator("#calendars").get_attribute("inert"))
        route.continue_()

    page.route("**/api/coverage?target=lake", answer)
    page.get_by_text("Lake", exact=True).click()

    expect(page.locator("#coverage-says")).to_contain_text("in the lake")
    assert seen == [""]
    expect(page.locator("#calendars")).not_to_have_attribute("inert", "")


def test_the_quality_of_the_loaded_months_is_drawn(look):
    page = look("/taxi/#quality")

    expect(page.locator("#quality-says")).to_contain_text("rows of Yellow were rejected")
    expect(page.locator("#quality .chart canvas")).to_have_count(4)
    expect(page.locator("#eras")).to_contain_text("cbd_congestion_fee")
    page.get_by_text("FHVHV", exact=True).click()
    expect(page.locator("#quality-says")).to_have_text("No month of FHVHV is loaded")


def test_the_city_is_drawn(look, site):
    page = look("/taxi/#city")

    expect(page.locator("#map path")).to_have_count(3)
    expect(page.locator("#hours td[data-q]")).to_have_count(168)
    page.locator("#map path").first.hover()
    expect(page.locator("#map-says")).to_contain_text("Zone 1, Queens")
    page.get_by_text("Other zones").click()
    expect(page.locator("#other-zones tr").last).to_contain_text("Queens")
    page.get_by_text("Mean fare", exact=True).click()
    expect(page.locator("#zones-title")).to_have_text("Mean fare by pickup zone")
    page.locator("#city-service").select_option("green")
    page.get_by_role("button", name="Next month").click()
    expect(page.locator("#hours-says")).to_contain_text("New York time")


def test_the_page_is_an_entry_and_a_tab_of_airflow_and_follows_its_theme(look, site):
    page = look("/")
    page.get_by_role("link", name="Taxi").click()
    inside = page.frame_locator("iframe")
    expect(inside.locator("#coverage-says")).to_contain_text("published months are in Postgres")

    page.evaluate("document.documentElement.classList.add('dark')")
    expect(inside.locator("html")).to_have_class("dark")

    inside.locator("[data-file='green 2024-01']").click()
    inside.get_by_role("link", name="run and logs").click()
    page.wait_for_url("**/dags/ingest_data/runs/earlier")
    page.goto("/dags/ingest_data/plugin/taxi_dag")
    expect(page.frame_locator("iframe").locator("#coverage-says")).to_contain_text("in Postgres")


@pytest.mark.parametrize(
    ("width", "height", "dark"), [(1280, 860, False), (390, 844, True)], ids=["laptop, light", "phone, dark"]
)
def test_every_page_can_be_used_by_everybody(look, width, height, dark):
    page = look("/taxi/", width=width, height=height, dark=dark)
    for opened, proof in (("coverage", ".calendar"), ("quality", ".chart canvas"), ("city", "#hours td")):
        page.goto(f"/taxi/#{opened}")
        expect(page.locator(f"#{opened} {proof}").first).to_be_visible()
        assert findings(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == width
    page.goto("/taxi/#coverage")
    cell(page, "green 2025-03").click()
    expect(page.get_by_role("dialog")).to_contain_text("Load this edition")
    assert findings(page) == []


def findings(page):
    """What axe finds serious."""
    response = Axe().run(page).response
    assert response["passes"]
    return [
        (found["id"], node["target"], node["failureSummary"])
        for found in response["violations"]
        if found["impact"] in SERIOUS
        for node in found["nodes"]
    ]
