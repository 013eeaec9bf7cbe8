"""Check the values, then time the libraries in turn, in one process."""

import gc
import time
from dataclasses import dataclass, field
from itertools import repeat
from statistics import median
from typing import Any

import torch

from benchmarks.calls import Call, Inputs
from benchmarks.registry import FLOOR, OURS, Workload

SAMPLE_SECONDS = 2e-3
MOST_CALLS = 10_000
# The first call may also load code; one that takes so many samples is slow whatever it loads.
SURELY_SLOW = 50


@dataclass
class Result:
    """Seconds per call, one for each round, by library; and the libraries whose value is wrong."""

    workload: Workload
    seconds: dict[str, list[float]] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)

    def ratio(self, library: str) -> float:
        """Return our time divided by theirs: the median over rounds, which share their noise."""
        pairs = zip(self.seconds[OURS], self.seconds[library], strict=True)
        return median(ours / theirs for ours, theirs in pairs)

    def targets(self) -> dict[str, tuple[float, float]]:
        """Return ``(limit, ratio)`` by library, for the libraries that were timed."""
        return {
            library: (limit, self.ratio(library))
            for library, limit in self.workload.limits.items()
            if library in self.seconds
        }


def measure(workload: Workload, device: torch.device, rounds: int) -> Result:
    """Time one workload; a library whose value differs from ours is not timed."""
    inputs = workload.inputs(device)
    calls = workload.available(device)
    result = Result(workload, wrong=_wrong_values(calls, inputs, workload.tolerance))
    calls = {name: call for name, call in calls.items() if name not in result.wrong}
    counts = {name: _calls_per_sample(call, inputs) for name, call in calls.items()}
    order = list(calls)
    for _ in range(min(rounds, workload.most_rounds)):
        for name in order:
            seconds = _sample(calls[name], inputs, counts[name])
            result.seconds.setdefault(name, []).append(seconds)
        order.append(order.pop(0))
    return result


def _wrong_values(calls: dict[str, Call], inputs: Inputs, tolerance: float) -> dict[str, str]:
    expected = _value(calls[OURS], inputs)
    wrong = {}
    for name in calls:
        if name in (OURS, FLOOR):
            continue
        value = _value(calls[name], inputs)
        if value.shape != expected.shape or not torch.allclose(
            value, expected, rtol=1e-5, atol=tolerance, equal_nan=True
        ):
            wrong[name] = f"{name} gives {_short(value)}, fastmetrics {_short(expected)}"
    return wrong


def _value(call: Call, inputs: Inputs) -> torch.Tensor:
    started = call(inputs)
    started.run()
    value: Any = started.value()
    if isinstance(value, dict):
        value = [float(entry) for entry in value.values()]
    return torch.as_tensor(value, dtype=torch.float64, device="cpu")


def _short(value: torch.Tensor) -> str:
    return f"{value.flatten()[:4].tolist()} of shape {tuple(value.shape)}"


def _calls_per_sample(call: Call, inputs: Inputs) -> int:
    if _sample(call, inputs, 1) > SURELY_SLOW * SAMPLE_SECONDS:
        return 1
    return max(1, min(MOST_CALLS, int(SAMPLE_SECONDS / _sample(call, inputs, 3))))


def _sample(call: Call, inputs: Inputs, count: int) -> float:
    """Return the seconds of one call, the mean of ``count`` of them on one fresh state."""
    run = call(inputs).run
    synchronize = torch.cuda.synchronize if inputs[0].is_cuda else _nothing
    gc.collect(0)
    gc.disable()
    try:
        synchronize()
        start = time.perf_counter()
        for _ in repeat(None, count):
            run()
        synchronize()
        return (time.perf_counter() - start) / count
    finally:
        gc.enable()


def _nothing() -> None:
    """Stand in for a device that needs no waiting."""
