"""Updates on a GPU: the same counts as on the CPU, never a wait for the device, CUDA graphs.

``make gpu-check`` sets ``FASTMETRICS_REQUIRE_CUDA=1``, under which a missing GPU fails these tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from fastmetrics import ops
from fastmetrics.ops import library

REQUIRED = os.environ.get("FASTMETRICS_REQUIRE_CUDA") == "1"

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() and not REQUIRED, reason="needs a CUDA or ROCm GPU"
)

N = 5000


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scores(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=generator(1)).to(dtype)


def labels(top: int, *shape: int) -> Tensor:
    return torch.randint(0, top, shape, generator=generator(2))


def counts(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int64)


def sums(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64)


def weights(n: int = N) -> Tensor:
    return torch.rand(n, generator=generator(3))


# Name, op, state, arguments after `state` and `events`.
CASES: dict[str, tuple[str, Tensor, tuple[Any, ...]]] = {
    f"stat scores C={c} {dtype}": (
        "stat_scores_", counts(c, 4), (scores(N, c, dtype=dtype), labels(c, N), None, c),
    )
    for c in (2, 10, 100, 300, 1000)
    for dtype in (torch.float32, torch.bfloat16, torch.float64)
} | {
    "stat scores C=100000": (
        "stat_scores_", counts(100_000, 4),
        (scores(64, 100_000), labels(100_000, 64), None, 100_000),
    ),
    "stat scores C=100000 ignore": (
        "stat_scores_", counts(100_000, 4),
        (scores(64, 100_000), labels(3, 64), None, 100_000, 1, 1),
    ),
    "stat scores micro": (
        "stat_scores_", counts(1, 4), (scores(N, 1000), labels(1000, N), None, 1000),
    ),
    "stat scores top-5": (
        "stat_scores_", counts(1000, 4), (scores(N, 1000), labels(1000, N), None, 1000, 5),
    ),
    "stat scores labels": (
        "stat_scores_", counts(10, 4), (labels(9, N), labels(10, N), None, 10, 1, 3),
    ),
    "stat scores many labels": (
        "stat_scores_", counts(5000, 4), (labels(4999, N), labels(5000, N), None, 5000),
    ),
    "stat scores weighted": (
        "stat_scores_", sums(10, 4), (scores(N, 10), labels(10, N), weights(), 10),
    ),
    "stat scores samplewise": (
        "stat_scores_", counts(50, 21, 4), (scores(50, 21, 333), labels(21, 50, 333), None, 21),
    ),
    "stat scores images": (
        "stat_scores_", counts(21, 4),
        (scores(4, 21, 64, 64), labels(21, 4, 64, 64), None, 21, 1, 2),
    ),
    "stat scores channels last": (
        "stat_scores_", counts(21, 4),
        (scores(4, 64, 64, 21).movedim(-1, 1), labels(21, 4, 64, 64), None, 21),
    ),
    "stat scores sliced": (
        "stat_scores_", counts(10, 4), (scores(N, 20)[:, ::2], labels(10, 3 * N)[::3], None, 10),
    ),
    "confusion C=10": ("confusion_", counts(10, 10), (scores(N, 10), labels(10, N))),
    "confusion C=300": ("confusion_", counts(300, 300), (scores(N, 300), labels(300, N))),
    "confusion labels": ("confusion_", counts(21, 21), (labels(20, N), labels(21, N))),
    "confusion weighted": (
        "confusion_", sums(50, 50), (scores(N, 50), labels(50, N), weights()),
    ),
    "label confusion": ("label_confusion_", counts(2, 1, 2, 2), (scores(N), labels(2, N))),
    "label confusion images": (
        "label_confusion_", counts(1, 1, 2, 2),
        (scores(4, 200, 300).sigmoid(), labels(2, 4, 200, 300)),
    ),
    "label confusion L=100": (
        "label_confusion_", counts(2, 100, 2, 2), (scores(N, 100), labels(2, N, 100)),
    ),
    "label confusion weighted": (
        "label_confusion_", sums(2, 100, 2, 2), (scores(N, 100), labels(2, N, 100), weights()),
    ),
    "label confusion samplewise": (
        "label_confusion_", counts(60, 2, 5, 2, 2), (scores(60, 5, 70), labels(2, 60, 5, 70)),
    ),
    "label confusion groups": (
        "label_confusion_", counts(2, 7, 2, 2), (scores(N), labels(2, N), None, labels(7, N)),
    ),
    "label confusion many groups": (
        "label_confusion_", counts(2, 4999, 2, 2),
        (scores(N), labels(2, N), None, labels(4999, N)),
    ),
    "exact match": ("exact_match_", counts(2), (labels(2, N, 3), labels(2, N, 3), None, 2)),
    "exact match scores": (
        "exact_match_", counts(N, 2), (scores(N, 3, 4), labels(3, N, 4), None, 3),
    ),
    "exact match weighted": (
        "exact_match_", sums(2), (labels(2, N, 3), labels(2, N, 3), weights(), 2),
    ),
    "label exact match": (
        "label_exact_match_", counts(2, 2), (scores(N, 3), labels(2, N, 3), None, 3),
    ),
}  # fmt: skip


@contextmanager
def no_waiting() -> Iterator[None]:
    """Raise wherever the host would wait for the device."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def to_gpu(value: Any) -> Any:
    """Copy a tensor with its strides, so that layouts stay what they are."""
    if not isinstance(value, Tensor):
        return value
    size = value.untyped_storage().nbytes() // value.element_size()
    whole = value.as_strided((size,), (1,), 0).cuda()
    return whole.as_strided(value.shape, value.stride(), value.storage_offset())


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Any, Tensor, tuple[Any, ...], Tensor, Tensor]:
    """The op, its state and arguments, and what two updates on the CPU give."""
    name, state, args = CASES[request.param]
    op = getattr(ops, name)
    expected, events = state.clone(), library.new_events()
    for _ in range(2):
        op(expected, events, *args)
    return op, state, args, expected, events


