"""Spearman's rank correlation coefficient."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastmetrics.functional.regression.spearman import rank_correlation
from fastmetrics.ops.ranks import Samples
from fastmetrics.regression._bases import SampleMetric

__all__ = ["SpearmanCorrCoef"]


class SpearmanCorrCoef(SampleMetric):
    """Spearman's correlation, Pearson's correlation of the ranks, in [-1, 1].

    ``cov(rank_x, rank_y) / (sd(rank_x) * sd(rank_y))``, ties taking the mean of their ranks.

    ``preds`` and ``target`` are ``[N]``, or ``[N, D]`` with D outputs, of any float dtype. All of
    them are kept as they came, so memory grows with their number. Equal numbers share the mean of
    their ranks. 0 where predictions or targets are constant, NaN where one of them is NaN.

    Args:
        num_outputs: D.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        ValueError: ``num_outputs`` is no positive integer; ``compute`` without any update.

    >>> import torch
    >>> from fastmetrics.regression import SpearmanCorrCoef
    >>> metric = SpearmanCorrCoef()
    >>> metric(torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 1.0]))
    tensor(0.4000)
    """

    higher_is_better = True

    def __init__(self, num_outputs: int = 1, **kwargs: Any) -> None:
        super().__init__(Samples(num_outputs, floating=True), **kwargs)

    def compute(self) -> Tensor:
        """Return the correlation, a scalar, or ``[D]``; float64 if an input was, else float32."""
        return rank_correlation(*self.statistic.read(self._states), self.num_outputs)
