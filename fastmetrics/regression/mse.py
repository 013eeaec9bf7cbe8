"""Mean squared error."""

from __future__ import annotations

from typing import Any

from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.regression._error_values import N, mean, root_mean
from fastmetrics.ops.error_sums import SQUARED, ErrorSums
from fastmetrics.regression._bases import ErrorSumMetric
from fastmetrics.utilities.checks import check_bool

__all__ = ["MeanSquaredError"]


class MeanSquaredError(ErrorSumMetric):
    """Mean squared error, ``mean((preds - target)^2)``, or its root.

    ``update(preds, target, *, weight=None)`` takes inputs of any real type and one shape, with
    several outputs ``[N, num_outputs]``, and an optional ``weight`` ``[N]``.

    Args:
        squared: False returns the root.
        num_outputs: 1 takes the mean over all positions, more that of each column.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: ``squared`` is not a bool or ``num_outputs`` not a positive integer; the inputs
            of an update are not real, or do not fit ``num_outputs``.
        RuntimeError: the shapes of an update differ.

    >>> import torch
    >>> from fastmetrics.regression import MeanSquaredError
    >>> metric = MeanSquaredError(num_outputs=2)
    >>> metric(torch.tensor([[3.0, 5.0], [2.5, 7.0]]), torch.tensor([[2.0, 5.0], [4.0, 8.0]]))
    tensor([1.6250, 0.5000])
    """

    num_outputs = StatisticField[int]()

    def __init__(self, squared: bool = True, num_outputs: int = 1, **kwargs: Any) -> None:
        check_bool("squared", squared)
        super().__init__(ErrorSums(SQUARED, num_outputs), **kwargs)
        self.squared = squared

    def _formula(self, *columns: N) -> N:
        return mean(*columns) if self.squared else root_mean(*columns)
