"""Mean squared logarithmic error.

Source: the user guide of scikit-learn, section on the metrics of regression.
"""

from __future__ import annotations

from torch import Tensor

from fastmetrics.functional.regression._errors import mean_error
from fastmetrics.ops.error_sums import SQUARED_LOG

__all__ = ["mean_squared_log_error"]

TERMS = SQUARED_LOG


def mean_squared_log_error(
    preds: Tensor, target: Tensor, *, weight: Tensor | None = None
) -> Tensor:
    """Mean squared logarithmic error, ``mean((log(1 + preds) - log(1 + target))^2)``.

    NaN where a number lies below -1.

    Args:
        preds: predictions, any real type and shape.
        target: true values in the shape of ``preds``.
        weight: optional ``[N]``, a weight for each entry of the first axis.

    Returns:
        A scalar, float64 if an input is and float32 otherwise; it carries gradients.

    Raises:
        RuntimeError: the shapes differ.
        ValueError: the inputs are not real, or ``weight`` does not fit.

    >>> import torch
    >>> from fastmetrics.functional.regression import mean_squared_log_error
    >>> preds, target = torch.tensor([3.0, 5.0, 2.5, 7.0]), torch.tensor([2.0, 5.0, 4.0, 8.0])
    >>> mean_squared_log_error(preds, target)
    tensor(0.0560)
    """
    return mean_error(preds, target, weight, TERMS)
