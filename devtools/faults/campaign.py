"""campaign: try faults, a few at a time, and judge what came of each.

A fault is survived if the month is right in the end, at once or after a retry; or if the flow stops with one line that
begins with a word of the Triage, and nothing has changed. In both cases, whoever reads the target meanwhile sees whole
editions only; and a clean run afterwards puts every row in place and is up to date at the next time.
"""

from __future__ import annotations

import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING

from devtools.faults.fault import RIGHT, TRIAGE, NotHereError
from devtools.faults.months import NOTHING, Held
from devtools.faults.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from devtools.faults.fault import Fault
    from devtools.faults.flow import Ended
    from devtools.faults.ground import Ground
    from devtools.faults.months import Edition
    from devtools.faults.targets import Place

AT_ONCE, AFTER_RETRY, STOPPED, NOT_SURVIVED, NOT_TRIED = (
    "right at once",
    "right after a retry",
    "stopped with one line",
    "not survived",
    "not tried",
)
_LONGEST_LINE = 1_500
_ROWS_TO_ADD = ("To services.toml", "To columns.toml")  # to the catalogue, which SchemaMismatch gives below its line
_READ_EVERY_SECONDS = 0.02


@dataclass
class Outcome:
    """What came of a fault: one of the verdicts, the error that a person saw, and what was wrong."""

    fault: Fault
    verdict: str
    seconds: float = 0.0
    said: str = ""
    problems: list[str] = field(default_factory=list)

    @property
    def is_expected(self) -> bool:
        """Whether nothing was wrong but what is known to be."""
        return bool(self.fault.not_survived) == (self.verdict == NOT_SURVIVED) or self.verdict == NOT_TRIED


def campaign(
    ground: Ground, faults: Sequence[Fault], seed: str, jobs: int, tell: Callable[[Outcome], object]
) -> list[Outcome]:
    """Try the faults, some at the same time, and tell of each as it ends; returns the outcomes in order."""

    def one(number: int) -> Outcome:
        outcome = attempt(ground, faults[number], number, seed)
        tell(outcome)
        return outcome

    with ThreadPoolExecutor(jobs) as threads:
        return list(threads.map(one, range(len(faults))))


def attempt(ground: Ground, fault: Fault, number: int, seed: str) -> Outcome:
    """Try one fault."""
    started = monotonic()
    try:
        with Scene(ground, fault, number, seed) as scene:
            outcome = _Attempt(scene).outcome()
    except NotHereError as reason:
        outcome = Outcome(fault, NOT_TRIED, said=str(reason))
    except Exception as error:  # noqa: BLE001 - the campaign goes on with the next fault
        where = traceback.format_exc()
        outcome = Outcome(
            fault, NOT_SURVIVED, problems=[f"the campaign failed: {type(error).__name__}: {error}\n{where}"]
        )
    outcome.seconds = monotonic() - started
    return outcome


