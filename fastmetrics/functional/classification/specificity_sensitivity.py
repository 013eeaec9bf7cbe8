"""Specificity at sensitivity: the best specificity at which sensitivity reaches a minimum.

Arguments are explained in :mod:`fastmetrics.functional.classification.precision_recall_curve`, and
``min_sensitivity`` here: a number in [0, 1]. Where several thresholds are equally good, the
highest one counts. Where none reaches the minimum, the specificity is 0 and the threshold 1e6.
With ``undefined="nan"`` both are NaN for a class without positives or without negatives.

Source: Altman and Bland, Diagnostic tests 1: sensitivity and specificity, BMJ 308 (1994).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from fastmetrics.functional.classification._best_point import (
    BestPoint,
    Candidates,
    RateAndThreshold,
    roc_points,
)
from fastmetrics.functional.classification._curve import Curve, Thresholds
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.functional.classification.roc import from_origin
from fastmetrics.functional.classification.sensitivity_specificity import (
    sensitivity_and_specificity,
)

__all__ = [
    "binary_specificity_at_sensitivity",
    "multiclass_specificity_at_sensitivity",
    "multilabel_specificity_at_sensitivity",
    "specificity_at_sensitivity",
]


def _candidates(curve: Curve, undefined: str | None) -> Candidates:
    curve = from_origin(curve)
    sensitivity, specificity = sensitivity_and_specificity(curve)
    return roc_points(curve, rate=specificity, constrained=sensitivity)


SPECIFICITY_AT_SENSITIVITY = BestPoint("specificity_at_sensitivity", "min_sensitivity", _candidates)


def binary_specificity_at_sensitivity(
    preds: Tensor,
    target: Tensor,
    min_sensitivity: float,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> RateAndThreshold:
    """Find the largest specificity where sensitivity is at least ``min_sensitivity``.

    ``max over t of 1 - fpr_t``, where ``tpr_t >= min_sensitivity``, and its threshold t.

    Arguments and ties as in the module docstring. Returns scalars: specificity, threshold.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_specificity_at_sensitivity
    >>> preds, target = torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1])
    >>> binary_specificity_at_sensitivity(preds, target, min_sensitivity=0.5, thresholds=5)
    (tensor(1.), tensor(0.7500))
    """
    return SPECIFICITY_AT_SENSITIVITY.of_batch(
        "binary",
        preds,
        target,
        1,
        min_sensitivity,
        thresholds,
        ignore_index,
        validate_args,
        weight,
        input,
        undefined,
    )


def multiclass_specificity_at_sensitivity(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    min_sensitivity: float,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> RateAndThreshold:
    """Find the largest specificity of each class, against all others, as the binary function does.

    ``max over t of 1 - fpr_t``, where ``tpr_t >= min_sensitivity``, and its threshold t.

    Returns the specificities and their thresholds, each ``[C]``.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_specificity_at_sensitivity
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]), torch.tensor([0, 0, 1])
    >>> multiclass_specificity_at_sensitivity(preds, target, 2, min_sensitivity=0.9, thresholds=5)
    (tensor([1., 1.]), tensor([0.2500, 0.7500]))
    """
    return SPECIFICITY_AT_SENSITIVITY.of_batch(
        "multiclass",
        preds,
        target,
        num_classes,
        min_sensitivity,
        thresholds,
        ignore_index,
        validate_args,
        weight,
        input,
        undefined,
    )


def multilabel_specificity_at_sensitivity(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    min_sensitivity: float,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> RateAndThreshold:
    """Find the largest specificity of each label, as the binary function does.

    ``max over t of 1 - fpr_t``, where ``tpr_t >= min_sensitivity``, and its threshold t.

    Returns the specificities and their thresholds, each ``[L]``.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_specificity_at_sensitivity
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6]]), torch.tensor([[1, 0], [0, 1]])
    >>> multilabel_specificity_at_sensitivity(preds, target, 2, min_sensitivity=0.9, thresholds=5)
    (tensor([1., 1.]), tensor([0.5000, 0.5000]))
    """
    return SPECIFICITY_AT_SENSITIVITY.of_batch(
        "multilabel",
        preds,
        target,
        num_labels,
        min_sensitivity,
        thresholds,
        ignore_index,
        validate_args,
        weight,
        input,
        undefined,
    )


def specificity_at_sensitivity(
    preds: Tensor,
    target: Tensor,
    task: str,
    min_sensitivity: float,
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
    """Find the largest specificity of ``task``, which is "binary", "multiclass" or "multilabel".

    ``max over t of 1 - fpr_t``, where ``tpr_t >= min_sensitivity``, and its threshold t.

    Passes the arguments that the task has to the function above that is named after it.

    >>> import torch
    >>> from fastmetrics.functional import specificity_at_sensitivity
    >>> preds, target = torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1])
    >>> specificity_at_sensitivity(preds, target, "binary", min_sensitivity=0.5, thresholds=5)
    (tensor(1.), tensor(0.7500))
    """
    own: Any = {"min_sensitivity": min_sensitivity, "input": input, "undefined": undefined}
    implementations: Any = {
        "binary": partial(binary_specificity_at_sensitivity, **own),
        "multiclass": partial(multiclass_specificity_at_sensitivity, **own),
        "multilabel": partial(multilabel_specificity_at_sensitivity, **own),
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
