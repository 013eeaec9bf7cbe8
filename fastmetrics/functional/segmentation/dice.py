"""Dice score: twice what predicted and true segments have in common, over what both have.

Source: Dice, Measures of the amount of ecologic association between species, Ecology 26 (1945).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.functional._declare import planned_by
from fastmetrics.ops.overlap import Areas, Overlap, areas_of, class_dices
from fastmetrics.utilities.checks import AVERAGES, check_bool, check_choice
from fastmetrics.utilities.data import vector

__all__ = ["dice_score"]

AGGREGATION_LEVELS = ("samplewise", "global")


def dice_formula(areas: Areas, average: str | None) -> Tensor:
    """Return the score of each row, or ``[N, C]`` without an average; NaN where nothing is."""
    if average == "micro":
        common, preds, target = (area.sum(-1) for area in areas)
        return 2 * common / (preds + target)
    scores = class_dices(areas)
    if average == "macro":
        return scores.nanmean(-1)
    if average != "weighted":
        return scores
    weights = areas.target / areas.target.sum(-1, keepdim=True)
    return torch.where(scores.isnan().all(-1), torch.nan, (scores * weights).nansum(-1))


def _dice_of_numbers(image: list[tuple[int, int, int]], average: str | None) -> Any:
    """Return what :func:`dice_formula` does of one image, from tp, fp and fn of its classes."""
    if average == "micro":
        tp, fp, fn = (sum(column) for column in zip(*image, strict=True))
        image = [(tp, fp, fn)]
    scores = [2 * tp / (2 * tp + fp + fn) if tp + fp + fn else math.nan for tp, fp, fn in image]
    if average == "micro":
        return scores[0]
    if average == "macro":
        known = [score for score in scores if score == score]
        return sum(known) / len(known) if known else math.nan
    if average != "weighted":
        return scores
    total = sum([tp + fn for tp, _, fn in image])
    if not total:
        return math.nan if all(map(math.isnan, scores)) else 0.0
    # A class that neither has, whose score is NaN, has no weight.
    return sum([s * ((c[0] + c[2]) / total) for s, c in zip(scores, image, strict=True) if s == s])


def check_dice(
    num_classes: Any,
    include_background: Any,
    average: Any,
    aggregation_level: Any,
    input_format: Any,
) -> Overlap:
    """Return what is counted for these arguments; raise ``ValueError`` if one is none."""
    check_bool("include_background", include_background)
    check_choice("average", average, AVERAGES)
    check_choice("aggregation_level", aggregation_level, AGGREGATION_LEVELS)
    if num_classes is None:
        raise ValueError("`num_classes` must be an integer of at least 1, got None.")
    return Overlap(num_classes, input_format, aggregation_level == "samplewise").checked()


def _plan(include_background: bool, average: str | None, **options: Any) -> tuple[Any, ...]:
    statistic = check_dice(include_background=include_background, average=average, **options)

    def read(statistic: Overlap, states: States) -> Tensor:
        areas = areas_of(statistic.counts_of(states), include_background)
        return dice_formula(areas, average).float()

    def of_numbers(preds: Tensor, target: Tensor) -> Tensor | None:
        images = statistic.few_numbers(preds, target, include_background)
        if images is None:
            return None
        values = [_dice_of_numbers(image, average) for image in images]
        if average in ("none", None):
            return torch.tensor(values, dtype=torch.float32, device="cpu")
        return vector(values)

    return statistic, read, of_numbers


@planned_by(_plan)
def dice_score(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    include_background: bool = True,
    average: str | None = "macro",
    input_format: str = "one-hot",
    aggregation_level: str | None = "samplewise",
) -> Tensor:
    r"""Dice score of each image, in [0, 1]; NaN where there is nothing to compare.

    With :math:`p` and :math:`t` the pixels of a class in ``preds`` and ``target``:

    .. math::
        \frac{2 |p \cap t|}{|p| + |t|}

    Classes that neither has are left out of averages.

    Args:
        preds: masks ``[N, C, ...]`` of integers or bool; scores of that shape, of which the largest
            of a pixel counts; or labels ``[N, ...]``.
        target: the same.
        num_classes: C.
        include_background: whether class 0 counts; alone it always does.
        average: over classes: ``"macro"``, ``"weighted"`` by their pixels in ``target``,
            ``"micro"`` of the pixels of all, or ``"none"``.
        input_format: ``"one-hot"``, ``"index"`` for labels, ``"mixed"`` for one of each, or
            ``"logits"`` for scores and labels.
        aggregation_level: ``"samplewise"``, or ``"global"`` for the pixels of all images together.

    Returns:
        ``[N]``, without an average ``[N, C]``; N is 1 for all images together. float32.

    Raises:
        ValueError: an argument other than these, or the number of classes is another.
        RuntimeError: the shapes do not fit, a label is out of range, or a mask holds others than 0
            and 1.

    >>> import torch
    >>> from fastmetrics.functional.segmentation import dice_score
    >>> preds, target = torch.tensor([[[0, 1], [2, 2]]]), torch.tensor([[[0, 1], [1, 2]]])
    >>> dice_score(preds, target, num_classes=3, input_format="index")
    tensor([0.7778])
    """
    raise NotImplementedError
