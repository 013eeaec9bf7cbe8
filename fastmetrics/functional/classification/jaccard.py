"""Jaccard index (intersection over union); ``confusion_matrix`` explains the shared arguments.

``average`` is ``"micro"``, ``"macro"``, ``"weighted"`` (by the targets of each class), ``"none"``
or None; ``zero_division`` is 0, 1 or NaN, the value of 0/0.

Source: Jaccard, The distribution of the flora in the alpine zone, New Phytologist 11 (1912).
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from fastmetrics.functional._declare import planned_by
from fastmetrics.functional.classification._count_functions import by_numbers, check_averaging
from fastmetrics.functional.classification._ratio import Ratio
from fastmetrics.functional.classification._tasks import calls_its_task
from fastmetrics.functional.classification.confusion_matrix import tables_of
from fastmetrics.ops.confusion import Confusion
from fastmetrics.ops.counted import divide

__all__ = [
    "binary_jaccard_index",
    "jaccard_index",
    "multiclass_jaccard_index",
    "multilabel_jaccard_index",
]


# Of binary inputs and of labels: a label that is never positive has no part in averages where its
# value is NaN, nor in those by targets, which are NaN without any.
JACCARD = Ratio(lambda tp, fp, tn, fn: (tp, tp + fn + fp), nothing=math.nan)


def multiclass_jaccard_formula(
    matrix: Tensor, average: str | None, ignore_index: int | None, zero_division: float
) -> Tensor:
    """Average ``overlap_k / union_k`` over the classes of a matrix ``[C, C]``.

    ``overlap_k`` counts the elements of class k that were predicted as k, ``union_k`` those that
    are of class k or predicted as k. ``"macro"`` leaves out classes without any, and the class
    ``ignore_index``; ``"weighted"`` weighs by the number of targets; both are NaN when no class is
    left. ``"micro"`` divides the sums, without the union of class ``ignore_index``; ``"none"`` and
    None return ``[C]``.
    """
    counts = matrix.double()
    overlap, support = counts.diagonal(), counts.sum(1)
    union = support + counts.sum(0) - overlap
    if average == "weighted":
        # 0/0 happens only where the support is 0 as well.
        return ((support * overlap / union).nansum() / support.sum()).float()
    if average not in ("micro", "macro"):
        return divide(overlap, union, zero_division).float()
    if ignore_index is not None and 0 <= ignore_index < counts.shape[0]:
        union[ignore_index] = 0
    if average == "micro":
        return divide(overlap.sum(), union.sum(), zero_division).float()
    return ((overlap / union).nansum() / (union > 0).sum()).float()


def _plan(zero_division: float, average: str | None = "micro", **arguments: Any) -> tuple[Any, ...]:
    statistic = tables_of(arguments)
    if statistic.validate_args:
        check_averaging(average, zero_division=zero_division)
        statistic.check()
    if isinstance(statistic, Confusion):
        return statistic, lambda matrix, states: multiclass_jaccard_formula(
            matrix.matrix(states), average, matrix.ignore_index, zero_division
        )
    return (
        statistic,
        lambda tables, states: JACCARD(tables.read(states), average, zero_division),
        by_numbers(JACCARD, statistic, average, zero_division),
    )


@planned_by(_plan)
def binary_jaccard_index(
    preds: Tensor,
    target: Tensor,
    threshold: float = 0.5,
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0.0,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Overlap of predicted with target positives over their union, float32 in ``[0, 1]``.

    ``tp / (tp + fp + fn)``, of each class before averages.

    ``zero_division`` (0, 1 or NaN) is the value without any positives.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_jaccard_index
    >>> binary_jaccard_index(torch.tensor([0, 1, 0, 0]), torch.tensor([1, 1, 0, 0]))
    tensor(0.5000)
    """


@planned_by(_plan)
def multiclass_jaccard_index(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    average: str | None = "macro",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0.0,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """Overlap over union of each class, float32 in ``[0, 1]``.

    ``tp / (tp + fp + fn)``, of each class before averages.

    ``average`` is ``"micro"``, ``"macro"``, ``"weighted"``, ``"none"`` or None; ``zero_division``
    (0, 1 or NaN) is the value of a class that never occurs. See :func:`multiclass_jaccard_formula`.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_jaccard_index
    >>> preds, target = torch.tensor([2, 1, 0, 1]), torch.tensor([2, 1, 0, 0])
    >>> multiclass_jaccard_index(preds, target, num_classes=3)
    tensor(0.6667)
    """


@planned_by(_plan)
def multilabel_jaccard_index(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float = 0.5,
    average: str | None = "macro",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0.0,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Overlap over union of each label's positives, float32 in ``[0, 1]``.

    ``tp / (tp + fp + fn)``, of each class before averages.

    ``average`` is ``"micro"``, ``"macro"``, ``"weighted"``, ``"none"`` or None; ``zero_division``
    (0, 1 or NaN) is the value of a label without positives.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_jaccard_index
    >>> preds = torch.tensor([[0, 0, 1], [1, 0, 1]])
    >>> target = torch.tensor([[0, 1, 0], [1, 0, 1]])
    >>> multilabel_jaccard_index(preds, target, num_labels=3)
    tensor(0.5000)
    """


@calls_its_task(
    binary=binary_jaccard_index,
    multiclass=multiclass_jaccard_index,
    multilabel=multilabel_jaccard_index,
)
def jaccard_index(
    preds: Tensor, target: Tensor, task: str, threshold: float = 0.5,
    num_classes: int | None = None, num_labels: int | None = None, average: str | None = "macro",
    ignore_index: int | None = None, validate_args: bool = True, zero_division: float = 0.0, *,
    weight: Tensor | None = None, input: str = "auto",
) -> Tensor:  # fmt: skip
    """Jaccard index of ``task``: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.

    ``tp / (tp + fp + fn)``, of each class before averages.

    >>> import torch
    >>> from fastmetrics.functional import jaccard_index
    >>> jaccard_index(torch.tensor([0, 1, 0, 0]), torch.tensor([1, 1, 0, 0]), task="binary")
    tensor(0.5000)
    """
