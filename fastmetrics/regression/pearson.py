"""Pearson's correlation coefficient."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.regression.pearson import pearson_formula
from fastmetrics.ops.co_moments import Moments
from fastmetrics.regression._bases import MomentsMetric
from fastmetrics.regression._upstream_states import CORRELATION, DEVIATIONS

__all__ = ["PearsonCorrCoef"]


class PearsonCorrCoef(MomentsMetric):
    """Pearson's correlation, ``cov(x, y) / (std(x) std(y))``, in [-1, 1].

    ``preds`` x and ``target`` y are ``[N]``, or ``[N, D]`` with D outputs. NaN, with a warning,
    where predictions or targets are constant.

    Args:
        num_outputs: D.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        ValueError: ``num_outputs`` is no positive integer.

    >>> import torch
    >>> from fastmetrics.regression import PearsonCorrCoef
    >>> metric = PearsonCorrCoef()
    >>> metric(torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 7.0]))
    tensor(0.9849)
    """

    _upstream = CORRELATION
    _stand_ins = DEVIATIONS
    higher_is_better: bool | None = None  # both -1 and 1 are best
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0

    num_outputs = StatisticField[int]()

    def __init__(self, num_outputs: int = 1, **kwargs: Any) -> None:
        super().__init__(Moments(num_outputs), **kwargs)

    def _formula(self, moments: Tensor, wide: bool | None) -> Tensor:
        return pearson_formula(moments, wide)
