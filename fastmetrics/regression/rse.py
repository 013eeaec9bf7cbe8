"""Relative squared error."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.regression.rse import relative_squared_error_formula
from fastmetrics.ops.co_moments import Moments
from fastmetrics.regression._bases import MomentsMetric
from fastmetrics.regression._upstream_states import RELATIVE
from fastmetrics.utilities.checks import check_bool

__all__ = ["RelativeSquaredError"]


class RelativeSquaredError(MomentsMetric):
    """Relative squared error, ``sum((y - f)^2) / sum((y - mean(y))^2)``, the mean over the outputs.

    ``preds`` f and ``target`` y are ``[N]``, or ``[N, D]`` with D outputs. Where the target is
    constant the denominator is the ``eps`` of the value's dtype.

    Args:
        num_outputs: D.
        squared: False for the square root of each output's error.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        ValueError: ``num_outputs`` is no positive integer.

    >>> import torch
    >>> from fastmetrics.regression import RelativeSquaredError
    >>> metric = RelativeSquaredError()
    >>> metric(torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 7.0]))
    tensor(0.0514)
    """

    _upstream = RELATIVE
    higher_is_better = False

    num_outputs = StatisticField[int]()

    def __init__(self, num_outputs: int = 1, squared: bool = True, **kwargs: Any) -> None:
        super().__init__(Moments(num_outputs), **kwargs)
        check_bool("squared", squared)
        self.squared = squared

    def _formula(self, moments: Tensor, wide: bool | None) -> Tensor:
        return relative_squared_error_formula(moments, self.squared, wide)
