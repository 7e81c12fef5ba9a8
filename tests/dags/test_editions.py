"""Editions through the real Dags and the commands: republished, asked for, shrunken, superseded and pruned."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from airflow.sdk.exceptions import ParamValidationError

from include.nyc_taxi import TripFile, download, editions, landing, targets
from include.nyc_taxi.lake import Lake, data_key, raw_key
from include.nyc_taxi.precedence import Run, Wish
from include.orchestration import connections, steps
from include.orchestration.editions import edition_lines, pruned_lines
from tests.dags.runs import result, states, tries

ROOT = Path(__file__).resolve().parents[2]
JANUARY = {"colour": "green", "year": 2024, "month": 1}
FILE = TripFile.parse("green_tripdata_2024-01")
KEY = raw_key(FILE, "official")
ROWS = 500


@pytest.fixture
def lake(tmp_path):
    return Lake.at(tmp_path / "a lake")


@pytest.fixture
def run(publish, bag):
    """Runs a flow for the published month; the publisher is asked each time."""
    publish(FILE.name, rows=ROWS)

    def test_run(dag_id="ingest_data", **conf):
        return bag("nyc-taxi").dags[dag_id].test(run_conf=JANUARY | {"cache_ttl_hours": 0} | conf)

    return test_run


@pytest.fixture
def sync(bag):
    """A day's run of the sync; returns its report."""

    def test_run():
        conf = {"colours": ["green"], "since": "2024-01", "max_files_per_run": 100}
        return result(bag("nyc-taxi").dags["sync_published_months"].test(run_conf=conf), "report")

    return test_run


@pytest.fixture
def loads(query):
    """What the ledger has of each load: the rows that were read, and what was asked for."""
    return lambda: query("SELECT rows_read, asked_for FROM load_ledger ORDER BY load_id")


def known(lake):
    return editions.history(lake, KEY).editions


def digits(lake, number):
    """The name of an edition, by its number."""
    return known(lake)[number - 1].id


# Republished


def test_a_republished_month_replaces_the_old_one_and_the_log_says_what_changed(run, republish, loads, query, caplog):
    run()
    rows, difference = republish(FILE.name, removed=3, added=12)
    caplog.clear()

    finished = run()

    changes = f"12 rows added, 3 removed, total_amount {difference:+,.2f}"
    assert finished.state == "success"
    assert f"{FILE} was republished: {changes}" in caplog.text
    assert loads() == [(ROWS, None), (rows, None)]
    assert query("SELECT count(*) FROM green_taxi_trips") == query(
        "SELECT rows_loaded FROM load_ledger ORDER BY load_id DESC LIMIT 1"
    )


def test_the_daily_report_says_what_a_republished_file_changed(run, republish, sync):
    assert "republished" not in sync()
    _rows, difference = republish(FILE.name, removed=3, added=12)

    report = sync()

    changes = f"12 rows added, 3 removed, total_amount {difference:+,.2f}"
    assert report.startswith("loaded 1 of 1 files (green_tripdata_2024-01); 0 remaining")
    assert report.endswith(f"; green 2024-01 was republished: {changes}")


# As of


@pytest.mark.parametrize("named_by", ["a date", "8 digits"])
def test_an_edition_that_is_asked_for_is_loaded_back(run, republish, lake, loads, named_by):
    run()
    republish(FILE.name, removed=3, added=12)
    run()
    editions.describe(lake, KEY, known(lake)[0].sha256, first_seen="2024-03-01T12:00:00+00:00")
    name = "2024-03-31" if named_by == "a date" else digits(lake, 1)

    finished = run(edition=name)

    assert finished.state == "success"
    assert result(finished, "extract_data")["edition"] == known(lake)[0].sha256
    assert loads()[-1] == (ROWS, f"edition={name}")
    assert len(known(lake)) == 2


def test_the_sync_leaves_a_month_alone_that_was_asked_for_until_it_is_loaded_without_an_edition(
    run, republish, lake, loads, sync
):
    sync()
    republish(FILE.name, added=12)
    sync()
    run(edition=digits(lake, 1))
    latest, _ = republish(FILE.name, added=5)

    report = sync()

    assert report.startswith("loaded 0 of 0 files (none); 0 remaining")
    assert loads()[-1] == (ROWS, f"edition={digits(lake, 1)}")

    run()

    assert loads()[-1] == (latest, None)
    assert sync().startswith("loaded 0 of 0 files (none); 0 remaining")
    rows, _ = republish(FILE.name, added=1)
    assert sync().startswith("loaded 1 of 1 files")
    assert loads()[-1] == (rows, None)


