"""Check the values, then time the libraries in turn, in one process."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import torch

from benchmarks.calls import Call, Inputs, device_of
from benchmarks.workload import FLOOR, MEMBER, OURS, PEERS, Workload

SAMPLE_SECONDS = 2e-3
MOST_CALLS = 10_000
LEAST_ROUNDS = 3
# What the first call of a library loads takes less than these seconds.
SLOW_WHATEVER_LOADS = 2.0
# A call that takes so many samples is too slow to be called several times in one.
SURELY_SLOW = 50


@dataclass
class Result:
    """Seconds per call, one for each round, by library; and the libraries without any.

    Attributes:
        wrong: what is wrong with the value of a library.
        failed: what another library raised; torchmetrics needs gigabytes for many classes.
        device: what else was seen on a GPU.
    """

    workload: Workload
    seconds: dict[str, list[float]] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    device: dict[str, dict[str, Any]] = field(default_factory=dict)

    def best(self, library: str) -> float:
        """Return the seconds of the fastest round: what disturbs a round only adds to it."""
        return min(self.seconds[library])

    def ratio(self, library: str) -> float:
        """Return our time divided by theirs."""
        return self.best(OURS) / self.best(library)

    def best_peer(self) -> tuple[str, float] | None:
        """Return the fastest other library and our time divided by its, if there is any."""
        ratios = {name: self.ratio(name) for name in self.seconds if name in PEERS}
        return max(ratios.items(), key=lambda item: item[1]) if ratios else None

    def targets(self) -> dict[str, tuple[float, float]]:
        """Return ``(limit, ratio)`` by library, for the libraries that were timed."""
        return {
            library: (limit, self.ratio(library))
            for library, limit in self.workload.limits.items()
            if library in self.seconds
        }


def measure(workload: Workload, device: torch.device, rounds: int, budget: float) -> Result:
    """Time a workload for about ``budget`` seconds, without the libraries whose value is wrong.

    A library that takes seconds for the call whose value is checked is not called again.
    """
    inputs = workload.inputs(device)
    calls, result, first = checked(workload, inputs)
    samplers = {}
    for name, call in calls.items():
        if name != OURS and first[name] > max(budget, SLOW_WHATEVER_LOADS):
            result.seconds[name] = [first[name]]
        else:
            samplers[name] = _sampler(call, inputs, calls_per_sample(call, inputs, first[name]))
    time_rounds(result, samplers, rounds, budget)
    return result


def checked(workload: Workload, inputs: Inputs) -> tuple[dict[str, Call], Result, dict[str, float]]:
    """Return the calls whose values agree with ours, a result that names the others, and seconds.

    They are those of the first calls, which may also load code.
    """
    calls = workload.available(device_of(inputs))
    expected, seconds = first_value(calls[OURS], inputs)
    result, first = Result(workload), {OURS: seconds}
    for name in [name for name in calls if name != OURS]:
        try:
            value, first[name] = first_value(calls[name], inputs)
        except Exception as error:
            result.failed[name] = f"{name} raises {type(error).__name__}: {error}".splitlines()[0]
            continue
        if name not in (FLOOR, MEMBER) and not _agree(value, expected, workload.tolerance):
            result.wrong[name] = f"{name} gives {_short(value)}, fastmetrics {_short(expected)}"
    left_out = result.wrong | result.failed
    return {name: calls[name] for name in calls if name not in left_out}, result, first


def time_rounds(
    result: Result, samplers: dict[str, Callable[[], float]], rounds: int, budget: float
) -> None:
    """Sample the libraries in turn until the budget is spent, each of them at least once.

    A library whose first sample takes more than its share of the budget is not sampled again, and
    the rounds go on with the others.
    """
    order, end = list(samplers), time.perf_counter() + budget
    for number in range(rounds):
        if number >= LEAST_ROUNDS and time.perf_counter() > end:
            break
        for name in list(order):
            start = time.perf_counter()
            result.seconds.setdefault(name, []).append(samplers[name]())
            if name != OURS and time.perf_counter() - start > budget / LEAST_ROUNDS:
                order.remove(name)
        order.append(order.pop(0))


def _agree(value: torch.Tensor, expected: torch.Tensor, tolerance: float) -> bool:
    return value.shape == expected.shape and torch.allclose(
        value, expected, rtol=1e-5, atol=tolerance, equal_nan=True
    )


def first_value(call: Call, inputs: Inputs) -> tuple[torch.Tensor, float]:
    """Return the value after one call, and the seconds of the call."""
    started = call(inputs)
    start = time.perf_counter()
    value = started.run()
    seconds = time.perf_counter() - start
    return flat(value if started.value is started.run else started.value()), seconds


def flat(value: Any) -> torch.Tensor:
    """Return all numbers of a value, which may be a tensor, an array or a collection of them."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return torch.cat([flat(part).flatten() for part in value])
    if hasattr(value, "strides"):  # an array; torch knows no negative ones
        value = value.copy()
    return torch.as_tensor(value, dtype=torch.float64, device="cpu")


def _short(value: torch.Tensor) -> str:
    return f"{value.flatten()[:4].tolist()} of shape {tuple(value.shape)}"


def calls_per_sample(call: Call, inputs: Inputs, first: float) -> int:
    if first > SURELY_SLOW * SAMPLE_SECONDS:
        return 1
    fastest = SAMPLE_SECONDS / MOST_CALLS
    return max(1, int(SAMPLE_SECONDS / max(fastest, sample(call, inputs, 3))))


def _sampler(call: Call, inputs: Inputs, count: int) -> Callable[[], float]:
    return lambda: sample(call, inputs, count)


def sample(call: Call, inputs: Inputs, count: int) -> float:
    """Return the seconds of one call, the mean of ``count`` of them on one fresh state."""
    run = call(inputs).run
    gc.collect(0)
    gc.disable()
    try:
        start = time.perf_counter()
        for _ in repeat(None, count):
            run()
        return (time.perf_counter() - start) / count
    finally:
        gc.enable()
