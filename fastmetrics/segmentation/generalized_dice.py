"""Generalized Dice score: that of all classes, of which small ones weigh more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.core.statistic import View, counts_only
from fastmetrics.core.statistic_metric import StatisticField, StatisticMetric
from fastmetrics.functional.segmentation.generalized_dice import (
    check_generalized_dice,
    summed_scores,
)
from fastmetrics.ops.overlap import ImageScores

__all__ = ["GeneralizedDiceScore"]


class GeneralizedDiceScore(StatisticMetric):
    r"""Generalized Dice score, in [0, 1]: the mean over images.

    With :math:`p_c` and :math:`t_c` the pixels of class c in ``preds`` and ``target``, and weights
    :math:`w_c = 1 / |t_c|^2`, or :math:`1 / |t_c|` with ``"simple"`` and 1 with ``"linear"``; of
    classes without pixels in ``target`` 0 but for ``"linear"``:

    .. math::
        \frac{2 \sum_c w_c |p_c \cap t_c|}{\sum_c w_c (|p_c| + |t_c|)}

    An image where that is 0 / 0 has a score of 0. ``update(preds, target)`` takes what that of
    :class:`~fastmetrics.segmentation.DiceScore` does.

    Args:
        num_classes: C.
        include_background: whether class 0 counts; alone it always does.
        per_class: whether to return the Dice score of each class instead, where an image that has
            no pixel of it counts as 0.
        weight_type: ``"square"``, ``"simple"`` or ``"linear"``.
        input_format: as for :class:`~fastmetrics.segmentation.DiceScore`.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument other than these; an update with another number of classes.
        RuntimeError: an update whose shapes do not fit, with a label out of range, or a mask of
            others than 0 and 1.

    >>> import torch
    >>> from fastmetrics.segmentation import GeneralizedDiceScore
    >>> metric = GeneralizedDiceScore(num_classes=3, input_format="index")
    >>> metric(torch.tensor([[[0, 1], [2, 2]]]), torch.tensor([[[0, 1], [1, 2]]]))
    tensor(0.7826)
    """

    is_differentiable = False
    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    statistic: ImageScores
    num_classes = StatisticField[int]()
    input_format = StatisticField[str]()

    def __init__(
        self,
        num_classes: int,
        include_background: bool = True,
        per_class: bool = False,
        weight_type: str = "square",
        input_format: str = "one-hot",
        **kwargs: Any,
    ) -> None:
        check_generalized_dice(
            num_classes, include_background, per_class, weight_type, input_format
        )
        self.include_background, self.per_class = include_background, per_class
        self.weight_type = weight_type
        super().__init__(ImageScores(num_classes, input_format), **kwargs)

    @counts_only
    def update(self, preds: Tensor, target: Tensor) -> None:  # type: ignore[override]  # no weights
        """Count one batch."""
        self.statistic.add(self._states, preds, target)

    def compute(self) -> Tensor:
        """Return the value, float32: a scalar, or one entry per class."""
        value = (self._score(self._states) / self.statistic.sums(self._states).images).float()
        return value.squeeze() if value.numel() == 1 else value

    def _score(self, states: States) -> Tensor:
        sums = self.statistic.sums(states)
        return summed_scores(sums, self.include_background, self.per_class, self.weight_type)

    def _views(self) -> Mapping[str, View]:
        return {
            "score": View(self._score, self._take_score),
            "samples": View(
                lambda states: states.values["images"].reshape(1).float(),
                lambda states, value: states.values["images"].fill_(int(torch.as_tensor(value))),
            ),
        }

    def _take_score(self, states: States, value: Any) -> None:
        self._score(states).copy_(torch.as_tensor(value))  # the score is a part of the states
