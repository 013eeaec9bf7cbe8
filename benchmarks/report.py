"""What a run leaves: the tables on the screen, the figures as JSON, the plots and the page."""

import json
import os
import platform
from datetime import datetime, timezone
from math import exp, log
from pathlib import Path
from statistics import fmean, median, quantiles
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from benchmarks import plots
from benchmarks.calls import find
from benchmarks.page import write_page
from benchmarks.run import Result
from benchmarks.workload import AREA_OF_KIND, AREAS, BINNED, FLOOR, OP, OURS, PEERS, REFERENCE
from fastmetrics.config import version
from fastmetrics.ops import backend

CONSOLE = Console()
COLUMNS = (OURS, FLOOR, OP, REFERENCE, BINNED, *PEERS)
DISTRIBUTIONS = (
    "torch-fastmetrics",
    "torch",
    "torchmetrics",
    "torcheval",
    "scikit-learn",
    "scipy",
    "torchrec",
    "numpy",
)


class Failure(NamedTuple):
    """A workload that raised."""

    name: str
    error: str


def show(results: list[Result], failures: list[Failure], console: Console = CONSOLE) -> None:
    """Print the tables, wide enough for all of their columns, and what is wrong."""
    print_wide(table(results), console)
    console.print(_area_table(results))
    entries = [pair for result in results for pair in result.targets().values()]
    missed = sum(ratio > limit for limit, ratio in entries)
    console.print(f"{len(entries) - missed} of {len(entries)} targets met")
    for result in results:
        for text in result.wrong.values():
            console.print(f"[red]wrong value[/red] in {result.workload.name}: {text}")
        for text in result.failed.values():
            console.print(f"{result.workload.name}: {text}", markup=False)
    for failure in failures:
        console.print(f"[red]failed[/red] {failure.name}: {failure.error}", highlight=False)


def print_wide(made: Table, console: Console) -> None:
    """Print a table without leaving anything out, however narrow the screen is."""
    unbounded = console.options.update(max_width=1000)
    console.width = max(console.width, Measurement.get(console, unbounded, made).maximum)
    console.print(made)


def table(results: list[Result]) -> Table:
    """Return one row per workload: the times of the fastest rounds, and theirs divided by ours.

    A column in which nothing was measured is left out.
    """
    made = Table(title="time of one call, and how many times ours it takes", show_lines=False)
    made.add_column("workload", no_wrap=True)
    columns = [
        column for column in COLUMNS if any(column in (*r.seconds, *r.wrong) for r in results)
    ]
    for column in columns:
        made.add_column(column, justify="right", no_wrap=True)
    made.add_column("targets", no_wrap=True)
    for result in results:
        cells = [_cell(result, column) for column in columns]
        made.add_row(result.workload.name, *cells, _targets(result))
    return made


def _cell(result: Result, column: str) -> str:
    if column in result.wrong:
        return "[red]wrong value[/red]"
    if column in result.failed:
        return "[red]raises[/red]"
    if column not in result.seconds:
        return "-"
    text = time_text(result.best(column))
    return text if column == OURS else f"{text} {1 / result.ratio(column):6.2f}x"


def time_text(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} µs"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _targets(result: Result) -> str:
    """Name each target with the ratio reached; "never slower" only where it is missed."""
    texts = []
    for library, (limit, ratio) in result.targets().items():
        met = ratio <= limit
        if limit < 1:
            text = f"{1 / ratio:.1f}x faster than {library} (at least {1 / limit:.0f}x)"
        else:
            text = f"{ratio:.2f}x {library} (at most {limit:g}x)"
        if not met:
            texts.append(f"[red]missed[/red] {text}")
        elif limit != 1:
            texts.append(f"[green]met[/green] {text}")
    return "\n".join(texts)


def geometric_means(results: list[Result]) -> dict[str, dict[str, float]]:
    """Return, by area and peer, the mean of their time divided by ours."""
    found = {}
    for area in (*AREA_OF_KIND.values(), *AREAS):
        inside = [result for result in results if result.workload.area == area]
        means = {
            peer: exp(fmean(-log(r.ratio(peer)) for r in inside if peer in r.seconds))
            for peer in (*PEERS, FLOOR)
            if any(peer in r.seconds for r in inside)
        }
        if means:
            found[area] = means
    return found


def _area_table(results: list[Result]) -> Table:
    made = Table(title="geometric mean of their time divided by ours")
    made.add_column("area")
    for peer in (*PEERS, FLOOR):
        made.add_column(peer, justify="right")
    for area, means in geometric_means(results).items():
        made.add_row(area, *(f"{means[p]:.1f}x" if p in means else "-" for p in (*PEERS, FLOOR)))
    return made


def machine(device: torch.device) -> dict[str, Any]:
    """Say where the figures come from."""
    native = backend.native
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "simd": native.simd_level() if native else None,
        "compiler": native.compiler() if native else None,
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in DISTRIBUTIONS},
        "date": datetime.now(timezone.utc).date().isoformat(),
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def save(
    results: list[Result],
    failures: list[Failure],
    device: torch.device,
    folder: Path,
    with_page: bool,
) -> None:
    """Write ``cpu.json`` or ``cuda.json``, and the plots, and the page if asked to."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "machine": machine(device),
        "areas": geometric_means(results),
        "workloads": [_row(result) for result in results],
        "failures": [failure._asdict() for failure in failures],
    }
    path = folder / f"{device.type}.json"
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if find("matplotlib"):
        plots.draw(figures, folder, device.type)
    else:
        CONSOLE.print("no plots: matplotlib is missing")
    if with_page:
        write_page(folder)


def _row(result: Result) -> dict[str, Any]:
    workload = result.workload
    return {
        "name": workload.name,
        "area": workload.area,
        "series": workload.series,
        "seconds": {name: _spread(times) for name, times in result.seconds.items()},
        "ratio_to_ours": {name: 1 / result.ratio(name) for name in result.seconds if name != OURS},
        "targets": [
            {"library": name, "most": limit, "ratio": ratio, "met": ratio <= limit}
            for name, (limit, ratio) in result.targets().items()
        ],
        "note": workload.note,
        "wrong": result.wrong,
        "failed": result.failed,
        "device": result.device,
    }


def _spread(times: list[float]) -> dict[str, float]:
    fifths = quantiles(times, n=5, method="inclusive") if len(times) > 1 else times * 4
    return {
        "best": min(times),
        "median": median(times),
        "q20": fifths[0],
        "q80": fifths[3],
        "rounds": len(times),
    }
