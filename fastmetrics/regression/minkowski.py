"""Minkowski distance."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastmetrics.functional.regression._errors import batch_sums
from fastmetrics.functional.regression.minkowski import TERMS, check_exponent, distance_value
from fastmetrics.ops import error_sums_
from fastmetrics.regression._errors import ErrorSumMetric

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

    def __init__(self, p: float, **kwargs: Any) -> None:
        check_exponent(p)
        super().__init__(TERMS, p=p, **kwargs)
        self.p = p

    def update(self, preds: Tensor, targets: Tensor) -> None:  # type: ignore[override]  # upstream's
        """Add one batch."""
        error_sums_(self.sums, preds, targets, None, TERMS, *self._exponents)

    def _with_grad(self, preds: Tensor, targets: Tensor) -> Tensor:  # type: ignore[override]
        return batch_sums(preds, targets, None, TERMS, p=self.p)

    def _value(self, sums: Tensor) -> Tensor:
        return distance_value(sums, self.p)
