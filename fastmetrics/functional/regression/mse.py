"""Mean squared error.

Source: Lehmann and Casella, Theory of Point Estimation, 2nd edition, Springer 1998.
"""

from __future__ import annotations

from torch import Tensor

from fastmetrics.functional._public import public
from fastmetrics.functional.regression._error_values import (
    column_errors,
    error_value,
    mean,
    root_mean,
)
from fastmetrics.ops.error_sums import SQUARED, ErrorSums
from fastmetrics.utilities.checks import check_bool

__all__ = ["mean_squared_error"]

_SQUARES = ErrorSums(SQUARED)


@public
def mean_squared_error(
    preds: Tensor,
    target: Tensor,
    squared: bool = True,
    num_outputs: int = 1,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """Mean squared error, ``mean((preds - target)^2)``.

    Args:
        preds: predictions of any real type, ``[N, ...]``.
        target: true values in the shape of ``preds``.
        squared: False returns the root.
        num_outputs: 1 takes the mean over all positions, anything else that over the first axis.
        weight: optional ``[N]``, a weight for each entry of the first axis.

    Returns:
        A scalar, or the trailing shape of ``preds`` with several outputs; float64 if an input is
        and float32 otherwise. It carries gradients.

    Raises:
        RuntimeError: the shapes differ.
        ValueError: the inputs are not real, or ``weight`` does not fit.

    >>> import torch
    >>> from fastmetrics.functional.regression import mean_squared_error
    >>> preds = torch.tensor([[3.0, 5.0], [2.5, 7.0]])
    >>> target = torch.tensor([[2.0, 5.0], [4.0, 8.0]])
    >>> mean_squared_error(preds, target)
    tensor(1.0625)
    >>> mean_squared_error(preds, target, num_outputs=2)
    tensor([1.6250, 0.5000])
    """
    check_bool("squared", squared)
    formula = mean if squared else root_mean
    if num_outputs == 1:
        return error_value("mean_squared_error", _SQUARES, formula, preds, target, weight)
    return column_errors("mean_squared_error", SQUARED, formula, preds, target, weight)
