"""What only `aggregate_` and `aggregate_value_` must keep."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fastmetrics.ops.aggregate import DROP, SUM
from tests.ops.inputs import some_events
from tests.ops.laws import implementations, native_op


@pytest.mark.smoke
@pytest.mark.parametrize("start", [2.0**24, 2.0**31, 2.0**52])
def test_counting_goes_on(start):
    for implementation in implementations("aggregate_").values():
        state = torch.full((2,), start, dtype=torch.float64)
        implementation(state, some_events(), torch.ones(1001), None, SUM, DROP, 0.0)
        assert state.tolist() == [start + 1001] * 2
    for implementation in implementations("aggregate_value_").values():
        state = torch.full((2,), start, dtype=torch.float64)
        for _ in range(5):
            implementation(state, 1.0, 1.0, SUM)
        assert state.tolist() == [start + 5] * 2


def test_sums_are_close_to_exact_ones(native):
    """1e6 numbers of mixed sizes, in any split: float64 rounding and no more."""
    value = torch.randn(1_000_003).exp() * torch.where(torch.rand(1_000_003) < 0.5, -1.0, 1.0)
    exact = math.fsum(value.tolist())
    scale = float(value.double().abs().sum())
    rng = np.random.default_rng(0)
    for parts in (1, 3, 50):
        state, events = torch.zeros(2, dtype=torch.float64), some_events()
        cuts = sorted(rng.integers(0, len(value), parts - 1).tolist())
        for part in np.split(value.numpy(), cuts):
            native_op("aggregate_")(state, events, torch.from_numpy(part), None, SUM, DROP, 0.0)
        assert abs(state[0].item() - exact) < 1e-15 * scale
        assert state[1].item() == len(value)
