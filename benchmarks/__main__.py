"""`python -m benchmarks`: time every workload and print the ratios."""

import argparse
import re
import sys
import warnings
from pathlib import Path

import torch
from rich.progress import track

from benchmarks.registry import workloads
from benchmarks.report import show, write_json
from benchmarks.run import measure


def main() -> int:
    """Run the chosen workloads; 1 if a value is wrong, whatever the times."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default="", metavar="REGEX", help="workloads to run")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15, help="samples per library")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    entries = workloads(options.device)
    chosen = [entry for entry in entries if re.search(options.only, entry.name)]
    if not chosen:
        parser.error(f"no workload matches {options.only!r}; --list prints the names.")
    if options.list:
        print("\n".join(entry.name for entry in chosen))
        return 0
    torch.set_num_threads(options.threads)
    # Tiny inputs miss classes, which the libraries remark on at every call.
    warnings.simplefilter("ignore")
    results = [
        measure(entry, options.device, options.rounds)
        for entry in track(chosen, description="measuring")
    ]
    show(results)
    if options.json:
        write_json(results, options.device, options.json)
    return int(any(result.wrong for result in results))


if __name__ == "__main__":
    sys.exit(main())
