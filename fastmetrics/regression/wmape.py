"""Weighted mean absolute percentage error."""

from __future__ import annotations

from typing import Any

from fastmetrics.functional.regression._error_values import N
from fastmetrics.functional.regression.wmape import share_of_targets
from fastmetrics.ops.error_sums import ABSOLUTE, MAGNITUDE, ErrorSums
from fastmetrics.regression._bases import ErrorSumMetric

__all__ = ["WeightedMeanAbsolutePercentageError"]


class WeightedMeanAbsolutePercentageError(ErrorSumMetric):
    """Weighted mean absolute percentage error.

    ``sum(|preds - target|) / max(sum(|target|), 1.17e-6)``.

    ``update(preds, target, *, weight=None)`` takes inputs of any real type and one shape, and an
    optional ``weight`` ``[N]`` for the entries of the first axis.

    Raises:
        RuntimeError: the shapes of an update differ.
        ValueError: its inputs are not real, or ``weight`` does not fit.

    >>> import torch
    >>> from fastmetrics.regression import WeightedMeanAbsolutePercentageError
    >>> metric = WeightedMeanAbsolutePercentageError()
    >>> metric(torch.tensor([3.0, 5.0, 2.5, 7.0]), torch.tensor([2.0, 5.0, 4.0, 8.0]))
    tensor(0.1842)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(ErrorSums(ABSOLUTE | MAGNITUDE), **kwargs)

    def _formula(self, *columns: N) -> N:
        return share_of_targets(*columns)
