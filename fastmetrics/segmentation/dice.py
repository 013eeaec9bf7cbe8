"""Dice score: twice what predicted and true segments have in common, over what both have."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.core.statistic import Lists, check_form, counts_only
from fastmetrics.core.statistic_metric import StatisticField, StatisticMetric
from fastmetrics.functional.segmentation.dice import check_dice, dice_formula
from fastmetrics.ops.overlap import Overlap, areas_of

__all__ = ["DiceScore"]


class DiceScore(StatisticMetric):
    r"""Dice score, in [0, 1]: the mean over images, or that of all their pixels.

    With :math:`p` and :math:`t` the pixels of a class in ``preds`` and ``target``:

    .. math::
        \frac{2 |p \cap t|}{|p| + |t|}

    Classes that neither has, and images without any other, are left out of averages.
    ``update(preds, target)`` takes masks ``[N, C, ...]`` of integers or bool, scores of that shape,
    of which the largest of a pixel counts, or labels ``[N, ...]``. Images are counted apart, 32
    bytes for each class; with ``aggregation_level="global"`` together.

    Args:
        num_classes: C.
        include_background: whether class 0 counts; alone it always does.
        average: over classes: ``"macro"``, ``"weighted"`` by their pixels in ``target``,
            ``"micro"`` of the pixels of all, or ``"none"``.
        aggregation_level: ``"samplewise"``, or ``"global"`` for the pixels of all images together.
        input_format: ``"one-hot"``, ``"index"`` for labels, ``"mixed"`` for one of each, or
            ``"logits"`` for scores and labels.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument other than these; an update with another number of classes.
        RuntimeError: an update whose shapes do not fit, with a label out of range, or a mask of
            others than 0 and 1.

    >>> import torch
    >>> from fastmetrics.segmentation import DiceScore
    >>> metric = DiceScore(num_classes=3, input_format="index")
    >>> metric(torch.tensor([[[0, 1], [2, 2]]]), torch.tensor([[[0, 1], [1, 2]]]))
    tensor(0.7778)
    """

    is_differentiable = False
    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    statistic: Overlap
    num_classes = StatisticField[int]()
    input_format = StatisticField[str]()

    def __init__(
        self,
        num_classes: int,
        include_background: bool = True,
        average: str | None = "macro",
        aggregation_level: str | None = "samplewise",
        input_format: str = "one-hot",
        **kwargs: Any,
    ) -> None:
        statistic = check_dice(
            num_classes, include_background, average, aggregation_level, input_format
        )
        super().__init__(statistic, **kwargs)
        self.include_background = include_background
        self.average = average
        self.aggregation_level = aggregation_level

    @counts_only
    def update(self, preds: Tensor, target: Tensor) -> None:  # type: ignore[override]  # no weights
        """Count one batch."""
        self.statistic.add(self._states, preds, target)

    def compute(self) -> Tensor:
        """Return the value, float32: a scalar, or one entry per class."""
        areas = areas_of(self.statistic.counts_of(self._states), self.include_background)
        return dice_formula(areas, self.average).nanmean(0).float()

    def _lists(self) -> Lists:
        """Return torchmetrics' lists, a row for each image or one for all, without tn."""
        return Lists(("numerator", "denominator", "support"), self._take_rows, self._give_rows)

    def _give_rows(self, states: States) -> list[tuple[Tensor, ...]]:
        counts = self.statistic.counts_of(states)
        areas = areas_of(counts, self.include_background)
        rows = (2 * areas.common, areas.preds + areas.target, areas.target)
        return [tuple(row.long() for row in rows)]

    def _take_rows(self, states: States, batch: tuple[Tensor, ...]) -> None:
        classes = self.num_classes - (not self.include_background and self.num_classes > 1)
        for name, rows in zip(("numerator", "denominator", "support"), batch, strict=True):
            check_form(name, rows, ("N", classes), torch.int64)
        common, both, target = batch[0] // 2, batch[1], batch[2]
        counts = torch.zeros(
            len(both), self.num_classes, 4, dtype=torch.int64, device=states.values["events"].device
        )
        columns = (common, both - target - common, torch.zeros_like(both), target - common)
        counts[:, self.num_classes - classes :] = torch.stack(columns, -1)
        if self.statistic.samplewise:
            states.values["counts"].append(counts)
        else:
            states.values["counts"] += counts.sum(0)
