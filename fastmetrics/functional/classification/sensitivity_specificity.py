"""Sensitivity at specificity: the best sensitivity at which specificity reaches a minimum.

Arguments are explained in :mod:`fastmetrics.functional.classification.precision_recall_curve`, and
``min_specificity`` here: a number in [0, 1]. Where several thresholds are equally good, the
highest one counts. Where none reaches the minimum, the sensitivity is 0 and the threshold 1e6.
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

__all__ = [
    "binary_sensitivity_at_specificity",
    "multiclass_sensitivity_at_specificity",
    "multilabel_sensitivity_at_specificity",
    "sensitivity_at_specificity",
]


def sensitivity_and_specificity(curve: Curve) -> tuple[Tensor, Tensor]:
    """Return both as float64, ``[..., K]``, at each point of a curve that starts at the origin.

    Without positives sensitivity is 0, without negatives specificity is 1.
    """
    negatives = curve.negatives.unsqueeze(-1)
    # Not 1 - fpr, whose rounding would decide whether a minimum is reached.
    specificity = (negatives - curve.fps) / negatives
    sensitivity = curve.tps / curve.positives.unsqueeze(-1)
    return sensitivity.nan_to_num(0.0), specificity.nan_to_num(1.0)


def _candidates(curve: Curve, undefined: str | None) -> Candidates:
    curve = from_origin(curve)
    sensitivity, specificity = sensitivity_and_specificity(curve)
    return roc_points(curve, rate=sensitivity, constrained=specificity)


SENSITIVITY_AT_SPECIFICITY = BestPoint("sensitivity_at_specificity", "min_specificity", _candidates)


def binary_sensitivity_at_specificity(
    preds: Tensor,
    target: Tensor,
    min_specificity: float,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> RateAndThreshold:
    """Find the largest sensitivity where specificity is at least ``min_specificity``.

    ``max over t of tpr_t``, where ``1 - fpr_t >= min_specificity``, and its threshold t.

    Arguments and ties as in the module docstring. Returns scalars: sensitivity, threshold.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_sensitivity_at_specificity
    >>> preds, target = torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1])
    >>> binary_sensitivity_at_specificity(preds, target, min_specificity=0.5, thresholds=5)
    (tensor(1.), tensor(0.5000))
    """
    return SENSITIVITY_AT_SPECIFICITY.of_batch(
        "binary",
        preds,
        target,
        1,
        min_specificity,
        thresholds,
        ignore_index,
        validate_args,
        weight,
        input,
        undefined,
    )


def multiclass_sensitivity_at_specificity(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    min_specificity: float,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> RateAndThreshold:
    """Find the largest sensitivity of each class, against all others, as the binary function does.

    ``max over t of tpr_t``, where ``1 - fpr_t >= min_specificity``, and its threshold t.

    Returns the sensitivities and their thresholds, each ``[C]``.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_sensitivity_at_specificity
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]), torch.tensor([0, 0, 1])
    >>> multiclass_sensitivity_at_specificity(preds, target, 2, min_specificity=0.9, thresholds=5)
    (tensor([1., 1.]), tensor([0.2500, 0.7500]))
    """
    return SENSITIVITY_AT_SPECIFICITY.of_batch(
        "multiclass",
        preds,
        target,
        num_classes,
        min_specificity,
        thresholds,
        ignore_index,
        validate_args,
        weight,
        input,
        undefined,
    )


def multilabel_sensitivity_at_specificity(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    min_specificity: float,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> RateAndThreshold:
    """Find the largest sensitivity of each label, as the binary function does.

    ``max over t of tpr_t``, where ``1 - fpr_t >= min_specificity``, and its threshold t.

    Returns the sensitivities and their thresholds, each ``[L]``.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_sensitivity_at_specificity
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6]]), torch.tensor([[1, 0], [0, 1]])
    >>> multilabel_sensitivity_at_specificity(preds, target, 2, min_specificity=0.9, thresholds=5)
    (tensor([1., 1.]), tensor([0.5000, 0.5000]))
    """
    return SENSITIVITY_AT_SPECIFICITY.of_batch(
        "multilabel",
        preds,
        target,
        num_labels,
        min_specificity,
        thresholds,
        ignore_index,
        validate_args,
        weight,
        input,
        undefined,
    )


def sensitivity_at_specificity(
    preds: Tensor,
    target: Tensor,
    task: str,
    min_specificity: float,
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
    """Find the largest sensitivity of ``task``, which is "binary", "multiclass" or "multilabel".

    ``max over t of tpr_t``, where ``1 - fpr_t >= min_specificity``, and its threshold t.

    Passes the arguments that the task has to the function above that is named after it.

    >>> import torch
    >>> from fastmetrics.functional import sensitivity_at_specificity
    >>> preds, target = torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1])
    >>> sensitivity_at_specificity(preds, target, "binary", min_specificity=0.5, thresholds=5)
    (tensor(1.), tensor(0.5000))
    """
    own: Any = {"min_specificity": min_specificity, "input": input, "undefined": undefined}
    implementations: Any = {
        "binary": partial(binary_sensitivity_at_specificity, **own),
        "multiclass": partial(multiclass_sensitivity_at_specificity, **own),
        "multilabel": partial(multilabel_sensitivity_at_specificity, **own),
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
