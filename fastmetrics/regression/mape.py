"""Mean absolute percentage error."""

from __future__ import annotations

from typing import Any

from fastmetrics.ops.error_sums import PERCENTAGE, ErrorSums
from fastmetrics.regression._bases import ErrorSumMetric

__all__ = ["MeanAbsolutePercentageError"]


class MeanAbsolutePercentageError(ErrorSumMetric):
    """Mean absolute percentage error, ``mean(|preds - target| / max(|target|, 1.17e-6))``.

    ``update(preds, target, *, weight=None)`` takes inputs of any real type and one shape, and an
    optional ``weight`` ``[N]`` for the entries of the first axis.

    Raises:
        RuntimeError: the shapes of an update differ.
        ValueError: its inputs are not real, or ``weight`` does not fit.

    >>> import torch
    >>> from fastmetrics.regression import MeanAbsolutePercentageError
    >>> metric = MeanAbsolutePercentageError()
    >>> metric(torch.tensor([3.0, 5.0, 2.5, 7.0]), torch.tensor([2.0, 5.0, 4.0, 8.0]))
    tensor(0.2500)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(ErrorSums(PERCENTAGE), **kwargs)
