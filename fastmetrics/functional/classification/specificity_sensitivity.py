"""Specificity at sensitivity: the best specificity at which sensitivity reaches a minimum.

Arguments are explained in :mod:`fastmetrics.functional.classification.precision_recall_curve`, and
``min_sensitivity`` here: a number in [0, 1]. Where several thresholds are equally good, the
highest one counts. Where none reaches the minimum, the specificity is 0 and the threshold 1e6.
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
from fastmetrics.functional.classification.sensitivity_specificity import (
    sensitivity_and_specificity,
)
from fastmetrics.ops.scores import Curve
from fastmetrics.ops.thresholds import Thresholds

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


SPECIFICITY_AT_SENSITIVITY = best_point("min_sensitivity", _candidates)


@of_batch(
    SPECIFICITY_AT_SENSITIVITY,
    call="min_sensitivity=0.5, thresholds=5",
    shows="(tensor(1.), tensor(0.7500))",
)
def binary_specificity_at_sensitivity(
    preds: Tensor, target: Tensor, min_sensitivity: float, thresholds: Thresholds = None,
    ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """Find the largest specificity with ``sensitivity >= min_sensitivity``, and its threshold."""


@of_batch(
    SPECIFICITY_AT_SENSITIVITY,
    call="min_sensitivity=0.9, thresholds=5",
    shows="(tensor([1., 1.]), tensor([0.2500, 0.7500]))",
)
def multiclass_specificity_at_sensitivity(
    preds: Tensor, target: Tensor, num_classes: int, min_sensitivity: float,
    thresholds: Thresholds = None, ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """Find the largest specificity of each class with ``sensitivity >= min_sensitivity``.

    A class is compared with all others. Its threshold comes second; both are ``[C]``.
    """


@of_batch(
    SPECIFICITY_AT_SENSITIVITY,
    call="min_sensitivity=0.9, thresholds=5",
    shows="(tensor([1., 1.]), tensor([0.5000, 0.5000]))",
)
def multilabel_specificity_at_sensitivity(
    preds: Tensor, target: Tensor, num_labels: int, min_sensitivity: float,
    thresholds: Thresholds = None, ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """Find the largest specificity of each label with ``sensitivity >= min_sensitivity``.

    Its threshold comes second; both are ``[L]``.
    """


@by_task(
    binary_specificity_at_sensitivity,
    multiclass_specificity_at_sensitivity,
    multilabel_specificity_at_sensitivity,
    call="min_sensitivity=0.5, thresholds=5",
    shows="(tensor(1.), tensor(0.7500))",
)
def specificity_at_sensitivity(
    preds: Tensor, target: Tensor, task: str, min_sensitivity: float, thresholds: Thresholds = None,
    num_classes: int | None = None, num_labels: int | None = None, ignore_index: int | None = None,
    validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """Find the largest specificity of ``task`` with ``sensitivity >= min_sensitivity``."""
