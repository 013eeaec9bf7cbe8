"""What only `tensor_stats_` must keep."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmetrics.ops.tensor_stats import NUM_COLUMNS
from tests.ops.laws import check, implementations, native_op, results
from tests.ops.tensor_stats import normal, of


@pytest.mark.smoke
@pytest.mark.parametrize("start", [2.0**24, 2.0**31, 2.0**52])
def test_counting_goes_on(start):
    for implementation in implementations("tensor_stats_").values():
        state = torch.full((1, NUM_COLUMNS), start, dtype=torch.float64)
        implementation(state, [torch.tensor([1.0, math.nan, math.inf, 1.0])])
        added = [1, 2, 2, 2, 1 - start, 0, 1, 1]
        assert state[0].tolist() == [start + x for x in added]


def test_extreme_values():
    for implementation in implementations("tensor_stats_").values():
        state = torch.zeros(1, NUM_COLUMNS, dtype=torch.float64)
        implementation(state, [torch.tensor([1e200, 2.0], dtype=torch.float64)])
        assert state[0].tolist() == [1, 2, 1e200, math.inf, 2, 1e200, 0, 0]


def test_a_constant_needs_no_luck(native):
    """1e7 times 0.1: float32 sums would be off in the third digit."""
    value = torch.full((10_000_000,), 0.1)
    state = torch.zeros(1, NUM_COLUMNS, dtype=torch.float64)
    native_op("tensor_stats_")(state, [value])
    exact = float(value[0])
    assert state[0, 2].item() == pytest.approx(1e7 * exact, rel=1e-13)
    assert state[0, 3].item() == pytest.approx(1e7 * exact**2, rel=1e-13)


def test_many_tensors_across_parts(native):
    """Parts begin and end inside of tensors."""
    sizes = np.random.default_rng(0).integers(0, 9000, 150).tolist()
    check(of([normal(size, seed=i) for i, size in enumerate(sizes)]))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_values_in_any_split(data):
    element = st.sampled_from([math.nan, math.inf, -math.inf]) | st.floats(
        -(2.0**90), 2.0**90, width=32
    )
    values = data.draw(st.lists(element, max_size=60))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=3)))
    borders, state = [0, *cuts, len(values)], None
    for first, last in itertools.pairwise(borders):
        call = of([torch.tensor(values[first:last])], state)
        check(call)
        state = results(call, implementations(call.op)["reference"])["state"]
