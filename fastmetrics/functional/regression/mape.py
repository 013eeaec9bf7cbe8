"""Mean absolute percentage error.

Source: Hyndman and Koehler, Another look at measures of forecast accuracy, International Journal of
Forecasting 22 (2006).
"""

from __future__ import annotations

from torch import Tensor

from fastmetrics.functional.regression._errors import mean_error
from fastmetrics.ops.error_sums import PERCENTAGE

__all__ = ["mean_absolute_percentage_error"]

TERMS = PERCENTAGE


def mean_absolute_percentage_error(
    preds: Tensor, target: Tensor, *, weight: Tensor | None = None
) -> Tensor:
    """Mean absolute percentage error, ``mean(|preds - target| / max(|target|, 1.17e-6))``.

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
    >>> from fastmetrics.functional.regression import mean_absolute_percentage_error
    >>> preds, target = torch.tensor([3.0, 5.0, 2.5, 7.0]), torch.tensor([2.0, 5.0, 4.0, 8.0])
    >>> mean_absolute_percentage_error(preds, target)
    tensor(0.2500)
    """
    return mean_error(preds, target, weight, TERMS)
