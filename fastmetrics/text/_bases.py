"""The shapes that metrics of texts share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from fastmetrics.core.keywords import adds
from fastmetrics.core.states import States
from fastmetrics.core.statistic import View, counts_only
from fastmetrics.core.statistic_metric import StatisticMetric
from fastmetrics.functional.text._values import Formula, value_of
from fastmetrics.ops.strings import TextSums


def sum_view(column: int, dtype: torch.dtype = torch.float32) -> View:
    """Return a view of one of the sums."""

    def write(states: States, value: Any) -> None:
        states.values["sums"][column] = value

    return View(lambda states: states.values["sums"][column].to(dtype), write)


class TextMetric(StatisticMetric):
    """A formula over sums of what is counted in each pair of texts.

    Args:
        statistic: what is counted.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.
    """

    is_differentiable = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    statistic: TextSums
    sums: Tensor
    rows: list[Tensor]
    formula: ClassVar[Formula]
    # The states that torchmetrics has for this metric.
    _upstream: ClassVar[Mapping[str, View]] = {}

    @counts_only
    @adds("weight")
    def update(  # type: ignore[override]  # strings
        self,
        preds: str | Sequence[str],
        target: str | Sequence[str],
        *,
        weight: Tensor | None = None,
    ) -> None:
        """Add one string or several, N, and as many targets; ``weight`` is ``[N]``.

        Raises:
            ValueError: the arguments are no strings, differ in number, or ``weight`` does not fit.
        """
        self.statistic.add(self._states, preds, target, weight)

    def _views(self) -> Mapping[str, View]:
        return {} if self.statistic.keeps_rows else self._upstream

    def compute(self) -> Any:
        """Return the value; where each sample has one, too, a pair of it and those ``[N]``."""
        return value_of(self.statistic, self._states, type(self).formula, self.dtype)
