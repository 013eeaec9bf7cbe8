"""Minkowski distance."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastmetrics.core.statistic import counts_only
from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.regression._error_values import N
from fastmetrics.functional.regression.minkowski import distance
from fastmetrics.ops.error_sums import POWER, ErrorSums
from fastmetrics.regression._bases import ErrorSumMetric

__all__ = ["MinkowskiDistance"]


class MinkowskiDistance(ErrorSumMetric):
    """Minkowski distance, ``sum(|preds - targets|^p)^(1 / p)``, over all updates.

    ``update(preds, targets)`` takes inputs of any real type and one shape.

    Args:
        p: the exponent, at least 1.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        TorchMetricsUserError: ``p`` is not a number of at least 1.
        RuntimeError: the shapes of an update differ.
        ValueError: its inputs are not real.

    >>> import torch
    >>> from fastmetrics.regression import MinkowskiDistance
    >>> metric = MinkowskiDistance(p=3)
    >>> metric(torch.tensor([3.0, 5.0, 2.5, 7.0]), torch.tensor([2.0, 5.0, 4.0, 8.0]))
    tensor(1.7517)
    """

    p = StatisticField[float]()
    _inputs = ("preds", "targets")

    def __init__(self, p: float, **kwargs: Any) -> None:
        super().__init__(ErrorSums(POWER, p=p), **kwargs)

    @counts_only
    def update(self, preds: Tensor, targets: Tensor) -> None:  # type: ignore[override]  # upstream's
        """Add one batch."""
        self.statistic.add(self._states, preds, targets)

    def _formula(self, *columns: N) -> N:
        return distance(*columns, p=self.p)
