"""What ``python -m fastmetrics`` says at exit of each process that used metrics."""

from __future__ import annotations

import atexit
import functools
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from multiprocessing import util

from fastmetrics.acceleration import accelerate, watching
from fastmetrics.acceleration.replacing import Replacement

# Child processes find there what was asked of their parent.
OPTIONS = "FASTMETRICS_LAUNCHED_WITH"


@dataclass(frozen=True)
class Options:
    """What the command line asks for.

    Attributes:
        verbose: a table of all metrics and functions.
        strict: metrics and functions that are not accelerated raise.
        check: how many updates of each metric torchmetrics follows.
        profile: the time of each step of each metric.
    """

    verbose: bool = False
    strict: bool = False
    check: int = 0
    profile: bool = False

    def as_text(self) -> str:
        """Return the options as one environment variable."""
        return ",".join(str(int(value)) for value in astuple(self))

    @classmethod
    def of_environment(cls) -> Options:
        """Return what the parent process was asked for; nothing if it was started otherwise."""
        verbose, strict, check, profile = map(int, os.environ.get(OPTIONS, "0,0,0,0").split(","))
        return cls(bool(verbose), bool(strict), check, bool(profile))


def begin(options: Options) -> None:
    """Replace torchmetrics in this process, and say at its end what was asked for."""
    acceleration = accelerate()
    if any(astuple(options)):
        acceleration.then.append(functools.partial(_watch, options))


def _watch(options: Options, replacement: Replacement) -> None:
    watch = watching.Watch(replacement, most=options.check, strict=options.strict)
    watch.start()
    if options.verbose or options.strict:
        watch.start_functions(replacement)
    if options.verbose or options.check or options.profile:
        end = functools.partial(_end, watch, options)
        # Registered early, so it runs last, and may end the process with another status.
        atexit.register(end)
        _end_child_with(end)
        util.register_after_fork(watch, functools.partial(_begin_child, end=end))


def _begin_child(watch: watching.Watch, end: Callable[[], None]) -> None:
    watch.forget()
    _end_child_with(end)


def _end_child_with(end: Callable[[], None]) -> None:
    """Call at the end of a process of multiprocessing: `atexit` does not, where it was forked."""
    util.Finalize(None, end, exitpriority=-100)  # queues have sent what they hold


def _end(watch: watching.Watch, options: Options) -> None:
    if not watch.rows and not _functions(watch):
        return
    lines = [*_report(watch, options)]
    print("\n".join(lines), file=sys.stderr, flush=True)
    if any(row.differing for row in watch.rows.values()):
        sys.stdout.flush()
        os._exit(1)
    watch.forget()


def _report(watch: watching.Watch, options: Options) -> Iterable[str]:
    rank = os.environ.get("RANK")
    yield f"fastmetrics, process {os.getpid()}" + (f", rank {rank}" if rank else "")
    if options.verbose:
        yield from _table(("metric or function", "calls", "ms", "accelerated"), _metrics(watch))
        yield _summary(watch)
    if options.profile:
        yield from _table(("metric", *watching.STEPS, "of the run"), _times(watch))
    if options.check:
        yield from _table(("metric", "compared", "largest difference", ""), _checked(watch))


def _metrics(watch: watching.Watch) -> Iterable[tuple[str, ...]]:
    for name, row in (watch.rows | _functions(watch)).items():
        spent = f"{sum(row.seconds.values()) * 1e3:.1f}" if row.seconds else "with its collection"
        why = "yes" if row.accelerated else f"no: {watch.reason(name)}"
        yield name, str(sum(row.calls.values())), spent, why


def _functions(watch: watching.Watch) -> dict[str, watching.Row]:
    return {name: row for name, row in watch.functions.items() if row.calls}


def _summary(watch: watching.Watch) -> str:
    metrics = {name: row for name, row in watch.rows.items() if name != "MetricCollection"}
    text = _share(watch, "metrics", metrics)
    if _functions(watch):
        text += f"; {_share(watch, 'functions', _functions(watch))}"
    return f"{text}; {watch.host_syncs} host syncs; {watch.collectives} collectives"


def _share(watch: watching.Watch, kind: str, rows: dict[str, watching.Row]) -> str:
    left = [f"{name} ({watch.reason(name)})" for name, row in rows.items() if not row.accelerated]
    text = f"{len(rows) - len(left)} of {len(rows)} {kind} accelerated"
    return f"{text}; {len(left)} fell back: {', '.join(left)}" if left else text


def _times(watch: watching.Watch) -> Iterable[tuple[str, ...]]:
    whole = watch.run_seconds()
    for name, row in watch.rows.items():
        if row.seconds:
            steps = (f"{row.seconds.get(step, 0) * 1e3:.1f} ms" for step in watching.STEPS)
            yield name, *steps, f"{sum(row.seconds.values()) / whole:.2%}"


def _checked(watch: watching.Watch) -> Iterable[tuple[str, ...]]:
    for name, row in watch.rows.items():
        if row.accelerated and name != "MetricCollection":
            verdict = f"{row.differing} DIFFER" if row.differing else "equal"
            shown = verdict if row.compared else "nothing to compare with"
            yield name, str(row.compared), f"{row.difference:.2g} of the tolerance", shown


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterable[str]:
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  " + "  ".join(cells).rstrip()
