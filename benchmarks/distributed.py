"""`python -m benchmarks.distributed`: synchronise a collection between several processes.

Counts the collectives and times the slowest process, in turn with torchmetrics. The processes talk
over loopback; with more of them than cores the times say little more than how often they wait.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torchmetrics
from rich.console import Console
from rich.table import Table

import fastmetrics

CLASSES = 10
ROWS = 1000
WARM_UPS = 5
TARGET = 5.0
NAMES = (
    "Accuracy",
    "Precision",
    "Recall",
    "F1Score",
    "ConfusionMatrix",
    "AUROC",
    "CalibrationError",
)
COUNTED = (
    "all_gather",
    "all_gather_into_tensor",
    "all_gather_object",
    "all_reduce",
    "barrier",
    "broadcast",
)


def collection(library: Any, copies: int) -> Any:
    """Return ``copies`` of each metric."""
    arguments = {"AUROC": {"thresholds": 200}}
    return library.MetricCollection(
        {
            f"{name}{i}": getattr(library, name)(
                task="multiclass", num_classes=CLASSES, **arguments.get(name, {})
            )
            for name in NAMES
            for i in range(copies)
        }
    )


def count(call: Callable[[], Any]) -> int:
    """Return how many collectives ``call`` asks for."""
    calls = 0
    originals = {name: getattr(dist, name) for name in COUNTED}

    def counting(function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            return function(*args, **kwargs)

        return counted

    try:
        for name, function in originals.items():
            setattr(dist, name, counting(function))
        call()
    finally:
        for name, function in originals.items():
            setattr(dist, name, function)
    return calls


def synchronise(metrics: Any) -> None:
    """Hold the states of all processes once, as `compute` does."""
    if isinstance(metrics, fastmetrics.MetricCollection):
        with metrics.sync_context():
            return
    # torchmetrics synchronises every metric in its `compute`, also those that share states.
    for metric in metrics.values(copy_state=False):
        with metric.sync_context():
            pass


def slowest(call: Callable[[], Any]) -> float:
    """Return the seconds of the process that takes longest, after a common start."""
    dist.barrier()
    start = time.perf_counter()
    call()
    seconds = torch.tensor(time.perf_counter() - start, dtype=torch.float64)
    dist.all_reduce(seconds, dist.ReduceOp.MAX)
    return seconds.item()


def run(rank: int, world: int, folder: str, rounds: int, copies: int) -> None:
    """Measure in one process; the first writes the figures."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store-{world}-{copies}",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=300),
    )
    generator = torch.Generator().manual_seed(rank)
    batch = (
        torch.randn(ROWS, CLASSES, generator=generator).softmax(1),
        torch.randint(CLASSES, (ROWS,), generator=generator),
    )
    found: dict[str, Any] = {"world": world, "metrics": copies * len(NAMES)}
    libraries = {"fastmetrics": fastmetrics, "torchmetrics": torchmetrics}
    metrics = {name: collection(library, copies) for name, library in libraries.items()}
    values = {}
    for name, each in metrics.items():
        each.update(*batch)
        values[name] = each.compute()
        found[f"{name} collectives"] = count(lambda each=each: synchronise(each))
    for key, value in values["torchmetrics"].items():
        torch.testing.assert_close(values["fastmetrics"][key], value, rtol=1e-5, atol=1e-6)
    seconds: dict[str, list[float]] = {name: [] for name in metrics}
    for turn in range(WARM_UPS + rounds):
        for name, each in metrics.items():
            elapsed = slowest(lambda each=each: synchronise(each))
            if turn >= WARM_UPS:
                seconds[name].append(elapsed)
    for name, each in seconds.items():
        found[f"{name} least ms"] = 1e3 * min(each)
        found[f"{name} median ms"] = 1e3 * median(each)
    pairs = zip(seconds["torchmetrics"], seconds["fastmetrics"], strict=True)
    found["ratio"] = median(theirs / ours for theirs, ours in pairs)
    if rank == 0:
        Path(folder, f"{world}-{copies}.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


def show(results: list[dict[str, Any]]) -> None:
    """Print a table of the figures."""
    table = Table(title=f"synchronising {', '.join(NAMES)}: gloo, loopback")
    for heading in ("processes", "metrics", "collectives", "least ms", "median ms", "times faster"):
        table.add_column(heading, justify="right")
    for found in results:
        pairs = [
            (found[f"fastmetrics {key}"], found[f"torchmetrics {key}"])
            for key in ("collectives", "least ms", "median ms")
        ]
        cells = [
            " / ".join(f"{x:.2f}" if isinstance(x, float) else str(x) for x in p) for p in pairs
        ]
        ratio = f"{found['ratio']:.1f}"
        table.add_row(str(found["world"]), str(found["metrics"]), *cells, ratio)
    Console(width=110).print(table)
    print(f"fastmetrics / torchmetrics; target: {TARGET:.0f} times faster, collectives constant")


def main() -> int:
    """Run for each number of processes; 1 if a target is missed."""
    parser = argparse.ArgumentParser("python -m benchmarks.distributed", description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 4], help="of each metric")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    results = []
    with TemporaryDirectory() as folder:
        for world in options.processes:
            for copies in options.copies:
                mp.spawn(run, args=(world, folder, options.rounds, copies), nprocs=world)
                results.append(json.loads(Path(folder, f"{world}-{copies}.json").read_text()))
    show(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))
    constant = len({found["fastmetrics collectives"] for found in results}) == 1
    return int(not constant or any(found["ratio"] < TARGET for found in results))


if __name__ == "__main__":
    sys.exit(main())