def test_the_flows_into_the_lake_and_of_several_months_load_an_edition_too(run, republish, lake, loads, bag):
    run("etl_web_to_gcs")
    republish(FILE.name, added=12)
    run("etl_web_to_gcs")

    landed = result(run("etl_web_to_gcs", edition=digits(lake, 1)), "write_gcs")

    assert (landed["rows_read"], landed["claim"]["asked_for"]) == (ROWS, f"edition={digits(lake, 1)}")

    several = {"colour": "green", "year": 2024, "months": [1], "target": "postgres", "edition": digits(lake, 2)}
    assert bag("nyc-taxi").dags["etl_parent_flow"].test(run_conf=several).state == "success"
    assert loads() == [(ROWS + 12, f"edition={digits(lake, 2)}")]


@pytest.mark.parametrize("evil", ["2024-1", "abc", "'; DROP TABLE load_ledger; --", "../../etc"])
def test_what_is_no_edition_is_refused_when_the_run_is_asked_for(run, evil):
    with pytest.raises(ParamValidationError, match="edition"):
        run(edition=evil)


def test_an_edition_that_was_never_seen_fails_at_once_and_names_those_that_are_known(run, lake, errors):
    run()

    finished = run(edition="0123456789abcdef")

    assert (states(finished)["extract_data"], tries(finished, "extract_data")) == ("failed", 1)
    assert f"edition '0123456789abcdef' is not known; known are ['{digits(lake, 1)} of 20" in errors[0]


# Shrunken


def test_a_republished_file_that_lost_many_rows_is_loaded_only_when_somebody_accepts_it(
    run, republish, lake, loads, errors
):
    run()
    rows, _ = republish(FILE.name, removed=51)

    refused, again = run(), run()

    name = digits(lake, 2)
    assert (states(refused)["transform_data"], tries(refused, "transform_data")) == ("failed", 1)
    assert (states(again)["extract_data"], tries(again, "extract_data")) == ("failed", 1)
    for error in (errors[0], errors[-1]):
        assert error.startswith("ShrunkenEdition: ")
        assert f"edition {name} has 449 rows, 10% fewer than the 500 of edition {digits(lake, 1)}: not loaded" in error
        assert error.endswith(f"To accept it, run with edition={name}")
    assert loads() == [(ROWS, None)]

    assert run(edition=name).state == "success"
    assert loads()[-1] == (rows, f"edition={name}")
    assert run().state == "success"
    assert loads()[-1] == (rows, None)


# Superseded


@pytest.fixture
def meanwhile(monkeypatch):
    """Does something just before a step of the next run, once."""

    def do(step, deed):
        original = getattr(steps, step)

        def held_up(*arguments, **options):
            monkeypatch.setattr(steps, step, original)
            deed()
            return original(*arguments, **options)

        monkeypatch.setattr(steps, step, held_up)

    return do


@pytest.fixture
def another_run(lake, warehouse, publish):
    """Another run that brings the month into Postgres from its beginning to its end."""

    def bring(edition=None):
        wish = Wish.of(edition=edition)
        base_url = connections.base_url("official")
        fetched = download.fetch(FILE, lake, base_url=base_url, edition=edition, cache_ttl=timedelta(0))
        landing.land(FILE, lake, edition=fetched.edition.sha256, wish=wish)
        with psycopg.connect(warehouse) as connection:
            targets.get("postgres").replace_month(connection, FILE, lake, run=Run("another", "run", wish))

    return bring


@pytest.mark.parametrize("step", ["land", "load"])
def test_a_run_that_was_held_up_goes_on_with_the_newer_edition(
    run, republish, another_run, meanwhile, loads, step, caplog
):
    rows = []

    def newer():
        rows.append(republish(FILE.name, added=12)[0])
        another_run()

    meanwhile(step, newer)

    finished = run()

    assert finished.state == "success"
    assert "is superseded: going on with" in caplog.text
    assert loads() == [(*rows, None)]
    assert result(finished, "load_data")["outcome"] == "unchanged"


def test_a_run_that_somebody_overtook_ends_green_and_changes_nothing(
    run, republish, another_run, meanwhile, lake, loads, query, caplog
):
    run()
    republish(FILE.name, added=12)
    meanwhile("load", lambda: another_run(edition=digits(lake, 1)))

    finished = run()

    assert finished.state == "success"
    assert result(finished, "load_data") == {
        "file": FILE.name,
        "target": "postgres",
        "table": "public.green_taxi_trips",
        "rows_loaded": 0,
        "outcome": "superseded",
    }
    assert f"edition {digits(lake, 2)} (official notes error" in caplog.text
    assert f"is superseded by edition {digits(lake, 1)} (official notes error, edition={digits(lake, 1)}" in caplog.text
    assert loads()[-1] == (ROWS, f"edition={digits(lake, 1)}")


