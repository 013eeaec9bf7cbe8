"""What only `row_similarity_` must keep."""

from __future__ import annotations

import math

import torch

from fastmetrics.ops.row_similarity import KL, KL_LOG
from tests.ops.laws import native_op


def test_the_logarithm_is_right_over_its_range(native):
    """KL of two numbers is a logarithm: from the smallest to the largest ratio, and around 1."""
    ratio = torch.cat(
        [torch.logspace(-300, 300, 5001, dtype=torch.float64), torch.arange(-50, 51) * 1e-12 + 1]
    )
    p, q = torch.stack((torch.ones_like(ratio), torch.zeros_like(ratio)), -1), ratio
    rows = torch.stack((q, (1 - q).abs() + 1e-3), -1)
    state = torch.zeros(len(q), 1, dtype=torch.float64)
    native_op("row_similarity_")(state, p, rows, KL)
    exact = [math.log((a + b) / a) if a < b * 1e15 else math.log1p(b / a) for a, b in rows.tolist()]
    torch.testing.assert_close(
        state[:, 0], torch.tensor(exact, dtype=torch.float64), rtol=1e-13, atol=1e-15
    )


def test_the_exponential_is_right_over_its_range(native):
    x = torch.cat([torch.linspace(-707, 0, 5001), torch.linspace(-1e-3, 1e-3, 101)]).double()[
        :, None
    ]
    state = torch.zeros(len(x), 1, dtype=torch.float64)
    native_op("row_similarity_")(state, x, x - 1, KL_LOG)  # exp(x) * 1
    expected = [math.exp(number) * (number - (number - 1)) for (number,) in x.tolist()]
    torch.testing.assert_close(
        state[:, 0], torch.tensor(expected, dtype=torch.float64), rtol=1e-14, atol=0
    )
