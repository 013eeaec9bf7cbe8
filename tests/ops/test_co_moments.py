"""What only `co_moments_` and `merge_co_moments_` must keep."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmetrics import ops
from fastmetrics.ops import co_moments
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
    plain_moments,
)
from tests.ops.co_moments import inputs, moments_of


def empty_state(outputs=1):
    return torch.zeros(outputs, NUM_COLUMNS, dtype=torch.float64)


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
            state = plain_moments(state)
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
        light = torch.ones(5000)
        light[place] = 1e-12
        for weight, rtol in ((None, 1e-12), (torch.ones(5000), 1e-12), (light, 1e-9)):
            expected = moments_of(preds, target, weight)
            bound = (expected[:, M2_X] * expected[:, M2_Y]).sqrt()
            for op in (ops.co_moments_, co_moments.co_moments_reference):
                op(state := empty_state(), preds, target, weight)
                assert ((state[:, C_XY] - expected[:, C_XY]).abs() <= rtol * bound).all()
                state[:, C_XY] = expected[:, C_XY]
                state = plain_moments(state)
                torch.testing.assert_close(state, expected, rtol=rtol, atol=1e-13)


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
    ranks, reference = plain_moments(ranks), plain_moments(reference)
    torch.testing.assert_close(ranks, reference, rtol=1e-13, atol=1e-13)
    for state in (plain_moments(batches), ranks):
        torch.testing.assert_close(state, expected, rtol=1e-12, atol=1e-12)


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
