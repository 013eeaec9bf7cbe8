"""`python -m benchmarks --against REV`: is what is here slower than another commit?

Both commits run the workloads of this folder, in processes of their own that take turns: one waits
while another works. Each commit has two of them, and what these differ by is the noise: the same
code, at other addresses.
"""

import argparse
import importlib
import itertools
import json
import re
import subprocess
import sys
import time
import venv
import warnings
from dataclasses import dataclass, field
from math import exp, inf, log
from pathlib import Path
from statistics import fmean, quantiles
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.absent import Absent
from benchmarks.life import life
from benchmarks.registry import quick_part, workloads
from benchmarks.report import CONSOLE, Failure, print_wide, time_text
from benchmarks.run import LEAST_ROUNDS, calls_per_sample, first_value, sample
from benchmarks.workload import OURS, Workload

ROOT = Path(__file__).resolve().parents[1]
HOMES = ROOT / "build" / "against"
PROCESSES = 2
# Seconds for one workload in all processes, on top of the first calls.
BUDGET = 2.0
ALL_WORKLOADS = "benchmarks.against:every_workload"
# The package comes from one folder, and the workloads from this one, whatever the package is.
START = """
import os, sys
package, root, *arguments = sys.argv[1:]
sys.path.insert(0, package)
import fastmetrics
assert os.path.realpath(fastmetrics.__file__).startswith(package), fastmetrics.__file__
sys.path[0] = root
from benchmarks import absent
absent.allow()
from benchmarks.against import serve
serve(*arguments)
"""


class Side(NamedTuple):
    """One commit: the interpreter that runs it, and the folder that holds its package."""

    python: str
    folder: Path


@dataclass
class Compared:
    """Seconds of the fastest round of each process of the two commits."""

    name: str
    old: list[float]
    new: list[float]

    @property
    def ratio(self) -> float:
        """Return the new time divided by the old one."""
        return min(self.new) / min(self.old)

    @property
    def noise(self) -> float:
        """Return how many times the fastest process the slowest one of the same commit takes."""
        return max(max(times) / min(times) for times in (self.old, self.new))


@dataclass
class Comparison:
    """All workloads: those that were timed, those that raise here, those that the other lacks."""

    results: list[Compared] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def usual_noise(self) -> float:
        """Return the noise that nine of ten workloads stay below."""
        noises = [one.noise for one in self.results]
        return quantiles(noises, n=10, method="inclusive")[-1] if len(noises) > 1 else noises[0]

    def slower(self) -> list[Compared]:
        """Return what is slower than noise explains, the slowest first."""
        usual = self.usual_noise()
        found = [one for one in self.results if one.ratio > max(usual, one.noise)]
        return sorted(found, key=lambda one: -one.ratio)

    def faster(self) -> list[Compared]:
        """Return what is faster than noise explains."""
        usual = self.usual_noise()
        return [one for one in self.results if one.ratio < 1 / max(usual, one.noise)]

    def add(self, again: "Comparison") -> None:
        """Take the processes of another run of some of the workloads in."""
        of = {one.name: one for one in self.results}
        for one in again.results:
            of[one.name].old += one.old
            of[one.name].new += one.new


def every_workload(quick: bool = False) -> list[Workload]:
    """Return what is timed for the report, and the other steps in the life of every metric."""
    cpu = torch.device("cpu")
    rows = workloads(cpu)
    rows = quick_part(rows) if quick else rows
    known = {row.name for row in rows}
    return rows + [row for row in life(rows) if row.name not in known]


def main(options: argparse.Namespace) -> int:
    """Compare with a commit; 1 if a workload raises here."""
    names = [row.name for row in every_workload(options.quick)]
    names = [name for name in names if re.search(options.only, name)]
    if not names:
        raise SystemExit(f"no workload matches {options.only!r}; --list prints the names.")
    if options.list:
        print("\n".join(names))
        return 0
    sides = built(options.against), Side(sys.executable, ROOT)
    found = compare(sides, names, options.rounds, options.threads)
    slower = [one.name for one in found.slower()]
    if slower:
        CONSOLE.print(f"{len(slower)} look slower; again, in new processes")
        found.add(compare(sides, slower, options.rounds, options.threads))
    show(found)
    return int(bool(found.failures))


# One commit


def built(revision: str, homes: Path = HOMES) -> Side:
    """Build a commit, unless it was built before, in an environment with the packages of ours."""
    try:
        commit = _git("rev-parse", "--verify", f"{revision}^{{commit}}")
    except subprocess.CalledProcessError:
        raise SystemExit(f"no commit {revision!r}") from None
    home = homes / commit[:12]
    python = home / "env" / "bin" / "python"
    done = home / "built"
    if not done.exists():
        CONSOLE.print(f"building {_git('log', '-1', '--format=%h %s', commit)}", markup=False)
        venv.create(home / "env", clear=True, symlinks=True)
        packages = [path for path in sys.path if Path(path).name in PACKAGE_FOLDERS]
        (_packages_of(python) / "outer.pth").write_text("\n".join(packages) + "\n")
        source = home / "source"
        _git("worktree", "add", "--force", "--detach", str(source), commit)
        try:
            pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
            subprocess.run(
                [*pip, "--no-build-isolation", "--no-deps", "--force-reinstall", str(source)],
                check=True,
            )
        finally:
            _git("worktree", "remove", "--force", str(source))
        done.touch()
    return Side(str(python), _packages_of(python))