def test_a_staged_month_that_somebody_overtook_is_not_committed(run, republish, another_run, meanwhile, lake):
    run("etl_web_to_gcs")
    republish(FILE.name, added=12)
    meanwhile("commit", lambda: another_run(edition=digits(lake, 1)))

    finished = run("etl_web_to_gcs")

    assert finished.state == "success"
    written = result(finished, "write_gcs")
    assert (written["outcome"], written["rows_read"]) == ("superseded", ROWS)
    assert landing.landed(lake, FILE).pin == f"edition={digits(lake, 1)}"


# Pruned


def test_the_bytes_of_old_editions_are_deleted_if_the_deployment_keeps_only_some(
    run, republish, lake, monkeypatch, errors, caplog
):
    monkeypatch.setenv("AIRFLOW_VAR_TAXI_KEEP_EDITIONS", "2")
    for added in (1, 2, 3):
        run()
        republish(FILE.name, added=added)

    run()

    assert [edition.is_kept for edition in known(lake)] == [False, False, True, True]
    assert [lake.size(edition.key) is not None for edition in known(lake)] == [False, False, True, True]
    assert f"{FILE}: deleted the bytes of edition {digits(lake, 1)}, {known(lake)[0].bytes:,} bytes" in caplog.text

    assert states(run(edition=digits(lake, 1)))["extract_data"] == "failed"
    assert "are no longer kept, and the publisher has others" in errors[0]


def test_a_number_of_editions_that_is_none_fails_with_its_value_before_anything_lands(run, lake, monkeypatch, errors):
    monkeypatch.setenv("AIRFLOW_VAR_TAXI_KEEP_EDITIONS", "few")

    run()

    assert lake.size(data_key(FILE)) is None
    assert "Variable 'taxi_keep_editions' is 'few'; expected a number from 1, or none to keep all" in errors[0]


# Commands


@pytest.fixture
def three_editions(run, republish, lake):
    """A month of three editions, the last of which is held back."""
    run("etl_web_to_gcs")
    republish(FILE.name, removed=3, added=12)
    run("etl_web_to_gcs")
    republish(FILE.name, removed=400)
    run("etl_web_to_gcs")
    return known(lake)


def command(module, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_the_editions_of_a_service_are_listed_with_what_each_has_changed(three_editions, lake):
    first, second, third = (edition.id for edition in three_editions)

    title, *lines = edition_lines(lake, "green")

    assert title == "green_tripdata_2024-01  3 editions"
    assert [line.split()[0] for line in lines] == [first, second, third]
    assert lines[0].endswith(", 500 rows")
    assert ", 509 rows: 12 rows added, 3 removed, total_amount " in lines[1]
    assert lines[1].endswith("(current)")
    assert lines[2].endswith(", 109 rows  (held back)")


def test_one_edition_is_one(run, lake):
    run("etl_web_to_gcs")

    assert next(edition_lines(lake, "green")) == "green_tripdata_2024-01  1 edition"
    assert list(pruned_lines(lake, 1, dry_run=True)) == ["would free 0 bytes in all; 1 edition of each file is kept"]


def test_a_service_without_editions_says_when_they_appear(lake):
    assert list(edition_lines(lake, "fhv")) == ["no editions of fhv yet: they appear when a month is downloaded"]


def test_the_command_line_lists_and_prunes(three_editions, lake):
    first = three_editions[0]

    code, listed, _ = command("include.orchestration.status", "--editions", "green")
    assert (code, listed) == (0, list(edition_lines(lake, "green")))

    code, told, _ = command("include.orchestration.editions", "--keep", "1", "--dry-run")
    assert (code, told[-1]) == (0, f"would free {first.bytes:,} bytes in all; 1 edition of each file is kept")
    assert lake.size(first.key) == first.bytes

    code, told, _ = command("include.orchestration.editions", "--keep", "1")
    assert (code, told[0]) == (
        0,
        f"{first.key}: freed {first.bytes:,} bytes, first seen {first.first_seen[:10]}",
    )
    assert lake.size(first.key) is None
    assert "(bytes deleted)" in list(edition_lines(lake, "green"))[1]


def test_how_many_to_keep_must_be_said_somewhere(deployment):
    code, _, errors = command("include.orchestration.editions")

    assert code == 2
    assert "give --keep, or set the Variable taxi_keep_editions" in errors
