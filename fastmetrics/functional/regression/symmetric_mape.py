"""Symmetric mean absolute percentage error.

Source: Hyndman and Koehler, Another look at measures of forecast accuracy, International Journal of
Forecasting 22 (2006).
"""

from __future__ import annotations

from fastmetrics.functional.regression._declare import PairFunction, error
from fastmetrics.functional.regression._error_values import N
from fastmetrics.ops.error_sums import SYMMETRIC

__all__ = ["symmetric_mean_absolute_percentage_error"]


def twice_the_mean(error: N, weight: N) -> N:
    """Return twice the mean of the term."""
    return 2.0 * (error / weight)


symmetric_mean_absolute_percentage_error: PairFunction = error(
    "symmetric_mean_absolute_percentage_error",
    SYMMETRIC,
    twice_the_mean,
    """Symmetric mean absolute percentage error.

    ``mean(2 |preds - target| / max(|preds| + |target|, 1.17e-6))``.""",
    example="""
    >>> preds, target = torch.tensor([3.0, 5.0, 2.5, 7.0]), torch.tensor([2.0, 5.0, 4.0, 8.0])
    >>> symmetric_mean_absolute_percentage_error(preds, target)
    tensor(0.2487)
    """,
)
