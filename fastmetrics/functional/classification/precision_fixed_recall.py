"""Precision at fixed recall: the best precision at which recall reaches a minimum.

Arguments are explained in :mod:`fastmetrics.functional.classification.precision_recall_curve`, and
``min_recall`` here: a number in [0, 1]. Where several thresholds are equally good, the one with
the larger recall counts, then the highest. Where none reaches the minimum with a precision above
0, the precision is 0 and the threshold NaN. With ``undefined="nan"`` both are NaN for a class
without positives.

Source: Eban and others, Scalable learning of non-decomposable objectives, AISTATS 2017.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from fastmetrics.functional.classification._best_point import (
    BestPoint,
    Candidates,
    RateAndThreshold,
    precision_recall_points,
)
from fastmetrics.functional.classification._curve import Curve, Thresholds
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.functional.classification.precision_recall_curve import precision_and_recall

__all__ = [
    "binary_precision_at_fixed_recall",
    "multiclass_precision_at_fixed_recall",
    "multilabel_precision_at_fixed_recall",
    "precision_at_fixed_recall",
]


def _candidates(curve: Curve, undefined: str | None) -> Candidates:
    precision, recall = precision_and_recall(curve, undefined)
    return precision_recall_points(curve, rate=precision, constrained=recall)


PRECISION_AT_RECALL = BestPoint("precision_at_fixed_recall", "min_recall", _candidates)


def binary_precision_at_fixed_recall(
    preds: Tensor,
    target: Tensor,
    min_recall: float,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> RateAndThreshold:
    """Find the largest precision where recall is at least ``min_recall``.

    ``max over t of precision_t``, where ``recall_t >= min_recall``, and its threshold t.

    Arguments and ties as in the module docstring. Returns scalars: precision, threshold.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_precision_at_fixed_recall
    >>> preds, target = torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1])
    >>> binary_precision_at_fixed_recall(preds, target, min_recall=0.5, thresholds=5)
    (tensor(1.), tensor(0.7500))
    """
    return PRECISION_AT_RECALL.of_batch(
        "binary",
        preds,
        target,
        1,
        min_recall,
        thresholds,
        ignore_index,
        validate_args,
        weight,
        input,
        undefined,
    )


def multiclass_precision_at_fixed_recall(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    min_recall: float,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> RateAndThreshold:
    """Find the largest precision of each class, against all others, as the binary function does.

    ``max over t of precision_t``, where ``recall_t >= min_recall``, and its threshold t.

    Returns the precisions and their thresholds, each ``[C]``.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_precision_at_fixed_recall
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]), torch.tensor([0, 0, 1])
    >>> multiclass_precision_at_fixed_recall(preds, target, 2, min_recall=0.9, thresholds=5)
    (tensor([1., 1.]), tensor([0.2500, 0.7500]))
    """
    return PRECISION_AT_RECALL.of_batch(
        "multiclass",
        preds,
        target,
        num_classes,
        min_recall,
        thresholds,
        ignore_index,
        validate_args,
        weight,
        input,
        undefined,
    )


def multilabel_precision_at_fixed_recall(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    min_recall: float,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> RateAndThreshold:
    """Find the largest precision of each label, as the binary function does.

    ``max over t of precision_t``, where ``recall_t >= min_recall``, and its threshold t.

    Returns the precisions and their thresholds, each ``[L]``.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_precision_at_fixed_recall
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6]]), torch.tensor([[1, 0], [0, 1]])
    >>> multilabel_precision_at_fixed_recall(preds, target, 2, min_recall=0.9, thresholds=5)
    (tensor([1., 1.]), tensor([0.5000, 0.5000]))
    """
    return PRECISION_AT_RECALL.of_batch(
        "multilabel",
        preds,
        target,
        num_labels,
        min_recall,
        thresholds,
        ignore_index,
        validate_args,
        weight,
        input,
        undefined,
    )


def precision_at_fixed_recall(
    preds: Tensor,
    target: Tensor,
    task: str,
    min_recall: float,
    thresholds: Thresholds = None,
    num_classes: int | None = None,
    num_labels: int | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> RateAndThreshold:
    """Find the largest precision of ``task``, which is "binary", "multiclass" or "multilabel".

    ``max over t of precision_t``, where ``recall_t >= min_recall``, and its threshold t.

    Passes the arguments that the task has to the function above that is named after it.

    >>> import torch
    >>> from fastmetrics.functional import precision_at_fixed_recall
    >>> preds, target = torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1])
    >>> precision_at_fixed_recall(preds, target, "binary", min_recall=0.5, thresholds=5)
    (tensor(1.), tensor(0.7500))
    """
    own: Any = {"min_recall": min_recall, "input": input, "undefined": undefined}
    implementations: Any = {
        "binary": partial(binary_precision_at_fixed_recall, **own),
        "multiclass": partial(multiclass_precision_at_fixed_recall, **own),
        "multilabel": partial(multilabel_precision_at_fixed_recall, **own),
    }
    best: RateAndThreshold = call_for_task(
        task,
        implementations,
        preds,
        target,
        thresholds=thresholds,
        num_classes=num_classes,
        num_labels=num_labels,
        ignore_index=ignore_index,
        validate_args=validate_args,
        weight=weight,
    )
    return best
