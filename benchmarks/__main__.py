"""`python -m benchmarks`: time every workload, compare the values, and print the ratios."""

import argparse
import re
import sys
import warnings
from pathlib import Path

import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from benchmarks import against, cuda, memory
from benchmarks.registry import quick_part, workloads
from benchmarks.report import CONSOLE, Failure, save, show
from benchmarks.run import Result, measure
from benchmarks.workload import Workload

# Seconds for one workload. Values are checked on top of that, with one call of each library.
BUDGET, QUICK_BUDGET = 0.8, 0.15
QUICK_ROUNDS = 3


def main() -> int:
    """Run what was asked for; 1 if a value is wrong or a workload fails, whatever the times."""
    parser = _parser()
    options = parser.parse_args()
    if options.write_docs and not options.out:
        parser.error("--write-docs needs --out DIR, where the figures are.")
    if options.against:
        return against.main(options)
    if options.memory:
        return memory.main(options.out, options.write_docs)
    entries = workloads(options.device)
    if options.quick:
        entries = quick_part(entries)
    chosen = [entry for entry in entries if re.search(options.only, entry.name)]
    if not chosen:
        parser.error(f"no workload matches {options.only!r}; --list prints the names.")
    if options.list:
        print("\n".join(entry.name for entry in chosen))
        return 0
    torch.set_num_threads(options.threads)
    # Tiny inputs miss classes, which the libraries remark on at every call.
    warnings.simplefilter("ignore")
    results, failures = _measure_all(chosen, options)
    show(results, failures)
    if options.out:
        save(results, failures, options.device, options.out, options.write_docs)
    return int(bool(failures) or any(result.wrong for result in results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default="", metavar="REGEX", help="workloads to run")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--quick", action="store_true", help="fewer sizes, rounds and seconds")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15, help="samples per library at most")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--out", type=Path, metavar="DIR", help="write figures and plots there")
    parser.add_argument("--against", metavar="REV", help="compare with another commit of ours")
    parser.add_argument("--memory", action="store_true", help="measure peaks of memory instead")
    parser.add_argument(
        "--write-docs", action="store_true", help="make docs/performance.md of what is in DIR"
    )
    return parser


def _measure_all(
    chosen: list[Workload], options: argparse.Namespace
) -> tuple[list[Result], list[Failure]]:
    rounds, budget = options.rounds, BUDGET
    if options.quick:
        rounds, budget = min(rounds, QUICK_ROUNDS), QUICK_BUDGET
    on_gpu = options.device.type != "cpu"
    gpu = cuda.Gpu(options.device) if on_gpu else None
    CONSOLE.print(
        f"{len(chosen)} workloads of up to {budget} s each, and the time of a checked call: "
        f"about {len(chosen) * budget * 1.2 / 60:.0f} minutes at most"
    )
    results, failures = [], []
    with _progress() as progress:
        task = progress.add_task("measuring", total=len(chosen))
        for entry in chosen:
            progress.update(task, description=f"{entry.name:<55.55}")
            try:
                if gpu:
                    results.append(cuda.measure(entry, gpu, rounds, budget))
                else:
                    results.append(measure(entry, options.device, rounds, budget))
            except Exception as error:  # one broken workload must not hide the others
                failures.append(Failure(entry.name, f"{type(error).__name__}: {error}"))
            progress.advance(task)
    return results, failures


def _progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=CONSOLE)


if __name__ == "__main__":
    sys.exit(main())
