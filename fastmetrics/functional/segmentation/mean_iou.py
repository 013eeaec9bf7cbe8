"""Mean intersection over union.

Source: Jaccard, The distribution of the flora in the alpine zone, New Phytologist 11 (1912).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.functional._declare import planned_by
from fastmetrics.ops.overlap import Overlap, areas_of, class_ious, mean_ious
from fastmetrics.utilities.checks import check_bool
from fastmetrics.utilities.data import vector

__all__ = ["mean_iou"]


def check_mean_iou(
    num_classes: Any, include_background: Any, per_class: Any, input_format: Any
) -> Overlap:
    """Return what is counted of each image; raise ``ValueError`` if an argument is none."""
    check_bool("include_background", include_background)
    check_bool("per_class", per_class)
    return Overlap(num_classes, input_format).checked()


def as_images(preds: Tensor, target: Tensor, input_format: str) -> tuple[Tensor, Tensor]:
    """Return labels ``[H, W]`` or ``[L]`` as those of one image; others as they are."""
    if input_format == "index" and preds.ndim < 3 and preds.shape == target.shape:
        shape = (1, 1, *preds.shape)[-3:]
        return preds.reshape(shape), target.reshape(shape)
    return preds, target


def _iou_of_numbers(image: list[tuple[int, int, int]], per_class: bool) -> Any:
    """Return the mean of one image, or the value of each class, from tp, fp and fn of these."""
    if per_class:
        return [tp / (tp + fp + fn) if tp + fp + fn else -1.0 for tp, fp, fn in image]
    known = [tp / (tp + fp + fn) for tp, fp, fn in image if tp + fp + fn]
    return sum(known) / len(known) if known else math.nan


class _Images(Overlap):
    """The same of inputs that may be one image."""

    def add(
        self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> None:
        super().add(states, *as_images(preds, target, self.input_format), weight)


def _plan(
    include_background: bool, per_class: bool, num_classes: Any, input_format: Any
) -> tuple[Any, ...]:
    check_mean_iou(num_classes, include_background, per_class, input_format)

    def read(statistic: Overlap, states: States) -> Tensor:
        areas = areas_of(statistic.counts_of(states), include_background)
        ious = class_ious(areas).nan_to_num(-1.0) if per_class else mean_ious(areas)
        return ious.float()

    statistic = _Images(num_classes, input_format)

    def of_numbers(preds: Tensor, target: Tensor) -> Tensor | None:
        batch = as_images(preds, target, input_format)
        images = statistic.few_numbers(*batch, include_background)
        if images is None:
            return None
        values = [_iou_of_numbers(image, per_class) for image in images]
        if per_class:
            return torch.tensor(values, dtype=torch.float32, device="cpu")
        return vector(values)

    return statistic, read, of_numbers


@planned_by(_plan)
def mean_iou(
    preds: Tensor,
    target: Tensor,
    num_classes: int | None = None,
    include_background: bool = True,
    per_class: bool = False,
    input_format: str = "one-hot",
) -> Tensor:
    r"""Intersection over union of each image, the mean over classes, in [0, 1].

    With :math:`p` and :math:`t` the pixels of a class in ``preds`` and ``target``:

    .. math::
        \frac{|p \cap t|}{|p \cup t|}

    Args:
        preds: as for :func:`~fastmetrics.functional.segmentation.dice_score`. Labels of one or two
            axes are those of one image.
        target: the same.
        num_classes: C; None where an axis of classes tells.
        include_background: whether class 0 counts; alone it always does.
        per_class: whether to return the value of each class, -1 where neither has it.
        input_format: as for :func:`~fastmetrics.functional.segmentation.dice_score`.

    Returns:
        ``[N]``, NaN where neither has any class; or ``[N, C]`` of classes. float32.

    Raises:
        ValueError: an argument other than these, or the number of classes is another.
        IndexError: ``num_classes`` is None, and there is no axis of classes.
        RuntimeError: the shapes do not fit, a label is out of range, or a mask holds others than 0
            and 1.

    >>> import torch
    >>> from fastmetrics.functional.segmentation import mean_iou
    >>> preds, target = torch.tensor([[[0, 1], [2, 2]]]), torch.tensor([[[0, 1], [1, 2]]])
    >>> mean_iou(preds, target, num_classes=3, input_format="index")
    tensor([0.6667])
    """
    raise NotImplementedError
