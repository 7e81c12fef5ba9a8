"""The page in a real browser: inside Airflow, by keyboard, on a phone, in dark mode."""

import csv
from io import StringIO

import psycopg
import pytest

pytest.importorskip("playwright.sync_api")
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from include.nyc_taxi import TripFile, editions, publications, targets
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
    shows(page, "fhv 2024-06", "unknown")
    shows(page, "fhv 2025-02", "not_published")  # the survey has asked for it
    expect(cell(page, "green 2024-01")).to_have_attribute("aria-label", "Green January 2024: count differs")
    assert [title.split()[0] for title in page.locator(".calendar h3").all_inner_texts()] == NAMES


def test_the_legend_picks_out_a_state(look):
    page = look("/taxi/")
    button = page.locator("#legend").get_by_role("button", name="Count differs")

    button.click()

    expect(button).to_have_attribute("aria-pressed", "true")
    expect(cell(page, "green 2024-01").locator(".cell")).to_have_css("opacity", "1")
    expect(cell(page, "green 2025-01").locator(".cell")).to_have_css("opacity", "0.16")


def test_a_month_opens_by_keyboard_and_tells_its_ledger_row(look, site):
    page = look("/taxi/")
    cell(page, "green 2024-02").focus()

    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")

    sheet = page.get_by_role("dialog", name="Green January 2024")
    expect(sheet).to_contain_text("56,551")
    expect(sheet).to_contain_text("public.green_taxi_trips")
    expect(sheet.get_by_role("link", name="run and logs")).to_have_attribute(
        "href", f"{site.url}/dags/ingest_data/runs/earlier"
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
    expect(cell(page, "green 2025-02").locator(".cell")).to_have_attribute("data-standing", "loaded")
    expect(cell(page, "green 2025-02")).to_have_attribute("aria-label", "Green February 2025: failed, loaded")
    in_all = page.locator("#coverage-says b").inner_text()
    expect(page.locator("#legend").get_by_role("button", name="Loaded", exact=False).first).to_contain_text(in_all)
    expect(page.get_by_role("dialog")).to_contain_text("Loaded before")


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
        path = f"/api/v2/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}"
        assert client.patch(path, json={"state": state}).is_success


def at_step(page, **step):
    """Have the page be told that the last run of a month is at a step, as by a real run with a log."""

    def answer(route):
        told = route.fetch().json()
        attempt = {"state": step["state"], "dag_id": "ingest_data", "run_id": "r", "at": "2026-01-01T00:00:00Z"}
        route.fulfill(json=told | {"state": step["state"], "attempt": attempt, "step": step})

    page.route("**/api/months/**", answer)


def test_a_failed_month_shows_the_error_and_a_running_one_how_far_it_has_come(look):
    page = look("/taxi/")
    nothing = {"error": None, "amount": None, "percent": None}

    at_step(page, **nothing | {"task_id": "extract_data", "state": "failed", "error": "NotPublished: HTTP 404"})
    cell(page, "green 2024-01").click()
    expect(page.get_by_role("dialog").locator(".run.bad")).to_contain_text("extract_data: failed")
    expect(page.get_by_role("dialog").locator(".run .error")).to_have_text("NotPublished: HTTP 404")
    page.keyboard.press("Escape")

    at_step(page, **nothing | {"task_id": "load_data", "state": "running", "amount": "3 of 4 rows", "percent": 75})
    cell(page, "green 2025-01").click()
    expect(page.get_by_role("dialog").locator(".run")).to_contain_text("load_data: running")
    expect(page.get_by_role("dialog").locator(".run")).to_contain_text("3 of 4 rows (75 %)")
    expect(page.get_by_role("progressbar", name="load_data")).to_have_attribute("value", "75")


WATCH = """() => {
  window.both = [];
  const dialog = document.getElementById("detail");
  new MutationObserver(() => {
    const [loading, result] = [".skeleton", "dl, .notice, .action, .run"].map((of) => dialog.querySelector(of));
    window.both.push(Boolean(loading && result));
  }).observe(dialog, { childList: true, subtree: true });
}"""


def test_a_sheet_is_either_loading_or_a_result(look):
    page = look("/taxi/")
    shows(page, "green 2024-01", "count_differs")
    page.evaluate(WATCH)
    slow = []
    page.route("**/api/months/green/2024-01*", lambda route: slow.append(route))  # noqa: PLW0108 - a builtin has no room for what playwright notes

    cell(page, "green 2024-01").click()
    expect(page.get_by_role("dialog").locator(".skeleton")).to_be_visible()
    page.keyboard.press("Escape")
    cell(page, "yellow 2024-01").click()
    expect(page.get_by_role("dialog")).to_contain_text("Rows read")
    slow[0].continue_()  # the answer for the month before comes last
    page.wait_for_load_state("networkidle")

    expect(page.get_by_role("dialog", name="Yellow January 2024")).to_contain_text("public.yellow_taxi_trips")
    seen_together = page.evaluate("window.both")
    assert len(seen_together) > 1
    assert not any(seen_together)


def test_what_is_on_its_way_has_an_outline(look):
    page = look("/taxi/#city")
    expect(page.locator("#city-says b")).to_be_visible()
    held = []
    page.route("**/api/*", lambda route: held.append(route))  # noqa: PLW0108

    page.get_by_role("link", name="Quality").click()
    expect(page.locator("#quality .skeleton").first).to_be_visible()
    expect(page.locator("#quality-says")).to_have_text("Loading …")  # for screen readers

    held[0].continue_()
    expect(page.locator("#quality-says")).to_contain_text("were rejected")
    expect(page.locator("#quality .skeleton")).to_have_count(0)


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


DRAW = """async ([months, values, format]) => {
  const { lineChart } = await import("/taxi/static/chart.js");
  const formats = await import("/taxi/static/numbers.js");
  const lines = [{ label: "line", color: "--failed", values }];
  const box = lineChart({ title: "Chart", file: ["chart"], months, format: formats[format], lines });
  document.body.append(box);
  while (!box.chart?._done) {
    await new Promise(requestAnimationFrame);
    if (box.chart?.status === 1) box.chart._done = true;
  }
  const { axes, scales, ctx } = box.chart;
  const swatch = document.createElement("canvas").getContext("2d");
  swatch.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--failed");
  swatch.fillRect(0, 0, 1, 1);
  const [colour] = new Uint32Array(swatch.getImageData(0, 0, 1, 1).data.buffer);
  const pixels = new Uint32Array(ctx.getImageData(0, 0, ctx.canvas.width, ctx.canvas.height).data.buffer);
  box.querySelector("summary").click();
  await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return {
    x: axes[0]._values,
    y: axes[1]._values,
    from: new Date(scales.x.min * 1000).toISOString().slice(0, 7),
    to: new Date(scales.x.max * 1000).toISOString().slice(0, 7),
    drawn: pixels.filter((pixel) => pixel === colour).length,
    rows: [...box.querySelectorAll(".numbers tbody tr")].map((row) => row.textContent),
  };
}"""


def chart(page, months, values, form="counts"):
    """What a chart of these values shows: its labels, from when to when it goes, pixels of its line, and its table."""
    expect(page.locator("#quality-says b")).to_be_visible()
    return page.evaluate(DRAW, [months, values, form])


def months_since(year, count):
    return [f"{year + at // 12}-{at % 12 + 1:02}" for at in range(count)]


def test_months_without_a_neighbour_are_drawn_and_the_table_has_them_alone(look):
    page = look("/taxi/#quality")
    months, values = months_since(2020, 40), [None] * 40
    values[3], values[20] = 500, 700

    seen = chart(page, months, values)

    assert seen["drawn"] > 5
    assert seen["rows"] == ["2021-09700", "2020-04500"]
    assert chart(page, months, [None] * 40)["drawn"] == 0


def test_one_month_is_a_chart_of_that_month(look):
    seen = chart(look("/taxi/#quality"), ["2024-01"], [500])

    assert (seen["x"], seen["from"], seen["to"]) == (["Jan\n2024"], "2023-12", "2024-01")
    assert seen["drawn"] > 2


def test_labels_of_an_axis_differ(look):
    page = look("/taxi/#quality")
    for form, scales in {"shares": (0.0000123, 0.00049, 0.3), "counts": (3, 1_240_000)}.items():
        for most in scales:
            seen = chart(page, months_since(2024, 3), [most, most / 2, most], form)

            assert len(seen["y"]) > 2, most
            assert len(set(seen["y"])) == len(seen["y"]), most
            assert seen["x"] == ["Jan\n2024", "Feb", "Mar"]


def test_the_average_week_counts_an_hour_of_each_weekday_alike(look, site):
    with site.client("admin") as client:
        told = client.get("/taxi/api/city/yellow/2024-01").json()
    averages = [trips / times for trips, times in zip(told["hours"], told["occurs"], strict=True)]
    busiest = averages.index(max(averages))
    page = look("/taxi/#city?service=yellow&month=2024-01")

    day = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][busiest // 24]
    expect(page.locator("#hours-says")).to_contain_text(
        f"The busiest hour is {day} {busiest % 24}:00 to {busiest % 24 + 1}:00 with {max(averages):.1f} trips"
    )
    rows = downloaded(page, page.locator("#hours-csv button"))
    assert len(rows) == 168
    assert [float(row["trips_per_hour"]) for row in rows] == pytest.approx(averages)


def downloaded(page, button):
    """The rows of the table that a button downloads."""
    with page.expect_download() as download:
        button.click()
    assert download.value.suggested_filename.endswith(".csv")
    return list(csv.DictReader(StringIO(download.value.path().read_text(), newline="")))


def test_every_table_is_downloaded_as_csv(look, site):
    page = look("/taxi/")
    months = downloaded(page, page.get_by_role("button", name="Download taxi-months-in-postgres as CSV"))
    [month] = [row for row in months if (row["service"], row["month"]) == ("green", "2024-01")]
    assert (month["standing"], month["state"]) == ("loaded", "count_differs")

    page.goto("/taxi/#quality?service=green")
    page.locator("#quality summary").first.click()
    rows = downloaded(page, page.locator("#quality-charts .csv").first)
    assert {"month": "2024-01", "read": "500", "loaded": "490"} in rows
    eras = downloaded(page, page.locator("#eras-csv button"))
    assert (eras[1]["since"], eras[1]["added"]) == ("2025-01", "cbd_congestion_fee")

    page.goto("/taxi/#city?service=green&month=2024-01")
    expect(page.locator("#zones-csv button")).to_be_visible()
    zones = downloaded(page, page.locator("#zones-csv button"))
    assert sum(int(zone["pickups"]) for zone in zones) == 490
    assert {zone["borough"] for zone in zones} == {"Queens"}


def test_values_with_commas_and_quotes_are_quoted_in_csv(look):
    page = look("/taxi/")
    rows = [["a", "b"], ['say "hi"', "one, two"], [None, 1.5]]

    text = page.evaluate("async (rows) => (await import('/taxi/static/csv.js')).csv(rows)", rows)

    assert list(csv.reader(StringIO(text, newline=""))) == [["a", "b"], ['say "hi"', "one, two"], ["", "1.5"]]


def test_the_address_holds_what_is_shown(look):
    page = look("/taxi/#coverage?target=lake&service=green&month=2025-01")
    expect(page.get_by_role("dialog", name="Green January 2025")).to_contain_text("Rows read")
    expect(page.get_by_role("radio", name="Lake")).to_be_checked()

    page.keyboard.press("Escape")
    expect(page).to_have_url("/taxi/#coverage?target=lake")
    cell(page, "yellow 2024-01").click()
    expect(page).to_have_url("/taxi/#coverage?target=lake&service=yellow&month=2024-01")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Quality").click()
    page.get_by_text("FHV", exact=True).click()
    expect(page).to_have_url("/taxi/#quality?service=fhv")
    page.get_by_role("link", name="City").click()
    page.locator("#city-service").select_option("green")
    page.locator("#city-choice").select_option("2024-01")
    expect(page).to_have_url("/taxi/#city?service=green&month=2024-01")
    page.get_by_role("link", name="Coverage").click()
    expect(page).to_have_url("/taxi/#coverage?target=lake")


def test_another_address_changes_what_is_shown(look):
    page = look("/taxi/#city?service=green&month=2024-01")
    expect(page.locator("#city-choice")).to_have_value("2024-01")

    page.goto("/taxi/#city?service=yellow&month=2024-01")
    expect(page.locator("#city-service")).to_have_value("yellow")
    page.goto("/taxi/#quality?service=fhv")
    expect(page.locator("#quality-says")).to_contain_text("rows of FHV were rejected")
    page.goto("/taxi/#coverage?target=lake&service=green&month=2024-01")
    expect(page.get_by_role("dialog", name="Green January 2024")).to_contain_text("data/green")
    page.goto("/taxi/#coverage?target=postgres&service=green&month=nonsense")
    expect(page.locator("#coverage-says")).to_contain_text("in Postgres")
    expect(page.get_by_role("dialog")).to_be_hidden()


@pytest.mark.parametrize(
    ("opened", "then"), [("/plugin/taxi", "/plugin/taxi/taxi/"), ("/dags/ingest_data/plugin/taxi_dag", None)]
)
def test_in_airflow_the_outer_address_holds_what_is_shown(look, opened, then):
    page = look(f"{opened}#city?service=green&month=2024-01")
    outer = then or opened
    inside = page.frame_locator("iframe")
    expect(inside.locator("#city-choice")).to_have_value("2024-01")
    expect(inside.locator("#city-service")).to_have_value("green")
    expect(page).to_have_url(f"{outer}#city?service=green&month=2024-01")

    inside.get_by_role("link", name="Quality").click()
    inside.locator("#quality-service").get_by_text("FHV", exact=True).click()
    expect(page).to_have_url(f"{outer}#quality?service=fhv")
    page.reload()
    expect(inside.locator("#quality-says")).to_contain_text("rows of FHV were rejected")
    assert downloaded(page, inside.locator("#eras-csv button"))


@pytest.fixture
def without_zones(site):
    with psycopg.connect(site.warehouse) as connection:
        connection.execute("TRUNCATE taxi_zones")
    yield
    site.draw_zones()


def test_without_zones_a_button_loads_them_and_then_there_is_a_map(look, site, without_zones):
    page = look("/taxi/#city")
    expect(page.locator("#zones tr").first).to_contain_text("Zone ")
    expect(page.locator("#city-map")).to_be_hidden()
    expect(page.locator("#scale")).to_be_hidden()

    page.get_by_role("button", name="Load the taxi zones").click()

    expect(page.locator("#city-notices")).to_contain_text("ingest_taxi_zones was paused")
    with site.client("admin") as client:
        assert client.get("/api/v2/dags/ingest_taxi_zones").json()["is_paused"] is False
        [run] = client.get("/api/v2/dags/ingest_taxi_zones/dagRuns").json()["dag_runs"]
    site.draw_zones()
    end(site, run, "success")
    expect(page.locator("#map path")).to_have_count(3)
    expect(page.locator("#city-notices")).to_be_empty()


def test_who_may_not_start_runs_is_told_who_loads_the_zones(look, without_zones):
    page = look("/taxi/#city", user="viewer")

    expect(page.locator("#city-notices")).to_contain_text("ask somebody who may run the Dag ingest_taxi_zones")
    expect(page.get_by_role("button", name="Load the taxi zones")).to_have_count(0)


@pytest.mark.parametrize("width", [320, 390])
def test_on_a_phone_each_label_of_a_switch_is_one_line(look, width):
    page = look("/taxi/", width=width, height=844)
    for opened, labels in (("coverage", len(targets.every())), ("quality", 4), ("city", 4)):
        page.goto(f"/taxi/#{opened}")
        spans = page.locator(f"#{opened} .switch label span")
        expect(spans).to_have_count(labels)
        expect(spans.last).to_be_visible()
        assert {span.bounding_box()["height"] for span in spans.all()} == {34}
        assert page.evaluate("document.documentElement.scrollWidth") == width


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
