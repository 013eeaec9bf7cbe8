"""Weighted mean absolute percentage error.

Source: Kolassa and Schütz, Advantages of the MAD/mean ratio over the MAPE, Foresight 6 (2007).
"""

from __future__ import annotations

from torch import Tensor

from fastmetrics.functional.regression._declare import PairFunction, error
from fastmetrics.functional.regression._error_values import N
from fastmetrics.ops.error_sums import ABSOLUTE, EPSILON, MAGNITUDE

__all__ = ["weighted_mean_absolute_percentage_error"]


def share_of_targets(error: N, magnitude: N, weight: N) -> N:
    """Return the sum of the errors over that of the targets; the weights are in both."""
    if isinstance(magnitude, Tensor):
        return error / magnitude.clamp_min(EPSILON)
    return error / max(magnitude, EPSILON)  # in this order NaN stays NaN


weighted_mean_absolute_percentage_error: PairFunction = error(
    "weighted_mean_absolute_percentage_error",
    ABSOLUTE | MAGNITUDE,
    share_of_targets,
    """Weighted mean absolute percentage error.

    ``sum(|preds - target|) / max(sum(|target|), 1.17e-6)``.""",
    example="""
    >>> preds, target = torch.tensor([3.0, 5.0, 2.5, 7.0]), torch.tensor([2.0, 5.0, 4.0, 8.0])
    >>> weighted_mean_absolute_percentage_error(preds, target)
    tensor(0.1842)
    """,
)
