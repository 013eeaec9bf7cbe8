"""Other steps in the life of a metric, which are compared with another commit only."""

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.calls import Call, Inputs, Started
from benchmarks.workload import OURS, Workload


def _compute(metric: Any, inputs: Inputs) -> Callable[[], Any]:
    def run() -> Any:
        metric._computed = None  # else the second call returns what the first one did
        return metric.compute()

    return run


STEPS: dict[str, Callable[[Any, Inputs], Callable[[], Any]]] = {
    "update": lambda metric, inputs: partial(metric.update, *inputs),
    "compute": _compute,
    "reset": lambda metric, inputs: metric.reset,
    "clone": lambda metric, inputs: metric.clone,
    "pickle": lambda metric, inputs: lambda: pickle.loads(pickle.dumps(metric)),
}


def life(rows: list[Workload]) -> list[Workload]:
    """Return workloads for the steps of each metric that has a `forward` one, and for making it."""
    found = []
    for row in rows:
        kind, _, rest = row.name.partition("/")
        if kind == "forward":
            ours = row.calls[OURS]
            steps = {step: _after_a_batch(ours, of) for step, of in STEPS.items()}
            steps["construct"] = partial(_construct, ours)
            found += [
                Workload(f"{step}/{rest}", row.inputs, {OURS: call}) for step, call in steps.items()
            ]
    return found


def _after_a_batch(forward: Call, step: Callable[[Any, Inputs], Callable[[], Any]]) -> Call:
    def start(inputs: Inputs) -> Started:
        metric = forward(inputs).run.func  # what `calls.forward` starts is a partial of it
        metric.update(*inputs)
        return Started(step(metric, inputs), metric.compute)

    return start


def _construct(forward: Call, inputs: Inputs) -> Started:
    return Started(partial(forward, inputs), lambda: 0.0)
