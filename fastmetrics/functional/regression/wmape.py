"""Weighted mean absolute percentage error.

Source: Kolassa and Schütz, Advantages of the MAD/mean ratio over the MAPE, Foresight 6 (2007).
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastmetrics.functional.regression._errors import batch_sums, is_readable, result_dtype
from fastmetrics.ops.error_sums import ABSOLUTE, EPSILON, MAGNITUDE

__all__ = ["weighted_mean_absolute_percentage_error"]

TERMS = ABSOLUTE | MAGNITUDE


def scaled_value(sums: Tensor) -> Tensor:
    """Return the sum of the errors over that of the targets."""
    errors, sizes, _ = sums.unbind(-1)
    return errors / sizes.clamp_min(EPSILON)


def weighted_mean_absolute_percentage_error(
    preds: Tensor, target: Tensor, *, weight: Tensor | None = None
) -> Tensor:
    """Weighted mean absolute percentage error.

    ``sum(|preds - target|) / max(sum(|target|), 1.17e-6)``.

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
    >>> from fastmetrics.functional.regression import weighted_mean_absolute_percentage_error
    >>> preds, target = torch.tensor([3.0, 5.0, 2.5, 7.0]), torch.tensor([2.0, 5.0, 4.0, 8.0])
    >>> weighted_mean_absolute_percentage_error(preds, target)
    tensor(0.1842)
    """
    sums = batch_sums(preds, target, weight, TERMS)
    dtype = result_dtype(preds, target)
    if is_readable(sums):
        errors, sizes, _ = sums.tolist()[0]
        # In this order NaN stays NaN.
        return torch.full((), errors / max(sizes, EPSILON), dtype=dtype)
    return scaled_value(sums[0]).to(dtype)
