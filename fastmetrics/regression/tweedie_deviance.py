"""Tweedie deviance."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastmetrics.functional.regression._errors import batch_sums, check_domain
from fastmetrics.functional.regression.tweedie_deviance import TERMS, check_power
from fastmetrics.ops import error_sums_
from fastmetrics.regression._errors import ErrorSumMetric

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

    def __init__(self, power: float = 0.0, **kwargs: Any) -> None:
        check_power(power)
        super().__init__(TERMS, power=power, **kwargs)
        self.power = power

    def update(self, preds: Tensor, targets: Tensor, *, weight: Tensor | None = None) -> None:
        """Add one batch."""
        error_sums_(self.sums, preds, targets, weight, TERMS, *self._exponents)

    def _with_grad(self, preds: Tensor, targets: Tensor, *, weight: Tensor | None = None) -> Tensor:
        return batch_sums(preds, targets, weight, TERMS, power=self.power)

    def _report(self) -> None:
        """Raise for numbers outside the domain that an update on a GPU left out."""
        check_domain("TweedieDevianceScore", self.sums, self.power)
