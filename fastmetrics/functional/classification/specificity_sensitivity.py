"""Specificity at sensitivity: the best specificity at which sensitivity reaches a minimum.

Arguments are explained in :mod:`fastmetrics.functional.classification.precision_recall_curve`, and
``min_sensitivity`` here: a number in [0, 1]. Where several thresholds are equally good, the
highest one counts. Where none reaches the minimum, the specificity is 0 and the threshold 1e6.
With ``undefined="nan"`` both are NaN for a class without positives or without negatives.

Source: Altman and Bland, Diagnostic tests 1: sensitivity and specificity, BMJ 308 (1994).
"""

from __future__ import annotations

from torch import Tensor

from fastmetrics.functional.classification._best_point import (
    RateAndThreshold,
    best_point,
)
from fastmetrics.functional.classification._curve_functions import by_task, of_batch
from fastmetrics.ops.rates import SPECIFICITY_AT_SENSITIVITY
from fastmetrics.ops.thresholds import Thresholds

__all__ = [
    "binary_specificity_at_sensitivity",
    "multiclass_specificity_at_sensitivity",
    "multilabel_specificity_at_sensitivity",
    "specificity_at_sensitivity",
]

FORMULA = best_point(SPECIFICITY_AT_SENSITIVITY, at="sensitivity")


@of_batch(FORMULA, "min_sensitivity=0.5", "(tensor(1.), tensor(0.8000))")
def binary_specificity_at_sensitivity(
    preds: Tensor, target: Tensor, min_sensitivity: float, thresholds: Thresholds = None,
    ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """The best specificity with ``sensitivity >= min_sensitivity`` and its threshold."""


@of_batch(FORMULA, "min_sensitivity=0.9", "(tensor([1., 1.]), tensor([0.4000, 0.9000]))")
def multiclass_specificity_at_sensitivity(
    preds: Tensor, target: Tensor, num_classes: int, min_sensitivity: float,
    thresholds: Thresholds = None, ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """The best specificity with ``sensitivity >= min_sensitivity`` and its threshold, ``[C]``."""


@of_batch(FORMULA, "min_sensitivity=0.9", "(tensor([1., 1.]), tensor([0.7000, 0.6000]))")
def multilabel_specificity_at_sensitivity(
    preds: Tensor, target: Tensor, num_labels: int, min_sensitivity: float,
    thresholds: Thresholds = None, ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """The best specificity with ``sensitivity >= min_sensitivity`` and its threshold, ``[L]``."""


@by_task(
    binary_specificity_at_sensitivity,
    multiclass_specificity_at_sensitivity,
    multilabel_specificity_at_sensitivity,
)
def specificity_at_sensitivity(
    preds: Tensor, target: Tensor, task: str, min_sensitivity: float, thresholds: Thresholds = None,
    num_classes: int | None = None, num_labels: int | None = None, ignore_index: int | None = None,
    validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """The best specificity with ``sensitivity >= min_sensitivity``, of ``task``."""
