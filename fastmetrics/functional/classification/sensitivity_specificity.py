"""Sensitivity at specificity: the best sensitivity at which specificity reaches a minimum.

Arguments are explained in :mod:`fastmetrics.functional.classification.precision_recall_curve`, and
``min_specificity`` here: a number in [0, 1]. Where several thresholds are equally good, the
highest one counts. Where none reaches the minimum, the sensitivity is 0 and the threshold 1e6.
With ``undefined="nan"`` both are NaN for a class without positives or without negatives.

Source: Altman and Bland, Diagnostic tests 1: sensitivity and specificity, BMJ 308 (1994).
"""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from torch import Tensor

from fastmetrics.functional.classification._best_point import (
    Candidates,
    RateAndThreshold,
    best_point,
    roc_points,
)
from fastmetrics.functional.classification._curve_functions import by_task, of_batch
from fastmetrics.functional.classification.roc import from_origin
from fastmetrics.ops.scores import Curve
from fastmetrics.ops.thresholds import Thresholds

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


SENSITIVITY_AT_SPECIFICITY = best_point("min_specificity", _candidates)


@of_batch(
    SENSITIVITY_AT_SPECIFICITY,
    call="min_specificity=0.5, thresholds=5",
    shows="(tensor(1.), tensor(0.5000))",
)
def binary_sensitivity_at_specificity(
    preds: Tensor, target: Tensor, min_specificity: float, thresholds: Thresholds = None,
    ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """Find the largest sensitivity with ``specificity >= min_specificity``, and its threshold."""


@of_batch(
    SENSITIVITY_AT_SPECIFICITY,
    call="min_specificity=0.9, thresholds=5",
    shows="(tensor([1., 1.]), tensor([0.2500, 0.7500]))",
)
def multiclass_sensitivity_at_specificity(
    preds: Tensor, target: Tensor, num_classes: int, min_specificity: float,
    thresholds: Thresholds = None, ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """Find the largest sensitivity of each class with ``specificity >= min_specificity``.

    A class is compared with all others. Its threshold comes second; both are ``[C]``.
    """


@of_batch(
    SENSITIVITY_AT_SPECIFICITY,
    call="min_specificity=0.9, thresholds=5",
    shows="(tensor([1., 1.]), tensor([0.5000, 0.5000]))",
)
def multilabel_sensitivity_at_specificity(
    preds: Tensor, target: Tensor, num_labels: int, min_specificity: float,
    thresholds: Thresholds = None, ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """Find the largest sensitivity of each label with ``specificity >= min_specificity``.

    Its threshold comes second; both are ``[L]``.
    """


@by_task(
    binary_sensitivity_at_specificity,
    multiclass_sensitivity_at_specificity,
    multilabel_sensitivity_at_specificity,
    call="min_specificity=0.5, thresholds=5",
    shows="(tensor(1.), tensor(0.5000))",
)
def sensitivity_at_specificity(
    preds: Tensor, target: Tensor, task: str, min_specificity: float, thresholds: Thresholds = None,
    num_classes: int | None = None, num_labels: int | None = None, ignore_index: int | None = None,
    validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """Find the largest sensitivity of ``task`` with ``specificity >= min_specificity``."""
