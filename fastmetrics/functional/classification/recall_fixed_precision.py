"""Recall at fixed precision: the best recall at which precision reaches a minimum.

Arguments are explained in :mod:`fastmetrics.functional.classification.precision_recall_curve`, and
``min_precision`` here: a number in [0, 1]. Where several thresholds are equally good, the one with
the larger precision counts, then the highest. Where none reaches the minimum with a recall above
0, the recall is 0 and the threshold NaN. With ``undefined="nan"`` both are NaN for a class without
positives.

Source: Eban and others, Scalable learning of non-decomposable objectives, AISTATS 2017.
"""

from __future__ import annotations

from torch import Tensor

from fastmetrics.functional.classification._best_point import (
    RateAndThreshold,
    best_point,
)
from fastmetrics.functional.classification._curve_functions import by_task, of_batch
from fastmetrics.ops.rates import RECALL_AT_PRECISION
from fastmetrics.ops.thresholds import Thresholds

__all__ = [
    "binary_recall_at_fixed_precision",
    "multiclass_recall_at_fixed_precision",
    "multilabel_recall_at_fixed_precision",
    "recall_at_fixed_precision",
]

FORMULA = best_point(RECALL_AT_PRECISION, at="precision")


@of_batch(FORMULA, "min_precision=0.5", "(tensor(1.), tensor(0.6000))")
def binary_recall_at_fixed_precision(
    preds: Tensor, target: Tensor, min_precision: float, thresholds: Thresholds = None,
    ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """The best recall with ``precision >= min_precision`` and its threshold."""


@of_batch(FORMULA, "min_precision=0.9", "(tensor([1., 1.]), tensor([0.4000, 0.9000]))")
def multiclass_recall_at_fixed_precision(
    preds: Tensor, target: Tensor, num_classes: int, min_precision: float,
    thresholds: Thresholds = None, ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """The best recall with ``precision >= min_precision`` and its threshold, ``[C]``."""


@of_batch(FORMULA, "min_precision=0.9", "(tensor([1., 1.]), tensor([0.7000, 0.6000]))")
def multilabel_recall_at_fixed_precision(
    preds: Tensor, target: Tensor, num_labels: int, min_precision: float,
    thresholds: Thresholds = None, ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """The best recall with ``precision >= min_precision`` and its threshold, ``[L]``."""


@by_task(
    binary_recall_at_fixed_precision,
    multiclass_recall_at_fixed_precision,
    multilabel_recall_at_fixed_precision,
)
def recall_at_fixed_precision(
    preds: Tensor, target: Tensor, task: str, min_precision: float, thresholds: Thresholds = None,
    num_classes: int | None = None, num_labels: int | None = None, ignore_index: int | None = None,
    validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """The best recall with ``precision >= min_precision`` and its threshold, of ``task``."""
