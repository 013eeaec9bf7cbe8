"""Lin's concordance correlation coefficient."""

from __future__ import annotations

from torch import Tensor

from fastmetrics.functional.regression.concordance import concordance_formula
from fastmetrics.regression.pearson import PearsonCorrCoef

__all__ = ["ConcordanceCorrCoef"]


class ConcordanceCorrCoef(PearsonCorrCoef):
    """Concordance, ``2 cov(x, y) / (var(x) + var(y) + (mean(x) - mean(y))^2)``, in [-1, 1].

    ``preds`` x and ``target`` y are ``[N]``, or ``[N, D]`` with D outputs. NaN, with a warning,
    where predictions or targets are constant.

    Args:
        num_outputs: D.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        ValueError: ``num_outputs`` is no positive integer.

    >>> import torch
    >>> from fastmetrics.regression import ConcordanceCorrCoef
    >>> metric = ConcordanceCorrCoef()
    >>> metric(torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 7.0]))
    tensor(0.9777)
    """

    higher_is_better: bool | None = True

    def _formula(self, moments: Tensor, wide: bool | None) -> Tensor:
        return concordance_formula(moments, wide)
