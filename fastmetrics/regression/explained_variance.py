"""Explained variance, which R2 is for predictions without a bias."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastmetrics.functional.regression._moments import MULTIOUTPUTS
from fastmetrics.functional.regression.explained_variance import explained_variance_formula
from fastmetrics.regression._moments import MomentsMetric
from fastmetrics.utilities.checks import check_choice

__all__ = ["ExplainedVariance"]


class ExplainedVariance(MomentsMetric):
    """Explained variance, ``1 - var(y - f) / var(y)``, at most 1.

    ``preds`` f and ``target`` y are ``[N]`` or ``[N, D]``, or ``[N, ...]`` with as many outputs as
    a sample has numbers; the first batch decides about D. A constant target gives 1 for
    predictions that err by a constant, else 0.

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

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    _any_shape = True

    def __init__(self, multioutput: str = "uniform_average", **kwargs: Any) -> None:
        check_choice("multioutput", multioutput, MULTIOUTPUTS)
        super().__init__(None, **kwargs)
        self.multioutput = multioutput

    def compute(self) -> Tensor:
        """Return the value, a scalar, or ``[D]`` for ``"raw_values"``."""
        return explained_variance_formula(self._final(), self.multioutput, self._wide)
