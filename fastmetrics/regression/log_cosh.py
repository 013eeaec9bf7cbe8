"""Logarithm of the hyperbolic cosine of the error."""

from __future__ import annotations

from typing import Any

from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.ops.error_sums import LOG_COSH, ErrorSums
from fastmetrics.regression._bases import ErrorSumMetric

__all__ = ["LogCoshError"]


class LogCoshError(ErrorSumMetric):
    """Mean of the log-cosh of the error, ``mean(log(cosh(preds - target)))``.

    ``update(preds, target, *, weight=None)`` takes inputs of any real type, ``[N]`` or
    ``[N, num_outputs]``, and an optional ``weight`` ``[N]``.

    Args:
        num_outputs: the number of outputs.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: ``num_outputs`` is not a positive integer; the inputs of an update are not real,
            or do not fit ``num_outputs``.
        RuntimeError: the shapes of an update differ.

    >>> import torch
    >>> from fastmetrics.regression import LogCoshError
    >>> metric = LogCoshError()
    >>> metric(torch.tensor([3.0, 5.0, 2.5, 7.0]), torch.tensor([2.0, 5.0, 4.0, 8.0]))
    tensor(0.4308)
    """

    num_outputs = StatisticField[int]()

    def __init__(self, num_outputs: int = 1, **kwargs: Any) -> None:
        super().__init__(ErrorSums(LOG_COSH, num_outputs, columns_only=True), **kwargs)
