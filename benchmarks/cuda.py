"""Timing on a GPU: events, inputs that no cache holds, launches, host syncs, graph replay."""

import warnings
from collections.abc import Callable, Iterable
from itertools import cycle, islice
from statistics import median
from typing import Any

import torch
from torch.autograd import DeviceType

from benchmarks.calls import Call, Inputs
from benchmarks.run import MOST_CALLS, SAMPLE_SECONDS, Result, checked, time_rounds
from benchmarks.workload import OURS, PEERS, Workload

COPY_BYTES = 1 << 28
COPY_ROUNDS = 10
# Smaller inputs than a cache holds 16 times over are bound by launches, wherever they lie.
MOST_SETS = 16
MOST_GRAPHS = 8
GRAPH_WARM_UP = 3
SYNC_WARNING = "called a synchronizing CUDA operation"
NOT_KERNELS = ("Memcpy", "Memset", "Context Sync", "Event Sync", "Stream Sync", "Stream Wait")


class Gpu:
    """A device with the size of its cache and the speed of a copy, both ways counted."""

    def __init__(self, device: torch.device) -> None:
        if not torch.cuda.is_available():
            raise SystemExit("--device cuda: this torch finds no CUDA or ROCm GPU.")
        self.device = device
        self.cache_bytes = torch.cuda.get_device_properties(device).L2_cache_size
        source = torch.empty(COPY_BYTES, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        copies = cycle([lambda: target.copy_(source)])
        seconds = [_sample(copies, COPY_ROUNDS) for _ in range(COPY_ROUNDS)]
        self.copy_speed = 2 * COPY_BYTES / median(seconds)


def measure(workload: Workload, gpu: Gpu, rounds: int, budget: float) -> Result:
    """Time one workload by events, and look at the launches and syncs of a call."""
    inputs = workload.inputs(gpu.device)
    calls, result, _ = checked(workload, inputs)
    size = sum(tensor.nbytes for tensor in inputs)
    sets = [inputs, *(_copies(inputs) for _ in range(set_count(size, gpu.cache_bytes) - 1))]
    runs = {name: [call(given).run for given in sets] for name, call in calls.items()}
    samplers = {name: _sampler(ready) for name, ready in runs.items()}
    time_rounds(result, samplers, rounds, budget)
    for name in (OURS, *PEERS):
        if name in runs:
            speed = size / result.best(name)
            share = speed / gpu.copy_speed
            result.device[name] = {"bytes_per_second": speed, "share_of_copy": share}
    for name in (OURS, "torchmetrics"):
        if name in runs:
            result.device[name] |= _looked_at(workload, calls[name], sets)
    return result


def set_count(size: int, cache_bytes: int) -> int:
    """Return how many sets of inputs are needed to hold twice the bytes of the cache."""
    return max(2, min(MOST_SETS, -(-2 * cache_bytes // max(1, size))))


def _copies(inputs: Inputs) -> Inputs:
    return tuple(tensor.clone() for tensor in inputs)


def _sampler(runs: list[Callable[[], Any]]) -> Callable[[], float]:
    """Warm up with every set of inputs, and return what times as many calls as fill a sample."""
    for run in runs:
        run()
    turns = cycle(runs)
    seconds = _sample(turns, 3)
    count = max(1, min(MOST_CALLS, int(SAMPLE_SECONDS / seconds)))
    return lambda: _sample(turns, count)


def _sample(turns: Iterable[Callable[[], Any]], count: int) -> float:
    """Return the seconds of one call between two events, the mean of ``count`` of them."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for run in islice(turns, count):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3 / count


def _looked_at(workload: Workload, call: Call, sets: list[Inputs]) -> dict[str, Any]:
    run = call(sets[0]).run
    run()
    found = {"kernels": _kernels(run), "host_syncs": _host_syncs(run)}
    # A call that waits for the host cannot be captured, nor can one that gives a Python number.
    if workload.name.startswith("update/") and not found["host_syncs"]:
        try:
            found["graph_seconds"] = _graph_seconds(call, sets[:MOST_GRAPHS])
        except RuntimeError as error:
            found["graph_error"] = str(error).splitlines()[0]
    return found


def _kernels(run: Callable[[], Any]) -> int:
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        run()
        torch.cuda.synchronize()
    return count_kernels(profile.events())


def count_kernels(events: Iterable[Any]) -> int:
    """Return how many of a profile's events are kernels on the device."""
    return sum(
        event.device_type == DeviceType.CUDA and not event.name.startswith(NOT_KERNELS)
        for event in events
    )


def _host_syncs(run: Callable[[], Any]) -> int:
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    return count_syncs(caught)


def count_syncs(caught: Iterable[warnings.WarningMessage]) -> int:
    """Return how many warnings say that the host waited for the device."""
    return sum(SYNC_WARNING in str(warning.message) for warning in caught)


def _graph_seconds(call: Call, sets: list[Inputs]) -> float:
    """Return the seconds of one replay; each set of inputs has a graph."""
    replays = [_captured(call(inputs).run).replay for inputs in sets]
    return median(_sampler(replays)() for _ in range(3))


def _captured(run: Callable[[], Any]) -> torch.cuda.CUDAGraph:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(GRAPH_WARM_UP):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph
