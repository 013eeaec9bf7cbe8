"""Tweedie deviance."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastmetrics.core.keywords import adds
from fastmetrics.core.statistic import counts_only
from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.regression._error_values import N
from fastmetrics.functional.regression.tweedie_deviance import mean_deviance
from fastmetrics.ops.error_sums import DEVIANCE, ErrorSums
from fastmetrics.regression._bases import ErrorSumMetric
from fastmetrics.utilities.checks import check_number

__all__ = ["TweedieDevianceScore"]


class TweedieDevianceScore(ErrorSumMetric):
    """Mean Tweedie deviance.

    Formulas and domains as in
    :func:`~fastmetrics.functional.regression.tweedie_deviance.tweedie_deviance_score`.
    ``update(preds, targets, *, weight=None)`` takes inputs of any real type and one shape, and an
    optional ``weight`` ``[N]`` for the entries of the first axis.

    Args:
        power: not between 0 and 1.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: ``power`` lies between 0 and 1; a number lies outside the domain (``update`` on
            the CPU, ``compute`` elsewhere); the inputs of an update are not real.
        RuntimeError: the shapes of an update differ.

    >>> import torch
    >>> from fastmetrics.regression import TweedieDevianceScore
    >>> metric = TweedieDevianceScore(power=2)
    >>> metric(torch.tensor([4.0, 3.0, 2.0, 1.0]), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    tensor(1.2083)
    """

    higher_is_better = None

    power = StatisticField[float]()
    _inputs = ("preds", "targets")

    def __init__(self, power: float = 0.0, **kwargs: Any) -> None:
        check_number("power", power)
        super().__init__(ErrorSums(DEVIANCE, power=power), **kwargs)

    @counts_only
    @adds("weight")
    def update(  # type: ignore[override]  # upstream's names
        self, preds: Tensor, targets: Tensor, *, weight: Tensor | None = None
    ) -> None:
        """Add one batch."""
        self.statistic.add(self._states, preds, targets, weight)

    def _formula(self, *columns: N) -> N:
        return mean_deviance(*columns)
