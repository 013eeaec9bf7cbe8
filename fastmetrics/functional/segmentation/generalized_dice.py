"""Generalized Dice score: that of all classes, of which small ones weigh more.

Source: Sudre et al., Generalised Dice overlap as a deep learning loss function for highly
unbalanced segmentations, DLMIA (2017).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.functional._declare import planned_by
from fastmetrics.ops.overlap import (
    WEIGHT_TYPES,
    Overlap,
    Sums,
    areas_of,
    class_dices,
    generalized_dices,
)
from fastmetrics.utilities.checks import check_bool, check_choice, check_int

__all__ = ["generalized_dice_score"]


def check_generalized_dice(
    num_classes: Any, include_background: Any, per_class: Any, weight_type: Any, input_format: Any
) -> Overlap:
    """Return what is counted of each image; raise ``ValueError`` if an argument is none."""
    check_bool("include_background", include_background)
    check_bool("per_class", per_class)
    check_choice("weight_type", weight_type, WEIGHT_TYPES)
    check_int("num_classes", num_classes, 1)
    return Overlap(num_classes, input_format).checked()


def without_background(values: Tensor, include_background: bool) -> Tensor:
    """Return values of classes ``[C]``, without the first if it is not to count and not alone."""
    return values if include_background or len(values) == 1 else values[1:]


def summed_scores(
    sums: Sums, include_background: bool, per_class: bool, weight_type: str
) -> Tensor:
    """Return the sum of the scores of images, ``[1]`` or of each class."""
    if per_class:
        return without_background(sums.dice, include_background)
    row = sums.generalized[0 if include_background else 1]
    return row[WEIGHT_TYPES.index(weight_type)].reshape(1)


def _plan(
    include_background: bool, per_class: bool, weight_type: str, **options: Any
) -> tuple[Overlap, Any]:
    statistic = check_generalized_dice(
        include_background=include_background,
        per_class=per_class,
        weight_type=weight_type,
        **options,
    )

    def read(statistic: Overlap, states: States) -> Tensor:
        areas = areas_of(statistic.counts_of(states), include_background)
        if per_class:
            return class_dices(areas).nan_to_num(0.0).float()
        return generalized_dices(areas, weight_type).float()

    return statistic, read


@planned_by(_plan)
def generalized_dice_score(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    include_background: bool = True,
    per_class: bool = False,
    weight_type: str = "square",
    input_format: str = "one-hot",
) -> Tensor:
    r"""Generalized Dice score of each image, in [0, 1]; 0 where there is nothing to compare.

    With :math:`p_c` and :math:`t_c` the pixels of class c in ``preds`` and ``target``, and weights
    :math:`w_c = 1 / |t_c|^2`, or :math:`1 / |t_c|` with ``"simple"`` and 1 with ``"linear"``; of
    classes without pixels in ``target`` 0 but for ``"linear"``:

    .. math::
        \frac{2 \sum_c w_c |p_c \cap t_c|}{\sum_c w_c (|p_c| + |t_c|)}

    Args:
        preds: as for :func:`~fastmetrics.functional.segmentation.dice_score`.
        target: the same.
        num_classes: C.
        include_background: whether class 0 counts; alone it always does.
        per_class: whether to return the Dice score of each class instead, 0 where neither has it.
        weight_type: ``"square"``, ``"simple"`` or ``"linear"``.
        input_format: as for :func:`~fastmetrics.functional.segmentation.dice_score`.

    Returns:
        ``[N]``, or ``[N, C]`` of classes. float32.

    Raises:
        ValueError: an argument other than these, or the number of classes is another.
        RuntimeError: the shapes do not fit, a label is out of range, or a mask holds others than 0
            and 1.

    >>> import torch
    >>> from fastmetrics.functional.segmentation import generalized_dice_score
    >>> preds, target = torch.tensor([[[0, 1], [2, 2]]]), torch.tensor([[[0, 1], [1, 2]]])
    >>> generalized_dice_score(preds, target, num_classes=3, input_format="index")
    tensor([0.7826])
    """
    raise NotImplementedError
