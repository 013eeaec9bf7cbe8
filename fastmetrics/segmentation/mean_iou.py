"""Mean intersection over union."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.core.statistic import View, counts_only
from fastmetrics.core.statistic_metric import StatisticField, StatisticMetric
from fastmetrics.functional.segmentation.generalized_dice import without_background
from fastmetrics.functional.segmentation.mean_iou import as_images, check_mean_iou
from fastmetrics.ops.overlap import ImageScores

__all__ = ["MeanIoU"]


class MeanIoU(StatisticMetric):
    r"""Intersection over union, in [0, 1]: the mean over the classes of all images.

    With :math:`p` and :math:`t` the pixels of a class in ``preds`` and ``target`` of one image:

    .. math::
        \frac{|p \cap t|}{|p \cup t|}

    Classes that neither has are left out. ``update(preds, target)`` takes what that of
    :class:`~fastmetrics.segmentation.DiceScore` does, and labels of one or two axes as those of one
    image.

    Args:
        num_classes: C; None where the first batch tells.
        include_background: whether class 0 counts; alone it always does.
        per_class: whether to return the mean over images of each class, -1 where none has it.
        input_format: as for :class:`~fastmetrics.segmentation.DiceScore`.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument other than these; an update with another number of classes.
        IndexError: ``num_classes`` is None, and the first update has no axis of classes.
        RuntimeError: an update whose shapes do not fit, with a label out of range, or a mask of
            others than 0 and 1.

    >>> import torch
    >>> from fastmetrics.segmentation import MeanIoU
    >>> metric = MeanIoU(num_classes=3, input_format="index")
    >>> metric(torch.tensor([[[0, 1], [2, 2]]]), torch.tensor([[[0, 1], [1, 2]]]))
    tensor(0.6667)
    """

    is_differentiable = False
    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    statistic: ImageScores
    num_classes = StatisticField[int | None]()
    input_format = StatisticField[str]()

    def __init__(
        self,
        num_classes: int | None = None,
        include_background: bool = True,
        per_class: bool = False,
        input_format: str = "one-hot",
        **kwargs: Any,
    ) -> None:
        check_mean_iou(num_classes, include_background, per_class, input_format)
        self.include_background, self.per_class = include_background, per_class
        super().__init__(ImageScores(num_classes, input_format), **kwargs)

    @counts_only
    def update(self, preds: Tensor, target: Tensor) -> None:  # type: ignore[override]  # no weights
        """Count one batch."""
        self.statistic.add(self._states, *as_images(preds, target, self.input_format))

    def compute(self) -> Tensor:
        """Return the value, float32: a scalar, or one entry per class."""
        iou, present = self._iou(self._states), self._present(self._states)
        if not self.per_class:
            return (iou.sum() / present.sum()).float()
        value = (iou / present).nan_to_num(-1.0).float()
        return value.squeeze() if value.numel() == 1 else value

    def _iou(self, states: States) -> Tensor:
        return without_background(states.values["iou"], self.include_background)

    def _present(self, states: States) -> Tensor:
        return without_background(states.values["present"], self.include_background)

    def _views(self) -> Mapping[str, View]:
        """Return torchmetrics' states: without ``per_class`` the sums over classes."""

        def shown(states: States, get: Any, classes: int) -> Tensor:
            values: Tensor = get(states)
            values = values if self.per_class else values.sum().expand(classes or len(values))
            return values.float()

        def take(states: States, get: Any, value: Any) -> None:
            value = torch.as_tensor(value)
            if not self.per_class:  # any class may hold what only the sum is known of
                value, total = torch.zeros_like(get(states)), value.reshape(-1)[0]
                value[-1] = total
            get(states).copy_(value)

        return {
            "score": View(
                lambda states: shown(states, self._iou, 1),
                lambda states, value: take(states, self._iou, value),
                self.num_classes is None,
            ),
            "num_batches": View(
                lambda states: shown(states, self._present, 0),
                lambda states, value: take(states, self._present, value),
                self.num_classes is None,
            ),
        }
