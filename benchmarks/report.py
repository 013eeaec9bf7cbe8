"""The table and the JSON file of a run."""

import json
import os
import platform
from datetime import datetime, timezone
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from benchmarks.registry import BINNED, COMPETITORS, FLOOR, OP, OURS, REFERENCE
from benchmarks.run import Result
from fastmetrics.config import version
from fastmetrics.ops import backend

COLUMNS = (OURS, FLOOR, OP, REFERENCE, BINNED, *COMPETITORS)
DISTRIBUTIONS = ("torch-fastmetrics", "torch", "torchmetrics", "torcheval", "scikit-learn", "numpy")


def table(results: list[Result]) -> Table:
    """Return one row per workload: median times, and theirs divided by ours.

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
    if column not in result.seconds:
        return "-"
    text = time_text(median(result.seconds[column]))
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


def show(results: list[Result], file: Any = None) -> None:
    """Print the table, wide enough for all of its columns."""
    made = table(results)
    console = Console(file=file)
    unbounded = console.options.update(max_width=1000)
    console.width = max(console.width, Measurement.get(console, unbounded, made).maximum)
    console.print(made)
    entries = [pair for result in results for pair in result.targets().values()]
    missed = sum(ratio > limit for limit, ratio in entries)
    console.print(f"{len(entries) - missed} of {len(entries)} targets met")
    for result in results:
        for text in result.wrong.values():
            console.print(f"[red]wrong value[/red] in {result.workload.name}: {text}")


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
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in DISTRIBUTIONS},
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def write_json(results: list[Result], device: torch.device, path: Path) -> None:
    """Write machine, versions and, by workload, times, ratios and targets."""
    rows = [_row(result) for result in results]
    text = json.dumps({"machine": machine(device), "workloads": rows}, indent=1)
    path.write_text(text + "\n")


def _row(result: Result) -> dict[str, Any]:
    return {
        "name": result.workload.name,
        "seconds": {name: _spread(times) for name, times in result.seconds.items()},
        "ratio_to_ours": {name: 1 / result.ratio(name) for name in result.seconds if name != OURS},
        "targets": [
            {"library": name, "most": limit, "ratio": ratio, "met": ratio <= limit}
            for name, (limit, ratio) in result.targets().items()
        ],
        "wrong": result.wrong,
    }


def _spread(times: list[float]) -> dict[str, float]:
    fifths = quantiles(times, n=5, method="inclusive") if len(times) > 1 else times * 4
    return {"median": median(times), "q20": fifths[0], "q80": fifths[3]}