PACKAGE_FOLDERS = ("site-packages", "dist-packages")


def _packages_of(python: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.check_output([python, "-c", code], text=True).strip())


def _git(*arguments: str) -> str:
    return subprocess.check_output(["git", "-C", str(ROOT), *arguments], text=True).strip()


# One process


class Worker:
    """A process that runs workloads of one commit when it is told to."""

    def __init__(self, side: Side, source: str, threads: int) -> None:
        command = [side.python, "-c", START, str(side.folder), str(ROOT), source, str(threads)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=side.folder
        )

    def ask(self, *question: Any) -> Any:
        """Send a question, wait for the answer."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{question}: the process ended with {self.process.wait()}")
        answer, error = json.loads(line)
        if error:
            raise RuntimeError(error)
        return answer

    def close(self) -> None:
        """Let the process end."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def serve(source: str, threads: str) -> None:
    """Answer questions on standard input until it ends."""
    torch.set_num_threads(int(threads))
    warnings.simplefilter("ignore")
    answers, sys.stdout = sys.stdout, sys.stderr
    module, _, name = source.partition(":")
    rows = {row.name: row for row in getattr(importlib.import_module(module), name)()}
    Absent.running = True
    prepared: dict[str, Any] = {}

    def prepare(name: str) -> int:
        row = rows[name]
        call, inputs = row.calls[OURS], row.inputs(torch.device("cpu"))
        prepared.clear()
        prepared[name] = call, inputs
        return calls_per_sample(call, inputs, first_value(call, inputs)[1])

    def measure(name: str, count: int) -> float:
        return sample(*prepared[name], count)

    for line in sys.stdin:
        question, *arguments = json.loads(line)
        try:
            answer = {"prepare": prepare, "measure": measure}[question](*arguments), None
        except Exception as error:
            answer = None, f"{type(error).__name__}: {error}"
        print(json.dumps(answer), file=answers, flush=True)


# Both commits


def compare(
    sides: tuple[Side, Side],
    names: list[str],
    rounds: int,
    threads: int,
    source: str = ALL_WORKLOADS,
) -> Comparison:
    """Time the workloads of the old and the new side in processes that take turns."""
    workers = [[Worker(side, source, threads) for _ in range(PROCESSES)] for side in sides]
    found = Comparison()
    try:
        for number, name in enumerate(names, 1):
            if sys.stderr.isatty():
                print(f"\r{number}/{len(names)} {name:<60.60}", end="", file=sys.stderr)
            _compare_one(found, name, *workers, rounds=rounds)
    finally:
        for worker in itertools.chain(*workers):
            worker.close()
    return found


def _compare_one(
    found: Comparison, name: str, old: list[Worker], new: list[Worker], rounds: int
) -> None:
    try:
        counts = [worker.ask("prepare", name) for worker in new]
    except RuntimeError as error:
        found.failures.append(Failure(name, str(error)))
        return
    try:
        counts += [worker.ask("prepare", name) for worker in old]
    except RuntimeError:
        found.missing.append(name)
        return
    best = _best_rounds([*old, *new], name, min(counts), rounds)
    found.results.append(Compared(name, old=best[:PROCESSES], new=best[PROCESSES:]))


def _best_rounds(workers: list[Worker], name: str, count: int, rounds: int) -> list[float]:
    """Return the seconds of the fastest round of each process."""
    best, order = [inf] * len(workers), list(range(len(workers)))
    # Neighbours are of different commits.
    order = order[::PROCESSES] + order[1::PROCESSES]
    end = time.perf_counter() + BUDGET
    for done in range(rounds):
        if done >= LEAST_ROUNDS and time.perf_counter() > end:
            break
        for number in order:
            best[number] = min(best[number], workers[number].ask("measure", name, count))
        order.append(order.pop(0))
    return best


# What came out


def show(found: Comparison, console: Console = CONSOLE) -> None:
    """Print the ratios, then what is beyond the noise, then the sum of it."""
    if found.results:
        _show_ratios(found, console)
    if found.missing:
        console.print(f"not in the other commit: {', '.join(found.missing)}", highlight=False)
    for failure in found.failures:
        console.print(f"[red]failed[/red] {failure.name}: {failure.error}", highlight=False)


def _show_ratios(found: Comparison, console: Console) -> None:
    results, slower, faster = found.results, found.slower(), found.faster()
    print_wide(_table("time of one call", results), console)
    if slower:
        print_wide(_table("slower than noise explains", slower), console)
    mean = exp(fmean(log(one.ratio) for one in results))
    console.print(
        f"{len(results)} workloads: {len(slower)} slower, {len(faster)} faster; new/old"
        f" {mean:.3f} in the geometric mean; the noise of nine of ten is below"
        f" {found.usual_noise() - 1:.1%}",
        highlight=False,
    )


def _table(title: str, results: list[Compared]) -> Table:
    made = Table(title=title)
    made.add_column("workload", no_wrap=True)
    for column in ("old", "new", "new/old", "noise"):
        made.add_column(column, justify="right", no_wrap=True)
    for one in results:
        old, new = time_text(min(one.old)), time_text(min(one.new))
        made.add_row(one.name, old, new, f"{one.ratio:.3f}", f"{one.noise - 1:.1%}")
    return made
