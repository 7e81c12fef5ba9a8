"""Try faults on the flows, and say what came of each.

    python -m devtools.faults --only publisher lake
    python -m devtools.faults --short

The exit code is 1 if anything is not as expected.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from devtools.faults.airflow_runs import airflow_environment
from devtools.faults.fault import KINDS, Fault, chosen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devtools.faults.campaign import Outcome

_MINUTE = 60


def main() -> None:
    """Try the faults that the command line names."""
    arguments = _arguments()
    try:
        faults = chosen(arguments.only, short=arguments.short)
    except ValueError as error:
        sys.exit(str(error))
    if arguments.list:
        print("\n".join(f"{fault.kind:<12} {fault.name}: {fault.what}" for fault in faults))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that servers are stopped
    with tempfile.TemporaryDirectory(prefix="nyc-taxi-faults-airflow-") as home:
        os.environ.update(environment(Path(home)))
        outcomes = _tried(faults, arguments)
    if arguments.write:
        from devtools.faults import report

        arguments.write.write_text(report.page(outcomes), encoding="utf-8")
    sys.exit(not all(outcome.is_expected for outcome in outcomes))


def environment(home: Path) -> dict[str, str]:
    """Return what the libraries of the tasks read when they are imported."""
    return airflow_environment(home) | {
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # the local cloud speaks no gRPC
        "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others keep what a limit on memory should refuse
    }


def _tried(faults: Sequence[Fault], arguments: argparse.Namespace) -> list[Outcome]:
    from devtools.faults import report
    from devtools.faults.campaign import campaign
    from devtools.faults.ground import Ground

    started = monotonic()
    with Ground() as ground:
        outcomes = campaign(
            ground, faults, arguments.seed, arguments.jobs, lambda outcome: print(report.line(outcome), flush=True)
        )
    print(f"\n{report.table(outcomes)}\n")
    if unexpected := [outcome.fault.name for outcome in outcomes if not outcome.is_expected]:
        print(f"not as expected: {'; '.join(unexpected)}")
    minutes, seconds = divmod(round(monotonic() - started), _MINUTE)
    print(f"tried {len(faults)} faults in {minutes} min {seconds} s")
    return outcomes


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devtools.faults", description="Try faults on the flows.")
    parser.add_argument("--list", action="store_true", help="name the faults, and try none")
    parser.add_argument("--short", action="store_true", help="try a few of each kind")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="WORD", help=f"kinds ({', '.join(KINDS)}), or parts of names"
    )
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write the outcomes as a page of the documentation")
    parser.add_argument("--seed", default="0", help="of the random moments")
    parser.add_argument("--jobs", type=int, default=2, help="faults at the same time")
    return parser.parse_args()


if __name__ == "__main__":
    main()
