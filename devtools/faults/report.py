"""report: what a campaign prints, and docs/reliability.md."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from devtools.faults.campaign import AFTER_RETRY, AT_ONCE, NOT_SURVIVED, NOT_TRIED, STOPPED
from devtools.faults.fault import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devtools.faults.campaign import Outcome

_VERDICTS = (AT_ONCE, AFTER_RETRY, STOPPED, NOT_SURVIVED, NOT_TRIED)
_COLUMNS = ("tried", *_VERDICTS)
_SHOWN = 300
_INTRODUCTION = """# Reliability

Written by `make test-faults ARGS="--write docs/reliability.md"`, which tries faults on the flows, each by name.

A run replaces edition 1 of a generated month by edition 2, by the steps of the Dags. Each try of a task is a process
of its own and is retried as the Dag does: as its retry policy says after an error, and always if the process was
killed. The servers are real: an embedded Postgres, the [local cloud](local-cloud.md), and a publisher on loopback.
Some faults are tried once more with Airflow running every task.

Meanwhile a reader looks at the target and at `data/` over and over: it must see whole editions only. Afterwards every
row is counted in the target, in `data/`, in `rejects/` and in the ledger. If the run has stopped, nothing may have
changed in the target, and the error must be one line that begins with a word of the Triage of the [Dags](dags.md).
Then the fault is undone: a clean run must be right, and the next one must have nothing to do.
"""
_NOT_TRIED_ELSEWHERE = """
These were not tried: a pooler such as PgBouncer, Google's own BigQuery and Cloud Storage, a network that is silent for
longer than a few seconds, a machine that loses its power before its disk has written, Windows, and macOS. Damage to CSV
files of the other sources is what `tests/nyc_taxi/test_fuzz.py` tries.
"""


def line(outcome: Outcome) -> str:
    """Return the line of a fault that has been tried, and below it what was wrong."""
    text = f"{outcome.fault.name}: {outcome.verdict}, {outcome.seconds:.1f} s"
    text += f" ({outcome.said.splitlines()[0][:_SHOWN]})" if outcome.said else ""
    return "\n".join([text, *(f"    {problem}" for problem in outcome.problems)])


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the counts by kind, for a terminal."""
    rows = [("kind", *_COLUMNS), *((kind, *map(str, _counts(outcomes, kind))) for kind in _kinds(outcomes))]
    rows.append(("all", *map(str, _counts(outcomes))))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


def page(outcomes: Sequence[Outcome]) -> str:
    """Return docs/reliability.md."""
    parts = [_INTRODUCTION, _summary(outcomes), _not_survived(outcomes)]
    parts += [_of_kind(outcomes, kind) for kind in _kinds(outcomes)]
    return "\n".join(parts)


def _kinds(outcomes: Sequence[Outcome]) -> list[str]:
    there = {outcome.fault.kind for outcome in outcomes}
    return [kind for kind in KINDS if kind in there]


def _counts(outcomes: Sequence[Outcome], kind: str | None = None) -> list[int]:
    verdicts = Counter(outcome.verdict for outcome in outcomes if kind in (None, outcome.fault.kind))
    return [verdicts.total() - verdicts[NOT_TRIED], *(verdicts[verdict] for verdict in _VERDICTS)]


def _summary(outcomes: Sequence[Outcome]) -> str:
    head = f"| kind | {' | '.join(_COLUMNS)} |\n|---{'|---:' * len(_COLUMNS)}|"
    rows = [(f"[{KINDS[kind]}](#{_anchor(kind)})", *_counts(outcomes, kind)) for kind in _kinds(outcomes)]
    rows.append(("all", *_counts(outcomes)))
    return "\n".join([head, *(f"| {' | '.join(map(str, row))} |" for row in rows)]) + "\n"


def _anchor(kind: str) -> str:
    return KINDS[kind].lower().replace(" ", "-").replace(",", "").replace("'", "")


def _not_survived(outcomes: Sequence[Outcome]) -> str:
    lost = [outcome for outcome in outcomes if outcome.verdict == NOT_SURVIVED]
    reasons = [f"- **{one.fault.name}**: {one.fault.not_survived or _first(one.problems)}" for one in lost]
    missing = [f"- {one.fault.name}: not tried: {one.said}" for one in outcomes if one.verdict == NOT_TRIED]
    found = reasons + missing or ["Every fault that was tried is survived."]
    return "\n".join(["## What is not survived, and why\n", *found, _NOT_TRIED_ELSEWHERE])


def _first(problems: Sequence[str]) -> str:
    return problems[0].splitlines()[0] if problems else "unknown"


def _of_kind(outcomes: Sequence[Outcome], kind: str) -> str:
    head = f"## {KINDS[kind]}\n\n| fault | what is done | outcome |\n|---|---|---|"
    rows = [f"| {one.fault.name} | {one.fault.what} | {_outcome(one)} |" for one in outcomes if one.fault.kind == kind]
    return "\n".join([head, *rows]) + "\n"


def _outcome(outcome: Outcome) -> str:
    word = outcome.said.partition(":")[0]
    return f"{outcome.verdict}: `{word}`" if outcome.verdict == STOPPED else outcome.verdict
