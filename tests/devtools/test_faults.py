"""The campaign of faults: its short form in full, and that it would notice what it looks for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from devtools.faults.fault import KINDS, Fault, chosen, every

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
SABOTAGE = """
import json, os, sys, tempfile
from pathlib import Path
from devtools.faults.__main__ import environment
from devtools.faults.fault import Fault
from devtools.faults.points import DOWNLOADED, IN_COPY, LANDED

def half(scene):
    scene.at(IN_COPY, lambda _: scene.query("DELETE FROM green_taxi_trips WHERE vendor_id = 2"))

def lost(scene):
    scene.before_judging(lambda: scene.query("DELETE FROM green_taxi_trips WHERE vendor_id = 2"))

def ledger(scene):
    change = "UPDATE load_ledger SET rows_loaded = rows_loaded - 1, rows_rejected = rows_rejected + 1"
    scene.before_judging(lambda: scene.query(change))

def raw(scene):
    scene.at(DOWNLOADED, lambda _: (scene.lake_folder / "raw").rename(scene.folder / "gone"))

def never(scene):
    scene.at("nowhere", lambda _: None)

def rejects(scene):
    scene.before_judging(lambda: next((scene.lake_folder / "rejects").rglob("*.parquet")).unlink())

if __name__ == "__main__":
    faults = [Fault("database", do.__name__, "Sabotage.", do) for do in (half, lost, ledger, raw, never, rejects)]
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(environment(Path(home)))
        from devtools.faults.campaign import campaign
        from devtools.faults.ground import Ground
        with Ground() as ground:
            outcomes = campaign(ground, faults, "0", 2, lambda _: None)
    print(json.dumps({one.fault.name: [one.verdict, one.is_expected, " ".join(one.problems)] for one in outcomes}))
"""


def campaign(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_the_short_form_of_the_campaign_is_survived():
    done = campaign("-m", "devtools.faults", "--short")

    assert done.returncode == 0, done.stdout + done.stderr
    tried = {line.split()[0] for line in done.stdout.splitlines() if line.split()[:1] and line.split()[0] in KINDS}
    assert tried == set(KINDS)


def test_the_campaign_notices_lost_rows_half_months_wrong_counts_and_faults_that_did_not_happen(tmp_path: Path):
    (tmp_path / "sabotage.py").write_text(SABOTAGE)

    done = campaign(str(tmp_path / "sabotage.py"))

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert {(verdict, expected) for verdict, expected, _ in found.values()} == {("not survived", False)}
    assert "a reader of InPostgres saw" in found["half"][2]
    assert "after the run, InPostgres holds" in found["lost"][2]
    assert "after the run, the ledger of InPostgres has" in found["ledger"][2]
    assert "stopped with NotInLake; expected ['right']" in found["raw"][2]
    assert "the run never came to ['nowhere']" in found["never"][2]
    assert "after the run, rejects/ holds" in found["rejects"][2]


def test_at_least_150_faults_have_names_of_their_own_and_a_sentence_each():
    names = [fault.name for fault in every()]

    assert len(set(names)) == len(names) >= 150
    assert {fault.kind for fault in every()} == set(KINDS)
    assert [fault.name for fault in every() if not fault.what.endswith(".")] == []


def test_the_short_form_has_every_kind():
    assert {fault.kind for fault in chosen([], short=True)} == set(KINDS)


def test_the_page_has_every_fault():
    page = PAGE.read_text()

    assert [fault.name for fault in every() if f"| {fault.name} |" not in page] == [], (
        'run `make test-faults ARGS="--write docs/reliability.md"`'
    )


def test_a_fault_that_expects_an_error_outside_of_triage_is_refused():
    with pytest.raises(ValueError, match=r"x: \['KeyError'\] are no words of the Triage"):
        Fault("lake", "x", "X.", lambda _: None, ("KeyError",))


def test_a_word_that_fits_no_fault_is_refused():
    with pytest.raises(ValueError, match="no fault fits"):
        chosen(["no such fault"])
