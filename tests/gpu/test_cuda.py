"""Every op on a GPU: what the CPU gives, never a wait for the device, streams and CUDA graphs.

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
from fastmetrics.ops import faults
from fastmetrics.ops.define import COMPUTE_OPS
from tests.gpu.cases import CASES, N, counts, labels, scores
from tests.ops.curve import specified

REQUIRED = os.environ.get("FASTMETRICS_REQUIRE_CUDA") == "1"

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() and not REQUIRED, reason="needs a CUDA or ROCm GPU"
)


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
    """Copy tensors with their strides, so that layouts stay what they are."""
    if isinstance(value, list):
        return [*map(to_gpu, value)]
    if not isinstance(value, Tensor):
        return value
    size = value.untyped_storage().nbytes() // value.element_size()
    whole = value.as_strided((size,), (1,), 0).cuda()
    return whole.as_strided(value.shape, value.stride(), value.storage_offset())


def written(op: str) -> int:
    """How many of the first arguments an op changes."""
    schema = getattr(torch.ops.fastmetrics, op).default._schema
    return sum(bool(a.alias_info and a.alias_info.is_write) for a in schema.arguments)


def copied(value: Any) -> Any:
    return [*map(copied, value)] if isinstance(value, list) else value.clone()


def tensors(values: Any) -> list[Tensor]:
    """The tensors among values that may be lists of them."""
    return [t for v in values for t in (tensors(v) if isinstance(v, list) else [v])]


def fresh(args: tuple[Any, ...], count: int) -> list[Any]:
    """The arguments, with copies of those that the op changes."""
    return [*map(copied, args[:count]), *args[count:]]


def twice_on_the_cpu(name: str) -> list[Tensor]:
    op, args = CASES[name]
    changed = written(op)
    args = fresh(args, changed)
    for _ in range(2):
        getattr(ops, op)(*args)
    return args[:changed]


def same(op: str, actual: list[Any], expected: list[Any]) -> None:
    actual, expected = tensors(actual), tensors(expected)
    if op == "curve_points_":  # what follows the last point is unspecified
        actual, expected = specified(actual), specified(expected)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-9, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("name", CASES)
def test_results_equal_the_cpu_without_waiting(name):
    op, args = CASES[name]
    changed = written(op)
    inputs = [*map(to_gpu, args)]
    getattr(ops, op)(*fresh(inputs, changed))  # compiles, which may wait
    if op in COMPUTE_OPS:
        getattr(ops, op)(*inputs)
    else:
        with no_waiting():
            for _ in range(2):
                getattr(ops, op)(*inputs)
    same(op, inputs[:changed], twice_on_the_cpu(name))


def test_results_where_programs_take_several_blocks():
    """With small grids; the kernels are those of the other tests, compiled already."""
    pytest.importorskip("triton")
    from tests.gpu.loops import few_programs, looping_calls

    for name in looping_calls():
        op, args = CASES[name]
        inputs = [*map(to_gpu, args)]
        with few_programs():
            for _ in range(2):
                getattr(ops, op)(*inputs)
        changed = written(op)
        same(op, inputs[:changed], twice_on_the_cpu(name))


@pytest.mark.parametrize("name", [name for name, (op, _) in CASES.items() if op not in COMPUTE_OPS])
def test_updates_replay_in_a_cuda_graph(name):
    op, args = CASES[name]
    changed = written(op)
    inputs = [*map(to_gpu, args)]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        getattr(ops, op)(*fresh(inputs, changed))
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        getattr(ops, op)(*inputs)
    written_to = tensors(inputs[:changed])
    for state, initial in zip(written_to, tensors(args[:changed]), strict=True):
        state.copy_(initial)
    graph.replay()
    graph.replay()
    same(op, inputs[:changed], twice_on_the_cpu(name))


def test_updates_run_on_the_current_stream():
    """Inputs made late on a side stream are seen by an update on the same stream."""
    side = torch.cuda.Stream()
    target = labels(10, 1 << 20).cuda()
    state = torch.zeros(10, 4, dtype=torch.int64, device="cuda")
    events = faults.new_events("cuda")
    ops.stat_scores_(state.clone(), events.clone(), target, target, num_classes=10)
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        torch.cuda._sleep(100_000_000)
        preds = target + 0
        ops.stat_scores_(state, events, preds, target, num_classes=10)
    side.synchronize()
    assert state[:, 0].sum().item() == 1 << 20
    assert events.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "name",
    [n for n, (_, a) in CASES.items() if any(t.dtype == torch.float64 for t in tensors(a[:1]))],
)
def test_float_sums_have_the_same_bits_every_time(name):
    op, args = CASES[name]
    inputs = [*map(to_gpu, args)]
    results = []
    for _ in range(3):
        again = fresh(inputs, written(op))
        getattr(ops, op)(*again)
        sums = [t for t in tensors(again[:1]) if t.dtype == torch.float64]
        results.append(torch.cat([t.flatten().cpu().view(torch.int64) for t in sums]))
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_bad_labels_are_left_out_and_counted():
    target = labels(10, N).cuda()
    target[:7] = torch.tensor([-1, 10, 11, -100, 2**40, -(2**40), 10])
    state, events = counts(10, 4).cuda(), faults.new_events("cuda")
    ops.stat_scores_(state, events, scores(N, 10).cuda(), target, num_classes=10)
    assert state.sum().item() == 10 * (N - 7)
    assert events.tolist() == [7, 0, 0, 0]
    with pytest.raises(RuntimeError, match="7 samples were left out"):
        faults.raise_events("Metric", events)


def test_nan_and_outside_scores_are_counted():
    values = torch.tensor([0.2, 0.9, float("nan"), 3.0, -1.0, float("inf")]).cuda()
    state, events = counts(2, 1, 2, 2).cuda(), faults.new_events("cuda")
    ops.label_confusion_(state, events, values, torch.ones(6, dtype=torch.int64).cuda())
    assert events.tolist() == [0, 1, 3, 0]
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
    state, events = counts(2, 1, 2, 2).cuda(), faults.new_events("cuda")
    ops.label_confusion_(state, events, preds, target)
    assert state[0, 0].tolist() == [[2**31, 0], [1, 2]]
    state = counts(2, 4).cuda()
    ops.stat_scores_(state, events, preds, target, num_classes=2)
    assert state.tolist() == [[2**31, 1, 2, 0], [2, 0, 2**31, 1]]
    state = torch.zeros(2, dtype=torch.float64, device="cuda")
    ops.aggregate_(state, events, target)
    assert state.tolist() == [3, size]
    assert events.tolist() == [0, 0, 0, 0]


def test_the_other_gpu_is_used_when_its_tensors_come():
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    preds, target = scores(N, 10).to("cuda:1"), labels(10, N).to("cuda:1")
    state, events = counts(10, 4).to("cuda:1"), faults.new_events("cuda:1")
    with torch.cuda.device(0):
        ops.stat_scores_(state, events, preds, target, num_classes=10)
    expected = counts(10, 4)
    ops.stat_scores_(expected, faults.new_events(), preds.cpu(), target.cpu(), num_classes=10)
    assert torch.equal(state.cpu(), expected)
