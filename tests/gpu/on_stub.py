"""Launches, replays and compiled variants over `tests/stub_gpu`; `test_stub` runs this file.

Triton keeps its driver, so this needs a process of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from fastmetrics.ops import backend, error_sums, faults
from fastmetrics.ops.aggregate import DROP, SUM
from fastmetrics.ops.backend import launcher_of
from fastmetrics.ops.co_moments import NUM_COLUMNS
from fastmetrics.ops.triton import replay
from tests.gpu.cases import CASES, counts, labels, scores
from tests.ops.laws import tensors
from tests.stub_gpu import StubGpu, stub_gpu

# Of each op one call, and what adds floats or takes several launches.
NAMES = [
    "stat_scores_ 0", "stat_scores_ weighted0", "stat_scores_ C=1000 ", "confusion_ 0",
    "label_confusion_ 0", "score_histogram_ 0", "score_image_histogram_ 0", "calibration_bins_ 0",
    "exact_match_ 0", "label_exact_match_ 0", "hinge_sums_ 0", "ranking_sums_ 0", "error_sums_ 0",
    "cross_entropy_sums_ 0",
    "co_moments_ 0", "aggregate_ 0", "row_similarity_ 0", "tensor_stats_ 0", "keep_scores_ 0",
    "fused_ 0", "fused_ rows 10 [0, 2, 3, 5] float32", "fused_ pairs [3, 4, 2] float32",
]  # fmt: skip


@pytest.fixture(scope="module")
def gpu(tmp_path_factory):
    with stub_gpu(tmp_path_factory.mktemp("stub")) as stub:
        yield stub


def flat(args) -> list[Tensor]:
    return [x for arg in args for x in tensors(arg)]


def best(call: Callable[[], Any]) -> float:
    """The least time of a call, in microseconds."""
    times = []
    for _ in range(200):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times) * 1e6


def test_the_yardstick():
    print(f"\nbeside {best(lambda: torch.empty(4)):.1f} us of torch.empty(4)", end="")


@pytest.mark.parametrize("name", NAMES)
def test_a_replay_hands_the_driver_what_the_first_update_did(gpu, name, monkeypatch):
    op, args = CASES[name]
    with gpu.noting(flat(args)) as first:
        launcher_of(op)(*args)
    monkeypatch.setattr(replay, "_compiled", None)  # it would be planned anew
    with gpu.noting(flat(args)) as again:
        launcher_of(op)(*args)
    assert first == again
    assert first and all(launch.parameters for launch in first)
    took = best(lambda: launcher_of(op)(*args))
    kernels = ", ".join(launch.kernel for launch in first)
    print(f"\n{name:26} {len(first)} launches {took:6.1f} us: {kernels}", end="")


def test_a_view_that_starts_elsewhere_is_another_pointer(gpu):
    """The parameters are those of the tensors given, not of those that were recorded."""
    op, args = CASES["stat_scores_ 0"]
    launcher_of(op)(*args)
    others = [x.clone() if isinstance(x, Tensor) else x for x in args]
    with gpu.noting(flat(others)) as noted:
        launcher_of(op)(*others)
    assert {"argument 0", "argument 1", "argument 2", "argument 3"} <= {*noted[0].parameters}


def sums(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64)


def updates(size: int) -> dict[str, tuple[str, tuple[Any, ...]]]:
    """Plain updates with so many elements, and their op."""
    events, classes = faults.new_events(), labels(10, size)
    edges = torch.linspace(0, 1, 50, dtype=torch.float64).repeat(2, 1)
    read = (None, edges, True, False, False, None, True)
    pair = (scores(size), scores(size))
    rows = (counts(10, 4), events, scores(size, 10), classes, None, 10, 1, None, True)
    return {
        "scores": ("stat_scores_", rows),
        "labels": ("stat_scores_", (*rows[:2], classes, *rows[3:])),
        "matrix": ("confusion_", (counts(10, 10), events, classes, classes, None, None, True)),
        "curve": (
            "score_histogram_",
            (counts(2, 1, 2, 51), events, pair[0], labels(2, size), *read),
        ),
        "errors": ("error_sums_", (sums(1, 2), *pair, None, error_sums.SQUARED, 1.0, 0.0)),
        "moments": ("co_moments_", (sums(1, NUM_COLUMNS), *pair, None)),
        "sum": ("aggregate_", (sums(2), events, pair[0], None, SUM, DROP, 0.0)),
    }


def launched(gpu: StubGpu, op: str, args: tuple[Any, ...]) -> int:
    before = gpu.launches()
    launcher_of(op)(*args)
    return gpu.launches() - before


SMALL = ("scores", "labels", "matrix", "curve", "errors")


@pytest.mark.parametrize("size", [1, 1000, 2**16, 2**20])
def test_small_updates_are_one_launch_and_large_sums_two(gpu, size):
    for name, (op, args) in updates(size).items():
        one = size <= 2**16 if name == "errors" else name in SMALL
        assert launched(gpu, op, args) <= 2 - one, name


@pytest.mark.parametrize("size", [1000, 2**20])
def test_sums_in_float32_take_as_many_launches(gpu, size, monkeypatch):
    monkeypatch.setattr(backend, "arithmetic", "float32")
    monkeypatch.setattr(replay, "_key", lambda *_: object())  # no plan from before
    op, args = updates(size)["errors"]
    with gpu.noting(flat(args)) as noted:
        launcher_of(op)(*args)
    kernels = [launch.kernel for launch in noted]
    assert kernels == ["sum_errors_in_float32", "add_partials"][: 1 + (size > 1000)]


TOGETHER = [name for name in CASES if name.startswith(("fused_ rows", "fused_ pairs"))]


@pytest.mark.parametrize("name", TOGETHER[::5])
def test_statistics_of_one_batch_are_two_launches(gpu, name):
    op, args = CASES[name]
    assert 1 <= launched(gpu, op, args) <= 2
    assert 1 <= launched(gpu, op, args) <= 2  # again, from the plan


# At most so many times each kernel is compiled for all of these sizes.
SIZES = (2, 15, 16, 64, 1000, 1024, 5000, 70_000, 300_000)
VARIANTS = {
    "scores": 2, "labels": 2, "matrix": 2, "curve": 2, "errors": 4, "moments": 4, "sum": 4
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_sizes_compile_few_variants(gpu, name):
    variants = set()
    for size in SIZES:
        op, args = updates(size)[name]
        with gpu.noting(flat(args)) as noted:
            launcher_of(op)(*args)
        variants |= {(launch.kernel, launch.function) for launch in noted}
    kernels = [kernel for kernel, _ in variants]
    print(f"\n{name}: {len(kernels)} variants for {len(SIZES)} sizes", end="")
    assert all(kernels.count(kernel) <= VARIANTS[name] for kernel in kernels), kernels
