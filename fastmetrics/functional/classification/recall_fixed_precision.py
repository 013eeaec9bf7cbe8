"""Recall at fixed precision: the best recall at which precision reaches a minimum.

Arguments are explained in :mod:`fastmetrics.functional.classification.precision_recall_curve`, and
``min_precision`` here: a number in [0, 1]. Where several thresholds are equally good, the one with
the larger precision counts, then the highest. Where none reaches the minimum with a recall above
0, the recall is 0 and the threshold NaN. With ``undefined="nan"`` both are NaN for a class without
positives.

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
    "binary_recall_at_fixed_precision",
    "multiclass_recall_at_fixed_precision",
    "multilabel_recall_at_fixed_precision",
    "recall_at_fixed_precision",
]


def _candidates(curve: Curve, undefined: str | None) -> Candidates:
    precision, recall = precision_and_recall(curve, undefined)
    return precision_recall_points(curve, rate=recall, constrained=precision)


RECALL_AT_PRECISION = BestPoint("recall_at_fixed_precision", "min_precision", _candidates)


def binary_recall_at_fixed_precision(
    preds: Tensor,
    target: Tensor,
    min_precision: float,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> RateAndThreshold:
    """Find the largest recall where precision is at least ``min_precision``.

    ``max over t of recall_t``, where ``precision_t >= min_precision``, and its threshold t.

    Arguments and ties as in the module docstring. Returns scalars: recall, threshold.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_recall_at_fixed_precision
    >>> preds, target = torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1])
    >>> binary_recall_at_fixed_precision(preds, target, min_precision=0.5, thresholds=5)
    (tensor(1.), tensor(0.5000))
    """
    return RECALL_AT_PRECISION.of_batch(
        "binary",
        preds,
        target,
        1,
        min_precision,
        thresholds,
        ignore_index,
        validate_args,
        weight,
        input,
        undefined,
    )


def multiclass_recall_at_fixed_precision(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    min_precision: float,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> RateAndThreshold:
    """Find the largest recall of each class, against all others, as the binary function does.

    ``max over t of recall_t``, where ``precision_t >= min_precision``, and its threshold t.

    Returns the recalls and their thresholds, each ``[C]``.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_recall_at_fixed_precision
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]), torch.tensor([0, 0, 1])
    >>> multiclass_recall_at_fixed_precision(preds, target, 2, min_precision=0.9, thresholds=5)
    (tensor([1., 1.]), tensor([0.2500, 0.7500]))
    """
    return RECALL_AT_PRECISION.of_batch(
        "multiclass",
        preds,
        target,
        num_classes,
        min_precision,
        thresholds,
        ignore_index,
        validate_args,
        weight,
        input,
        undefined,
    )


def multilabel_recall_at_fixed_precision(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    min_precision: float,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> RateAndThreshold:
    """Find the largest recall of each label, as the binary function does.

    ``max over t of recall_t``, where ``precision_t >= min_precision``, and its threshold t.

    Returns the recalls and their thresholds, each ``[L]``.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_recall_at_fixed_precision
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6]]), torch.tensor([[1, 0], [0, 1]])
    >>> multilabel_recall_at_fixed_precision(preds, target, 2, min_precision=0.9, thresholds=5)
    (tensor([1., 1.]), tensor([0.5000, 0.5000]))
    """
    return RECALL_AT_PRECISION.of_batch(
        "multilabel",
        preds,
        target,
        num_labels,
        min_precision,
        thresholds,
        ignore_index,
        validate_args,
        weight,
        input,
        undefined,
    )


def recall_at_fixed_precision(
    preds: Tensor,
    target: Tensor,
    task: str,
    min_precision: float,
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
    """Find the largest recall of ``task``, which is "binary", "multiclass" or "multilabel".

    ``max over t of recall_t``, where ``precision_t >= min_precision``, and its threshold t.

    Passes the arguments that the task has to the function above that is named after it.

    >>> import torch
    >>> from fastmetrics.functional import recall_at_fixed_precision
    >>> preds, target = torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1])
    >>> recall_at_fixed_precision(preds, target, "binary", min_precision=0.5, thresholds=5)
    (tensor(1.), tensor(0.5000))
    """
    own: Any = {"min_precision": min_precision, "input": input, "undefined": undefined}
    implementations: Any = {
        "binary": partial(binary_recall_at_fixed_precision, **own),
        "multiclass": partial(multiclass_recall_at_fixed_precision, **own),
        "multilabel": partial(multilabel_recall_at_fixed_precision, **own),
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
