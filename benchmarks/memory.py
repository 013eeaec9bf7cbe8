"""Peaks of resident memory, each in a process of its own: `python -m benchmarks --memory`.

The parent starts ``python -m benchmarks.memory CASE LIBRARY`` for each of them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

BATCH = 65_536
PEAK_RESET = Path("/proc/self/clear_refs")
LIBRARIES = ("fastmetrics", "torchmetrics", "torcheval")
TIMEOUT = 120
# What is freed goes back at once, so that no call hides in what another one left.
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


@dataclass(frozen=True)
class Case:
    """Samples that go through one metric, and how each library names it."""

    samples: int
    batch: Callable[[int], tuple[Tensor, ...]]
    metric: str
    arguments: dict[str, Any]
    torcheval: tuple[str, dict[str, Any]] | None = None


def _binary(count: int) -> tuple[Tensor, ...]:
    return torch.rand(count), torch.randint(2, (count,))


def _logits(count: int) -> tuple[Tensor, ...]:
    return torch.randn(count, 100), torch.randint(100, (count,))


def _pairs(count: int) -> tuple[Tensor, ...]:
    return torch.randn(count), torch.randn(count)


CASES = {
    "exact AUROC of 1e6": Case(
        10**6, _binary, "classification.BinaryAUROC", {}, ("BinaryAUROC", {})
    ),
    "exact AUROC of 1e7": Case(
        10**7, _binary, "classification.BinaryAUROC", {}, ("BinaryAUROC", {})
    ),
    "ranked AUROC of 1e7": Case(
        10**7, _binary, "classification.BinaryAUROC", {"thresholds": "auto"}
    ),
    "AUROC of 1e6 at 200 thresholds": Case(
        10**6, _binary, "classification.BinaryAUROC", {"thresholds": 200}
    ),
    "accuracy of 1e6 x 100 logits": Case(
        10**6,
        _logits,
        "classification.MulticlassAccuracy",
        {"num_classes": 100},
        ("MulticlassAccuracy", {"num_classes": 100, "average": "macro"}),
    ),
    "calibration error of 1e7": Case(10**7, _binary, "classification.BinaryCalibrationError", {}),
    "mean squared error of 1e7": Case(
        10**7, _pairs, "regression.MeanSquaredError", {}, ("MeanSquaredError", {})
    ),
    "Spearman correlation of 1e6": Case(10**6, _pairs, "regression.SpearmanCorrCoef", {}),
}


def libraries_of(case: Case) -> list[str]:
    """Return the libraries that have the metric; ranked curves are ours alone."""
    found = list(LIBRARIES[:1] if case.arguments.get("thresholds") == "auto" else LIBRARIES[:2])
    return found + ["torcheval"] * (case.torcheval is not None)


def peak(case: Case, library: str) -> int:
    """Return how many bytes the peak of this process grows by from the first update to the value.

    A warm-up of two batches comes first, and its metric stays alive, so that threads and code
    loaded on the way are not counted.
    """
    torch.manual_seed(0)
    warm = _make(case, library)
    for _ in range(2):
        warm.update(*case.batch(BATCH))
    warm.compute()
    metric = _make(case, library)
    waiting = [case.batch(BATCH)]
    PEAK_RESET.write_text("5", encoding="ascii")
    before = _status("VmRSS:")
    for _ in range(-(-case.samples // BATCH)):
        metric.update(*waiting.pop())  # gone before the next one is made
        waiting.append(case.batch(BATCH))
    metric.compute()
    return _status("VmHWM:") - before


def _make(case: Case, library: str) -> Any:
    import importlib

    if library == "torcheval":
        assert case.torcheval
        name, arguments = case.torcheval
        return getattr(importlib.import_module("torcheval.metrics"), name)(**arguments)
    module, _, name = case.metric.rpartition(".")
    return getattr(importlib.import_module(f"{library}.{module}"), name)(**case.arguments)


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024


def in_fresh_process(case: str, library: str) -> dict[str, Any]:
    """Return the row of one case: its bytes, or what went wrong."""
    row: dict[str, Any] = {"case": case, "library": library}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.memory", case, library],
            cwd=Path(__file__).parents[1],
            env=os.environ | ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return row | {"error": f"more than {TIMEOUT} s"}
    if done.returncode:
        return row | {"error": done.stderr.strip().splitlines()[-1]}
    return row | {"bytes": int(done.stdout)}


def main(out: Path | None, with_page: bool) -> int:
    """Measure all cases, print them, and write ``memory.json``; 1 if any failed."""
    from rich.progress import track
    from rich.table import Table

    from benchmarks.page import write_page
    from benchmarks.report import CONSOLE, machine

    if not os.access(PEAK_RESET, os.W_OK):
        CONSOLE.print("[red]--memory needs Linux, where the peak can be reset.[/red]")
        return 1
    pairs = [(name, library) for name, case in CASES.items() for library in libraries_of(case)]
    rows = [in_fresh_process(*pair) for pair in track(pairs, "measuring", console=CONSOLE)]
    made = Table("case", "library", "growth of the peak")
    for row in rows:
        text = f"{row['bytes'] / 2**20:.1f} MiB" if "bytes" in row else f"[red]{row['error']}[/red]"
        made.add_row(row["case"], row["library"], text)
    CONSOLE.print(made)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        figures = {"machine": machine(torch.device("cpu")), "rows": rows}
        (out / "memory.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        if with_page:
            write_page(out)
    return int(any("error" in row for row in rows))


if __name__ == "__main__":
    print(peak(CASES[sys.argv[1]], sys.argv[2]))