def test_counts_equal_the_cpu_without_waiting(case):
    op, initial, args, expected, expected_events = case
    state, events, inputs = to_gpu(initial), library.new_events("cuda"), [*map(to_gpu, args)]
    op(state.clone(), events.clone(), *inputs)  # compiles, which may wait
    with no_waiting():
        for _ in range(2):
            op(state, events, *inputs)
    torch.testing.assert_close(state.cpu(), expected, rtol=1e-10, atol=1e-10)
    assert events.tolist() == expected_events.tolist()


def test_updates_replay_in_a_cuda_graph(case):
    op, initial, args, expected, expected_events = case
    state, events, inputs = to_gpu(initial), library.new_events("cuda"), [*map(to_gpu, args)]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        op(state.clone(), events.clone(), *inputs)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        op(state, events, *inputs)
    state.zero_()
    events.zero_()
    graph.replay()
    graph.replay()
    torch.testing.assert_close(state.cpu(), expected, rtol=1e-10, atol=1e-10)
    assert events.tolist() == expected_events.tolist()


def test_updates_run_on_the_current_stream():
    """Inputs made late on a side stream are seen by an update on the same stream."""
    side = torch.cuda.Stream()
    target = labels(10, 1 << 20).cuda()
    state = torch.zeros(10, 4, dtype=torch.int64, device="cuda")
    events = library.new_events("cuda")
    ops.stat_scores_(state.clone(), events.clone(), target, target, num_classes=10)
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        torch.cuda._sleep(100_000_000)
        preds = target + 0
        ops.stat_scores_(state, events, preds, target, num_classes=10)
    side.synchronize()
    assert state[:, 0].sum().item() == 1 << 20
    assert events.tolist() == [0, 0, 0]


def test_weighted_sums_have_the_same_bits_every_time():
    preds, target, weight = scores(N, 100).cuda(), labels(100, N).cuda(), weights().cuda()
    results = []
    for _ in range(5):
        state, events = sums(100, 4).cuda(), library.new_events("cuda")
        ops.stat_scores_(state, events, preds, target, weight, 100)
        results.append(state.cpu())
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_bad_labels_are_left_out_and_counted():
    target = labels(10, N).cuda()
    target[:7] = torch.tensor([-1, 10, 11, -100, 2**40, -(2**40), 10])
    state, events = counts(10, 4).cuda(), library.new_events("cuda")
    ops.stat_scores_(state, events, scores(N, 10).cuda(), target, num_classes=10)
    assert state.sum().item() == 10 * (N - 7)
    assert events.tolist() == [7, 0, 0]
    with pytest.raises(RuntimeError, match="7 samples were left out"):
        library.raise_events("Metric", events)


def test_nan_and_outside_scores_are_counted():
    values = torch.tensor([0.2, 0.9, float("nan"), 3.0, -1.0, float("inf")]).cuda()
    state, events = counts(2, 1, 2, 2).cuda(), library.new_events("cuda")
    ops.label_confusion_(state, events, values, torch.ones(6, dtype=torch.int64).cuda())
    assert events.tolist() == [0, 1, 3]
    assert state[0, 0, 1].tolist() == [3, 3]
    assert state[1, 0, 1].tolist() == [2, 4]


def test_positions_past_2_31():
    """One byte per label: 2**31 + 3 positions need 64-bit numbers and offsets."""
    size = 2**31 + 3
    if torch.cuda.mem_get_info()[0] < 3 * size:
        pytest.skip("needs 6 GiB of free memory")
    target = torch.zeros(size, dtype=torch.bool, device="cuda")
    target[-3:] = True
    preds = target.clone()
    preds[-1] = False
    state, events = counts(2, 1, 2, 2).cuda(), library.new_events("cuda")
    ops.label_confusion_(state, events, preds, target)
    assert state[0, 0].tolist() == [[2**31, 0], [1, 2]]
    state = counts(2, 4).cuda()
    ops.stat_scores_(state, events, preds, target, num_classes=2)
    assert state.tolist() == [[2**31, 1, 2, 0], [2, 0, 2**31, 1]]


def test_the_other_gpu_is_used_when_its_tensors_come():
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    preds, target = scores(N, 10).to("cuda:1"), labels(10, N).to("cuda:1")
    state, events = counts(10, 4).to("cuda:1"), library.new_events("cuda:1")
    with torch.cuda.device(0):
        ops.stat_scores_(state, events, preds, target, num_classes=10)
    expected = counts(10, 4)
    ops.stat_scores_(expected, library.new_events(), preds.cpu(), target.cpu(), num_classes=10)
    assert torch.equal(state.cpu(), expected)