class _Attempt:
    """A fault on its scene, and what was found wrong."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.problems: list[str] = []
        self.before: Held = NOTHING

    def outcome(self) -> Outcome:
        scene, fault = self.scene, self.scene.fault
        if not fault.begins_empty:
            self.before = scene.settle()
        scene.publish(2)
        fault.do(scene)
        with self._watched():
            ended = scene.run()
        self.problems += scene.complaints
        self._check_that_it_happened()
        verdict, said = self._verdict(ended)
        if ended.is_right:
            self._check_edition("after the run", scene.offered[scene.expected])
        scene.heal()
        if not ended.is_right:
            self._check_unchanged()
        self._check_clean_runs()
        if self.problems:
            verdict = NOT_SURVIVED
        return Outcome(fault, verdict, said=said, problems=self.problems)

    def _verdict(self, ended: Ended) -> tuple[str, str]:
        """Say how the run ended, and check that it ended as it should."""
        expects, failures = self.scene.fault.expects, ended.failures
        for failure in failures:
            if failure.error:
                self._check_line(failure.error, failure.message, failure.trace)
        said = next((f"{one.error}: {one.message}" for one in reversed(failures) if one.error), "")
        if ended.is_right:
            if RIGHT not in expects:
                self.problems.append(f"the run ended well; expected it to stop with {sorted(expects)}")
            return (AFTER_RETRY if failures else AT_ONCE), said
        word = ended.tries[-1].error or f"killed by {ended.tries[-1].message}"
        if word not in expects:
            self.problems.append(f"stopped with {word}; expected {sorted(expects)}: {said}")
        return STOPPED, said

    def _check_line(self, error: str, message: str, trace: str) -> None:
        if error not in TRIAGE:
            self.problems.append(f"an error without a word of the Triage: {error}: {message}\n{trace}")
            return
        line, _, rest = message.partition("\n")
        if (rest and not rest.startswith(_ROWS_TO_ADD)) or len(line) > _LONGEST_LINE or not line:
            self.problems.append(f"an error that is not one line: {error}: {message!r}")

    def _check_that_it_happened(self) -> None:
        scene = self.scene
        waiting = [point for point, deeds in scene.meddling.at.items() if deeds]
        waiting += [f"{rule.method} {rule.path}" for rule in scene.rules if rule.is_left]
        waiting += ["a fault of the publisher"] * len(scene.publisher.faults)
        if waiting:
            self.problems.append(f"the fault did not happen: the run never came to {waiting}")

    def _check_unchanged(self) -> None:
        """Check that a run that has stopped has changed nothing in the target."""
        scene = self.scene
        found = scene.target_place.held()
        if found != self.before and found not in scene.seen_too:
            self.problems.append(f"the run has stopped, and the target holds {found}; expected {self.before} as before")

    def _check_clean_runs(self) -> None:
        """Check that a run with nothing in its way is right, and does nothing at the next time."""
        scene = self.scene
        self._clean("after the fault", scene.offered[scene.expected])
        stamps = [place.last_load() for place in scene.places]
        again = scene.run_cleanly()
        if not again.is_right:
            self.problems.append(f"the next run failed: {again.tries[-1].error}: {again.tries[-1].message}")
        elif again.returned["outcome"] not in ("unchanged", "landed"):
            self.problems.append(f"the next run has {again.returned['outcome']} the month; expected it up to date")
        if [place.last_load() for place in scene.places] != stamps:
            self.problems.append("the next run has written the month again; expected it up to date")

    def _clean(self, when: str, wanted: Edition) -> None:
        ended = self.scene.run_cleanly()
        if ended.is_right:
            self._check_edition(when, wanted)
        else:
            last = ended.tries[-1]
            self.problems.append(f"a clean run {when} failed: {last.error}: {last.message}\n{last.trace}")

    def _check_edition(self, when: str, wanted: Edition) -> None:
        """Check the exact counts of an edition: in the target, in the lake and in what both say of themselves."""
        for place in self.scene.places:
            self.problems += [f"{when}, {problem}" for problem in place.problems(wanted)]

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Read the target and the lake over and over, and check that only whole editions are seen."""
        scene, stop = self.scene, Event()
        watched = [place for place in scene.places if place is not scene.lake_place or scene.is_lake_read]
        seen = {place: set[Held]() for place in watched}
        readers = [Thread(target=_read_on, args=(place, stop, found, self.problems)) for place, found in seen.items()]
        for reader in readers:
            reader.start()
        try:
            yield
        finally:
            stop.set()
            for reader in readers:
                reader.join()
        whole = {self.before, *(one.held for one in scene.offered.values())}
        for place, found in seen.items():
            whole |= scene.seen_in_lake_too if place is scene.lake_place else scene.seen_too
            if wrong := found - whole:
                self.problems.append(
                    f"a reader of {type(place).__name__} saw {sorted(wrong)}; expected {sorted(whole)}"
                )


def _read_on(place: Place, stop: Event, seen: set[Held], problems: list[str]) -> None:
    try:
        with place.reader() as read:
            while True:
                is_last = stop.is_set()
                if (held := read()) is not None:
                    seen.add(held)
                if is_last:
                    return
                stop.wait(_READ_EVERY_SECONDS)
    except Exception as error:  # noqa: BLE001 - what a reader gets is what the campaign is about
        problems.append(f"a reader of {type(place).__name__} failed: {type(error).__name__}: {error}")
