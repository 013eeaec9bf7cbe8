"""Mean absolute error.

Source: Hyndman and Koehler, Another look at measures of forecast accuracy, International Journal of
Forecasting 22 (2006).
"""

from __future__ import annotations

from torch import Tensor

from fastmetrics.functional.regression._errors import mean_error
from fastmetrics.ops.error_sums import ABSOLUTE

__all__ = ["mean_absolute_error"]

TERMS = ABSOLUTE


def mean_absolute_error(
    preds: Tensor,
    target: Tensor,
    num_outputs: int = 1,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """Mean absolute error, ``mean(|preds - target|)``.

    Args:
        preds: predictions of any real type, ``[N, ...]``.
        target: true values in the shape of ``preds``.
        num_outputs: 1 takes the mean over all positions, anything else that over the first axis.
        weight: optional ``[N]``, a weight for each entry of the first axis.

    Returns:
        A scalar, or the trailing shape of ``preds`` with several outputs; float64 if an input is
        and float32 otherwise. It carries gradients.

    Raises:
        RuntimeError: the shapes differ.
        ValueError: the inputs are not real, or ``weight`` does not fit.

    >>> import torch
    >>> from fastmetrics.functional.regression import mean_absolute_error
    >>> preds = torch.tensor([[3.0, 5.0], [2.5, 7.0]])
    >>> target = torch.tensor([[2.0, 5.0], [4.0, 8.0]])
    >>> mean_absolute_error(preds, target)
    tensor(0.8750)
    >>> mean_absolute_error(preds, target, num_outputs=2)
    tensor([1.2500, 0.5000])
    """
    return mean_error(preds, target, weight, TERMS, num_outputs)
