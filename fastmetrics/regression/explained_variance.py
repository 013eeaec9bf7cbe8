"""Explained variance, which R2 is for predictions without a bias."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastmetrics.functional.regression._moment_values import MULTIOUTPUTS
from fastmetrics.functional.regression.explained_variance import explained_variance_formula
from fastmetrics.ops.co_moments import Moments
from fastmetrics.regression._bases import MomentsMetric
from fastmetrics.regression._upstream_states import EXPLAINED
from fastmetrics.utilities.checks import check_choice

__all__ = ["ExplainedVariance"]


class ExplainedVariance(MomentsMetric):
    """Explained variance, ``1 - var(y - f) / var(y)``, at most 1.

    ``preds`` f and ``target`` y are ``[N]`` or ``[N, D]``, or ``[N, ...]`` with as many outputs as
    a sample has numbers; the first batch decides about D. A constant target gives 1 for
    predictions that err by a constant, else 0; fewer than two samples give NaN.

    Args:
        multioutput: ``"uniform_average"`` over the outputs, ``"variance_weighted"``, or
            ``"raw_values"`` ``[D]``.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        ValueError: another ``multioutput``.

    >>> import torch
    >>> from fastmetrics.regression import ExplainedVariance
    >>> metric = ExplainedVariance()
    >>> metric(torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 7.0]))
    tensor(0.9572)
    """

    _upstream = EXPLAINED
    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, multioutput: str = "uniform_average", **kwargs: Any) -> None:
        check_choice("multioutput", multioutput, MULTIOUTPUTS)
        super().__init__(Moments(adapts=True, flattens=True), **kwargs)
        self.multioutput = multioutput

    def _formula(self, moments: Tensor, wide: bool | None) -> Tensor:
        return explained_variance_formula(moments, self.multioutput, wide)
