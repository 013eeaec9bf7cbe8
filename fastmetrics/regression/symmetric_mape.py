"""Symmetric mean absolute percentage error."""

from __future__ import annotations

from typing import Any

from fastmetrics.functional.regression._error_values import N
from fastmetrics.functional.regression.symmetric_mape import twice_the_mean
from fastmetrics.ops.error_sums import SYMMETRIC, ErrorSums
from fastmetrics.regression._bases import ErrorSumMetric

__all__ = ["SymmetricMeanAbsolutePercentageError"]


class SymmetricMeanAbsolutePercentageError(ErrorSumMetric):
    """Symmetric mean absolute percentage error.

    ``mean(2 |preds - target| / max(|preds| + |target|, 1.17e-6))``.

    ``update(preds, target, *, weight=None)`` takes inputs of any real type and one shape, and an
    optional ``weight`` ``[N]`` for the entries of the first axis.

    Raises:
        RuntimeError: the shapes of an update differ.
        ValueError: its inputs are not real, or ``weight`` does not fit.

    >>> import torch
    >>> from fastmetrics.regression import SymmetricMeanAbsolutePercentageError
    >>> metric = SymmetricMeanAbsolutePercentageError()
    >>> metric(torch.tensor([3.0, 5.0, 2.5, 7.0]), torch.tensor([2.0, 5.0, 4.0, 8.0]))
    tensor(0.2487)
    """

    plot_upper_bound = 2.0

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(ErrorSums(SYMMETRIC), **kwargs)

    def _formula(self, *columns: N) -> N:
        return twice_the_mean(*columns)
