"""Mean absolute percentage error.

Source: Hyndman and Koehler, Another look at measures of forecast accuracy, International Journal of
Forecasting 22 (2006).
"""

from __future__ import annotations

from fastmetrics.functional.regression._declare import PairFunction, error
from fastmetrics.functional.regression._error_values import mean
from fastmetrics.ops.error_sums import PERCENTAGE

__all__ = ["mean_absolute_percentage_error"]

mean_absolute_percentage_error: PairFunction = error(
    "mean_absolute_percentage_error",
    PERCENTAGE,
    mean,
    """Mean absolute percentage error, ``mean(|preds - target| / max(|target|, 1.17e-6))``.""",
    example="""
    >>> preds, target = torch.tensor([3.0, 5.0, 2.5, 7.0]), torch.tensor([2.0, 5.0, 4.0, 8.0])
    >>> mean_absolute_percentage_error(preds, target)
    tensor(0.2500)
    """,
)
