"""`co_moments_` and `merge_co_moments_` against two passes in extended precision."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._dynamo.testing import CompileCounterWithBackend

from fastmetrics import ops
from fastmetrics.ops import checks, co_moments
from fastmetrics.ops.co_moments import (
    C_XY,
    COUNT,
    M2_D,
    M2_X,
    M2_Y,
    MAX_Y,
    MEAN_D,
    MEAN_X,
    MEAN_Y,
    MIN_Y,
    NUM_COLUMNS,
    WEIGHT,
    WIDE,
)
from tests.ops.cases import LAYOUTS, native_op

ROOT = Path(__file__).parents[2]
DTYPES = sorted(checks.WEIGHT_DTYPES, key=str)
MOMENTS = slice(M2_X, C_XY + 1)


def empty_state(outputs=1):
    return torch.zeros(outputs, NUM_COLUMNS, dtype=torch.float64)


def inputs(seed, *shape, dtype=torch.float32, offset=20.0):
    generator = torch.Generator().manual_seed(seed)
    preds = torch.randn(shape, dtype=torch.float64, generator=generator) * 9 + offset
    target = torch.randn(shape, dtype=torch.float64, generator=generator) * 3 + preds
    return preds.to(dtype), target.to(dtype)


def moments_of(preds, target, weight=None):
    """Two passes per output in 80-bit floats."""
    x, y = (
        np.asarray(t.double().reshape(len(t), -1)).astype(np.longdouble) for t in (preds, target)
    )
    w = np.ones(len(x)) if weight is None else np.asarray(weight.double())
    kept = w != 0
    x, y, w = x[kept], y[kept], w[kept].astype(np.longdouble)[:, None]
    state = np.zeros((x.shape[1], NUM_COLUMNS), dtype=np.longdouble)
    if len(x):
        means = [(w * values).sum(0) / w.sum() for values in (x, y, y - x)]
        dx, dy, dd = (v - mean for v, mean in zip((x, y, y - x), means, strict=True))
        state[:, COUNT], state[:, WEIGHT] = len(x), w.sum()
        state[:, MEAN_X], state[:, MEAN_Y], state[:, MEAN_D] = means
        for column, product in ((M2_X, dx * dx), (M2_Y, dy * dy), (M2_D, dd * dd), (C_XY, dx * dy)):
            state[:, column] = (w * product).sum(0)
        state[:, MIN_Y], state[:, MAX_Y] = y.min(0), y.max(0)
        state[:, WIDE] = torch.float64 in (preds.dtype, target.dtype)
    return torch.from_numpy(state.astype(np.float64))


def check(preds, target, weight=None, rtol=1e-12):
    """Kernel and reference agree with the oracle; the co-moment in units of what bounds it."""
    expected = moments_of(preds, target, weight)
    outputs = len(expected)
    bound = (expected[:, M2_X] * expected[:, M2_Y]).sqrt()
    for op in (ops.co_moments_, co_moments.co_moments_reference):
        state = empty_state(outputs)
        op(state, preds, target, weight)
        error = (state[:, C_XY] - expected[:, C_XY]).abs()
        assert (error <= rtol * bound).all()
        state[:, C_XY] = expected[:, C_XY]
        torch.testing.assert_close(state, expected, rtol=rtol, atol=1e-13)


@pytest.mark.smoke
@pytest.mark.parametrize(
    "shape", [(1,), (2,), (64,), (65, 1), (5000,), (70_001,), (300, 3), (9, 8), (70, 33), (3, 700)]
)
def test_shapes(shape):
    preds, target = inputs(0, *shape)
    check(preds, target)
    weight = torch.rand(shape[0]) * (torch.rand(shape[0]) < 0.7)
    check(preds, target, weight)


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes(dtype):
    """Integers are widened before they are subtracted, float16 does not overflow."""
    for shape in ((67,), (67, 3)):
        preds, target = inputs(1, *shape, dtype=dtype)
        check(preds, target)
        check(preds, target.double())
        check(target.float(), preds, torch.arange(67).to(dtype))
    largest = torch.finfo if dtype.is_floating_point else torch.iinfo
    if dtype != torch.bool and dtype.itemsize < 8:
        top = torch.tensor([0, largest(dtype).max, 16], dtype=torch.float64).to(dtype)
        check(top, top.flip(0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_every_small_float(dtype):
    values = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    values = values[values.isfinite()]
    columns = torch.stack((values, values.flip(0)))  # one row per output: means are the values
    state = empty_state(len(values))
    ops.co_moments_(state, columns[:1], columns[1:])
    assert torch.equal(state[:, MEAN_X], values.double())
    assert torch.equal(state[:, MEAN_Y], values.flip(0).double())


@pytest.mark.smoke
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(40, 6), (300, 70), (9, 300)], ids=str)
def test_layouts(layout, shape):
    preds, target = inputs(2, *shape)
    change = LAYOUTS[layout]
    weight = torch.rand(2 * shape[0])[::2]
    for x, y in ((change(preds), change(target)), (preds, change(target))):
        if x.shape == y.shape:
            check(x, y)
            check(x, y, weight if len(x) == shape[0] else None)
    check(change(preds[:, 0]), change(target[:, 0]))


@pytest.mark.smoke
def test_expanded_inputs():
    preds, target = inputs(3, 50, 1)
    check(preds.expand(50, 4), target.expand(50, 4))
    check(preds[:1].expand(50, 1)[:, 0], target[:, 0])


@pytest.mark.smoke
@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e6 + 0.1, -1e-300, 1e150])
def test_constant_inputs_have_no_variance_at_all(value):
    """Neither in one batch nor over several, and with weights."""
    other, _ = inputs(4, 5000, dtype=torch.float64)
    for op in (ops.co_moments_, co_moments.co_moments_reference):
        for weight in (None, torch.rand(5000)):
            state = empty_state()
            for part in (slice(0, 1), slice(1, 100), slice(100, 5000)):
                constant = torch.full_like(other[part], value)
                op(state, constant, other[part], None if weight is None else weight[part])
            assert state[0, M2_X] == 0 == state[0, C_XY]
            assert state[0, MEAN_X] == value
            op(state := empty_state(), other, other, weight)
            assert state[0, M2_D] == 0 == state[0, MEAN_D]


@pytest.mark.smoke
def test_outliers_anywhere_do_not_spoil_the_rest():
    """Not even one that is the value around which a block is summed."""
    for place in (0, 1, 1000, 2047, 2048, 4999):
        preds, target = inputs(5, 5000, dtype=torch.float64)
        preds[place] = 1e9
        weight = torch.ones(5000)
        check(preds, target)
        check(preds, target, weight)
        weight[place] = 1e-12
        check(preds, target, weight, rtol=1e-9)


@pytest.mark.smoke
def test_close_predictions():
    """Residuals of 1e-9 beside values of 1e6 have exact moments of their own."""
    _, target = inputs(6, 5000, dtype=torch.float64, offset=1e6)
    noise, _ = inputs(7, 5000, dtype=torch.float64)
    check(target + 1e-9 * noise, target)


@pytest.mark.parametrize("shape", [(70_001,), (30_000, 3), (500, 300)], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_same_bits_for_any_number_of_threads(native, shape, weighted):
    preds, target = inputs(8, *shape)
    weight = torch.rand(shape[0]) if weighted else None
    states = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        state = empty_state(shape[1] if len(shape) > 1 else 1)
        ops.co_moments_(state, preds, target, weight)
        states.append(state)
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


@settings(max_examples=25, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 400), max_size=6),
    outputs=st.integers(1, 4),
    offset=st.sampled_from([0.0, 1e6, -1e3]),
    weighted=st.booleans(),
)
@pytest.mark.smoke
def test_any_split_over_batches_and_states(cuts, outputs, offset, weighted):
    preds, target = inputs(9, 400, outputs, dtype=torch.float64, offset=offset)
    weight = torch.rand(400, dtype=torch.float64) if weighted else None
    expected = moments_of(preds, target, weight)
    batches, parts = empty_state(outputs), []
    for first, last in zip([0, *sorted(cuts)], [*sorted(cuts), 400], strict=True):
        rows = slice(first, last)
        part = (preds[rows], target[rows], None if weight is None else weight[rows])
        ops.co_moments_(batches, *part)
        ops.co_moments_(state := empty_state(outputs), *part)
        parts.append(state)
    ranks = empty_state(outputs)
    ops.merge_co_moments_(ranks, torch.stack(parts))
    reference = empty_state(outputs)
    co_moments.merge_co_moments_reference(reference, torch.stack(parts))
    torch.testing.assert_close(ranks, reference, rtol=1e-13, atol=1e-13)
    for state in (batches, ranks):
        torch.testing.assert_close(state, expected, rtol=1e-9, atol=1e-7)


@pytest.mark.smoke
def test_parts_without_data_change_nothing():
    preds, target = inputs(10, 30, 2)
    state = moments_of(preds, target)
    before = state.clone()
    ops.co_moments_(state, preds[:0], target[:0])
    ops.co_moments_(state, preds, target, torch.zeros(30))
    ops.co_moments_(state, preds * torch.nan, target, torch.zeros(30))
    ops.merge_co_moments_(state, torch.zeros(3, 2, NUM_COLUMNS, dtype=torch.float64))
    ops.merge_co_moments_(state, torch.zeros(0, 2, NUM_COLUMNS, dtype=torch.float64))
    assert torch.equal(state, before)
    ops.merge_co_moments_(merged := empty_state(2), state.unsqueeze(0))
    assert torch.equal(merged, before)
    ops.co_moments_(empty_state(0), preds[:, :0], target[:, :0])


@pytest.mark.smoke
def test_samples_of_weight_zero_are_left_out_whatever_they_hold():
    preds, target = inputs(11, 5000, 3)
    weight = torch.rand(5000)
    weight[::4] = 0
    preds[::4], target[::8] = torch.nan, torch.inf
    check(preds, target, weight)
    check(preds[:, 0], target[:, 0], weight)


@pytest.mark.smoke
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_nan_and_infinities_stay_in_their_output(value):
    for op in (ops.co_moments_, co_moments.co_moments_reference):
        preds, target = inputs(12, 100, 3)
        preds[40, 1] = value
        state = empty_state(3)
        op(state, preds, target, None)
        op(state, *inputs(13, 100, 3), None)
        assert state[1, [MEAN_X, M2_X, M2_D, C_XY]].isnan().sum() >= 3
        assert not state[[0, 2]].isnan().any()
        assert not state[1, [MEAN_Y, M2_Y, MIN_Y, MAX_Y]].isnan().any()


@pytest.mark.smoke
@pytest.mark.parametrize("start", [2.0**24, 2.0**31, 2.0**53 - 64])
def test_counts_go_on(start):
    state = empty_state()
    state[0, [COUNT, WEIGHT]] = start
    ops.co_moments_(state, *inputs(14, 64))
    assert state[0, [COUNT, WEIGHT]].tolist() == [start + 64] * 2


@pytest.mark.smoke
@pytest.mark.parametrize("op", [ops.co_moments_, co_moments.co_moments_reference])
def test_wide_inputs_are_remembered(op):
    state = empty_state(2)
    op(state, *inputs(15, 5, 2), None)
    assert state[:, WIDE].tolist() == [0, 0]
    op(state, inputs(15, 5, 2)[0], inputs(15, 5, 2, dtype=torch.float64)[1], None)
    op(state, *inputs(15, 5, 2), None)
    assert state[:, WIDE].tolist() == [1, 1]


BAD_CALLS = {
    "shapes": (RuntimeError, "same shape, got (5,) and (6,)", (5,), (6,), None, {}),
    "outputs": (ValueError, "shape (N,) or (N, 1), got (5, 2)", (5, 2), (5, 2), None, {}),
    "scalars": (ValueError, "must have shape", (), (), None, {}),
    "axes": (ValueError, "must have shape", (5, 1, 1), (5, 1, 1), None, {}),
    "weight": (ValueError, "`weight` must have one entry per sample", (5,), (5,), (4,), {}),
    "preds": (ValueError, "`preds` must be a real tensor", (5,), (5,), None, {0: torch.complex64}),
    "target": (ValueError, "`target` must be a real tensor", (5,), (5,), None, {1: torch.cfloat}),
    "weights": (ValueError, "`weight` must be a real", (5,), (5,), (5,), {2: torch.complex64}),
}


@pytest.mark.smoke
@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_input_leaves_the_state_alone(name):
    error, text, *shapes, dtypes = BAD_CALLS[name]
    tensors = [
        None if shape is None else torch.ones(shape, dtype=dtypes.get(i, torch.float32))
        for i, shape in enumerate(shapes)
    ]
    state = moments_of(*inputs(16, 7))
    before = state.clone()
    with pytest.raises(error) as caught:
        ops.co_moments_(state, *tensors)
    assert text in str(caught.value)
    assert torch.equal(state, before)


@pytest.mark.smoke
def test_bad_states():
    preds, target = inputs(17, 4)
    for state in (empty_state().float(), torch.zeros(1, 6, dtype=torch.float64), torch.zeros(12)):
        with pytest.raises(ValueError, match="the metric state must be float64 of shape"):
            ops.co_moments_(state, preds, target)
    for others in (empty_state(), torch.zeros(1, 2, NUM_COLUMNS), torch.zeros(1, 1, NUM_COLUMNS)):
        with pytest.raises(ValueError, match="`others` must be float64 of shape"):
            ops.merge_co_moments_(empty_state(), others)


@pytest.mark.smoke
@pytest.mark.parametrize("shape", [(6,), (6, 3)], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_opcheck(shape, weighted):
    preds, target = inputs(18, *shape)
    weight = torch.rand(6) if weighted else None
    state = empty_state(shape[1] if len(shape) > 1 else 1)
    arguments = (state, preds.requires_grad_(), target, weight)
    torch.library.opcheck(native_op("co_moments_"), arguments)
    torch.library.opcheck(native_op("merge_co_moments_"), (state, torch.stack((state, state))))


def test_one_graph():
    counter = CompileCounterWithBackend("aot_eager")

    def step(state, preds, target):
        ops.co_moments_(state, preds * 1, target)
        return state.sum()

    compiled = torch.compile(step, backend=counter, fullgraph=True)
    state, expected = empty_state(2), empty_state(2)
    for seed in range(3):
        batch = inputs(seed, 12, 2)
        assert torch.equal(compiled(state, *batch), step(expected, *batch))
    assert counter.frame_count == 1


@pytest.mark.parametrize("level", ["default", "avx2"])
def test_other_instruction_sets(native, level):
    code = """
from tests.ops import test_co_moments as tests
for shape in ((5000,), (300, 3), (70, 33)):
    tests.test_shapes(shape)
for dtype in tests.DTYPES:
    tests.test_dtypes(dtype)
tests.test_constant_inputs_have_no_variance_at_all(0.1)
tests.test_samples_of_weight_zero_are_left_out_whatever_they_hold()
"""
    environment = os.environ | {"FASTMETRICS_SIMD": level}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
