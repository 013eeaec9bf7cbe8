"""Symmetric mean absolute percentage error.

Source: Hyndman and Koehler, Another look at measures of forecast accuracy, International Journal of
Forecasting 22 (2006).
"""

from __future__ import annotations

from torch import Tensor

from fastmetrics.functional.regression._errors import batch_sums, mean_as, mean_of, result_dtype
from fastmetrics.ops.error_sums import SYMMETRIC

__all__ = ["symmetric_mean_absolute_percentage_error"]

TERMS = SYMMETRIC


def symmetric_value(sums: Tensor) -> Tensor:
    """Return twice the mean of the term."""
    return 2.0 * mean_of(sums)


def symmetric_mean_absolute_percentage_error(
    preds: Tensor, target: Tensor, *, weight: Tensor | None = None
) -> Tensor:
    """Symmetric mean absolute percentage error.

    ``mean(2 |preds - target| / max(|preds| + |target|, 1.17e-6))``.

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
    >>> from fastmetrics.functional.regression import symmetric_mean_absolute_percentage_error
    >>> preds, target = torch.tensor([3.0, 5.0, 2.5, 7.0]), torch.tensor([2.0, 5.0, 4.0, 8.0])
    >>> symmetric_mean_absolute_percentage_error(preds, target)
    tensor(0.2487)
    """
    sums = batch_sums(preds, target, weight, TERMS)
    return mean_as(sums, result_dtype(preds, target), factor=2.0)
