"""Mean squared logarithmic error.

Source: the user guide of scikit-learn, section on the metrics of regression.
"""

from __future__ import annotations

from fastmetrics.functional.regression._declare import PairFunction, error
from fastmetrics.functional.regression._error_values import mean
from fastmetrics.ops.error_sums import SQUARED_LOG

__all__ = ["mean_squared_log_error"]

mean_squared_log_error: PairFunction = error(
    "mean_squared_log_error",
    SQUARED_LOG,
    mean,
    """Mean squared logarithmic error, ``mean((log(1 + preds) - log(1 + target))^2)``.

    NaN where a number lies below -1.""",
    example="""
    >>> preds, target = torch.tensor([3.0, 5.0, 2.5, 7.0]), torch.tensor([2.0, 5.0, 4.0, 8.0])
    >>> mean_squared_log_error(preds, target)
    tensor(0.0560)
    """,
)
