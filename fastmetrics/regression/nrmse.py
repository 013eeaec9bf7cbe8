"""Root mean squared error in units of the target."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.regression.nrmse import check_nrmse, nrmse_formula
from fastmetrics.ops.co_moments import Moments
from fastmetrics.regression._bases import MomentsMetric
from fastmetrics.regression._upstream_states import NORMALIZED

__all__ = ["NormalizedRootMeanSquaredError"]


class NormalizedRootMeanSquaredError(MomentsMetric):
    """Root mean squared error ``sqrt(mean((y - f)^2))``, divided by a scale of the target.

    ``preds`` f and ``target`` y have any shape for one output, ``[N, D]`` for D. The value is
    infinite or NaN where the scale is zero.

    Args:
        normalization: the scale: ``"mean"``, ``"range"`` (largest less smallest), ``"std"`` (of the
            population) or ``"l2"`` (the root of the sum of squares) of the target.
        num_outputs: D.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        ValueError: other values of the arguments.

    >>> import torch
    >>> from fastmetrics.regression import NormalizedRootMeanSquaredError
    >>> metric = NormalizedRootMeanSquaredError(normalization="range")
    >>> metric(torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([0.0, 1.0, 2.0, 2.0]))
    tensor(0.2500)
    """

    _upstream = NORMALIZED
    higher_is_better = False
    plot_lower_bound = 0.0

    num_outputs = StatisticField[int]()

    def __init__(self, normalization: str = "mean", num_outputs: int = 1, **kwargs: Any) -> None:
        check_nrmse(normalization, num_outputs)
        super().__init__(Moments(num_outputs, flat=num_outputs == 1), **kwargs)
        self.normalization = normalization

    def _formula(self, moments: Tensor, wide: bool | None) -> Tensor:
        return nrmse_formula(moments, self.normalization, wide)
