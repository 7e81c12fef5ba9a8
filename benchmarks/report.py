"""report: the measurements as a table for people, and as JSON for comparison."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.measuring import Measured

_PACKAGES = ("isal", "numpy", "pandas", "psycopg", "psycopg2-binary", "pyarrow", "sqlalchemy")
_PANDAS = ("pandas", "pandas, psycopg 3")
_FEWEST_ROWS = 1_000_000
_MOST_CPU = {"csv": 1.1, "parquet": 1.2}
_STEPS = ("load", "transform csv", "transform parquet")
_ROW = "{:<18} {:>7}  {:<15} {:>10} {:>11} {:>8}  {}"


@dataclass(frozen=True)
class Result:
    """All runs of a benchmark: by contestant and round, and one of each step with more rows."""

    inputs: dict[str, Any]
    descriptions: dict[str, str]
    runs: dict[str, list[Measured]]
    runs_4x: dict[str, Measured]
    runs_large: dict[str, Measured]
    large: str
    server_version: str
    least_peak_mb: float
    load_average: tuple[float, float]


@dataclass(frozen=True)
class Reach:
    """A figure, and the bound that it should reach."""

    name: str
    figure: float
    bound: float
    at_most: bool = True
    unit: str = "x"

    @property
    def reached(self) -> bool:
        """Whether the figure meets the bound."""
        return self.figure <= self.bound if self.at_most else self.figure >= self.bound

    def __str__(self) -> str:
        bound = f"at {'most' if self.at_most else 'least'} {self.bound:g}{self.unit}"
        return f"{'reached' if self.reached else 'MISSED':<8} {self.name:<60} {self.figure:8.2f}{self.unit:<3}  {bound}"


def reaches(result: Result) -> list[Reach]:
    """Return the figures that the README claims, from this benchmark."""
    runs = result.runs
    peaks = {step: max(run.peak_mb for run in runs[step]) for step in _STEPS}
    growth = {step: 100 * (result.runs_4x[step].peak_mb / peak - 1) for step, peak in peaks.items()}
    load = [run.wall / limit.wall for run, limit in zip(runs["load"], runs["limit"], strict=True)]
    started = [
        (run.wall - start.wall) / limit.wall
        for run, start, limit in zip(runs["load"], runs["start-up"], runs["limit"], strict=True)
    ]
    transform = {
        kind: median(
            run.client_cpu / stream.client_cpu
            for run, stream in zip(runs[f"transform {kind}"], runs[f"stream {kind}"], strict=True)
        )
        for kind in ("csv", "parquet")
    }
    return [
        Reach("load: time, as a multiple of the limit", median(load), 1.5),
        Reach("load without its start-up: time, as a multiple of the limit", median(started), 1.25),
        *(
            Reach(f"transform {kind}: CPU, as a multiple of the bare stream", cpu, _MOST_CPU[kind])
            for kind, cpu in transform.items()
        ),
        Reach("end to end csv: speed, as a multiple of pandas", _speed(result, "pandas"), 30, at_most=False),
        Reach("transform csv: speed, as a multiple of pandas", _speed_into_the_lake(result), 8, at_most=False),
        *(Reach(f"{step}: peak memory", peak, 250, unit=" MB") for step, peak in peaks.items()),
        *(
            Reach(f"{step}: growth of peak memory with 4x the rows", more, 15, unit=" %")
            for step, more in growth.items()
        ),
    ]


def text(result: Result) -> str:
    """Return the figures as a page of text."""
    csv, rounds = result.inputs["csv_mirror"], len(result.runs["limit"])
    columns = ("", "wall", "min - max", "client CPU", "server CPU", "peak MB", "")
    into_bigquery = result.runs["load bigquery"][-1], result.runs_4x["load bigquery"]
    emulator = [json.loads(run.output)["server_peak_mb"] for run in into_bigquery]
    return "\n".join(
        [
            "",
            f"{csv['rows']:,} rows in {csv['bytes'] / 1e6:.1f} MB of csv.gz.",
            f"{csv['null_block']:,} are in the block of nulls, {csv['without_passengers']:,} have no passengers.",
            f"Seconds of whole processes, with imports; medians of {rounds} interleaved round{'s' * (rounds > 1)}.",
            f"Peaks below {result.least_peak_mb:.0f} MB, the peak of the measuring process, cannot be measured.",
            "",
            _ROW.format(*columns),
            *(_row(name, runs, result.descriptions[name]) for name, runs in result.runs.items()),
            "",
            *(_row(name, [run], "with 4x the rows") for name, run in result.runs_4x.items()),
            *(_row(name, [run], result.large) for name, run in result.runs_large.items()),
            "",
            f"The emulated BigQuery peaks at {emulator[0]:.0f} MB, with 4x the rows at {emulator[1]:.0f} MB.",
            "",
            "pandas to_sql for all rows, EXTRAPOLATED and not run: its start-up once, plus the time per chunk.",
            *(_scaled(result, name) for name in _PANDAS),
            "",
            *(
                map(str, reaches(result))
                if csv["rows"] >= _FEWEST_ROWS
                else ["Too few rows to compare with the bounds."]
            ),
        ]
    )


def _row(name: str, runs: list[Measured], description: str) -> str:
    wall, client, server = (
        f"{median(getattr(run, figure) for run in runs):.2f}" for figure in ("wall", "client_cpu", "server_cpu")
    )
    walls = [run.wall for run in runs]
    span = f"{min(walls):.2f} - {max(walls):.2f}"
    return _ROW.format(name, wall, span, client, server, f"{max(run.peak_mb for run in runs):.0f}", description)


def _scaled(result: Result, name: str) -> str:
    wall = median(_pandas_wall(result, name))
    return f"{name:<18} {wall:7.1f}  end to end csv is {_speed(result, name):.1f} times as fast"


def write(result: Result, folder: Path) -> Path:
    """Write the figures of every run to a file named by today's date, and return its path."""
    now = datetime.now(UTC)
    content = {
        "measured_at": now.isoformat(timespec="seconds"),
        "machine": {
            "cores": os.cpu_count(),
            "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9),
            "system": platform.system(),
            "architecture": platform.machine(),
            "load_average": result.load_average,
        },
        "versions": {
            "python": platform.python_version(),
            "postgresql": result.server_version,
            **{package: version(package) for package in _PACKAGES},
        },
        "inputs": {
            edition: {name: value for name, value in facts.items() if name != "raw"}
            for edition, facts in result.inputs.items()
        },
        "runs": {name: [_figures(run) for run in runs] for name, runs in result.runs.items()},
        "runs_4x": {name: _figures(run) for name, run in result.runs_4x.items()},
        "large": result.large,
        "runs_large": {name: _figures(run) for name, run in result.runs_large.items()},
        "pandas_wall_extrapolated": {name: _pandas_wall(result, name) for name in _PANDAS},
        "reaches": [asdict(reach) | {"reached": reach.reached} for reach in reaches(result)],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now:%Y-%m-%d}.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def _speed(result: Result, name: str) -> float:
    pairs = zip(_pandas_wall(result, name), result.runs["end to end csv"], strict=True)
    return median(wall / run.wall for wall, run in pairs)


def _speed_into_the_lake(result: Result) -> float:
    pairs = zip(result.runs["pandas to lake"], result.runs["transform csv"], strict=True)
    return median(pandas.wall / ours.wall for pandas, ours in pairs)


def _pandas_wall(result: Result, name: str) -> list[float]:
    """Extrapolate the seconds that pandas needs for all rows: its start-up once, plus the time per chunk."""
    rows = result.inputs["csv_mirror"]["rows"]
    walls: list[float] = []
    for run in result.runs[name]:
        chunk: dict[str, float] = json.loads(run.output)
        walls.append(run.wall + chunk["wall"] * (rows / chunk["rows"] - 1))
    return walls


def _figures(run: Measured) -> dict[str, float]:
    figures = asdict(run)
    del figures["output"]
    return {name: round(value, 3) for name, value in figures.items()}
