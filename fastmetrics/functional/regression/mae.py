"""Mean absolute error.

Source: Hyndman and Koehler, Another look at measures of forecast accuracy, International Journal of
Forecasting 22 (2006).
"""

from __future__ import annotations

from torch import Tensor

from fastmetrics.functional._public import public
from fastmetrics.functional.regression._error_values import column_errors, error_value, mean
from fastmetrics.ops.error_sums import ABSOLUTE, ErrorSums

__all__ = ["mean_absolute_error"]

_DISTANCES = ErrorSums(ABSOLUTE)


@public
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
    if num_outputs == 1:
        return error_value("mean_absolute_error", _DISTANCES, mean, preds, target, weight)
    return column_errors("mean_absolute_error", ABSOLUTE, mean, preds, target, weight)
