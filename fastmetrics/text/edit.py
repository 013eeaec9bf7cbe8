"""Edit distance of characters."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.core.statistic import Lists, View
from fastmetrics.functional.text.edit import distances, read_distance
from fastmetrics.ops.edits import EDITS, SAMPLES, Edits
from fastmetrics.text._bases import TextMetric, rows_of_column, sum_view

__all__ = ["EditDistance"]

_SUMS = MappingProxyType(
    {"edit_scores": sum_view(EDITS, torch.int64), "num_elements": sum_view(SAMPLES, torch.int64)}
)


class EditDistance(TextMetric):
    """Insertions, deletions and substitutions of characters that lead from ``preds`` to ``target``.

    ``insertions + deletions + substitution_cost * substitutions``. Characters are code points.
    Takes strings, N or one, as many targets, and for the mean an optional ``weight`` ``[N]``. The
    value is the mean, a float32 scalar; the sum, int64; or the distances, int32 ``[N]``.

    Args:
        substitution_cost: what a substitution costs, a whole number of at least 0; an insertion and
            a deletion cost 1 each.
        reduction: ``"mean"``, ``"sum"``, or None or ``"none"`` for the distance of each sample.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument is not as above; the inputs of an update are no strings, or differ
            in number.

    >>> from fastmetrics.text import EditDistance
    >>> metric = EditDistance()
    >>> metric(["rain", "lnaguaeg"], ["shine", "language"])
    tensor(3.5000)
    """

    higher_is_better = False
    plot_upper_bound = None
    statistic: Edits

    def __init__(
        self, substitution_cost: int = 1, reduction: str | None = "mean", **kwargs: Any
    ) -> None:
        super().__init__(distances(substitution_cost, reduction), **kwargs)
        self.substitution_cost = substitution_cost
        self.reduction = reduction

    def _views(self) -> Mapping[str, View]:
        return {} if self.statistic.keeps_rows else _SUMS

    def _lists(self) -> Lists | None:
        if not self.statistic.keeps_rows:
            return None

        def row(scores: Tensor) -> Tensor:
            rows = scores.new_zeros((scores.numel(), len(Edits.columns)), dtype=torch.float64)
            rows[:, EDITS], rows[:, SAMPLES] = scores.flatten(), 1.0
            return rows

        return rows_of_column("edit_scores_list", row, lambda rows: rows[:, EDITS].int())

    def compute(self) -> Tensor:
        """Return the distance in the form that ``reduction`` asks for."""
        states: States = self._states
        return read_distance(self.statistic, states, self.reduction, self.dtype)
