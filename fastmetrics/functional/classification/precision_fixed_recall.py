"""Precision at fixed recall: the best precision at which recall reaches a minimum.

Arguments are explained in :mod:`fastmetrics.functional.classification.precision_recall_curve`, and
``min_recall`` here: a number in [0, 1]. Where several thresholds are equally good, the one with
the larger recall counts, then the highest. Where none reaches the minimum with a precision above
0, the precision is 0 and the threshold NaN. With ``undefined="nan"`` both are NaN for a class
without positives.

Source: Eban and others, Scalable learning of non-decomposable objectives, AISTATS 2017.
"""

from __future__ import annotations

from torch import Tensor

from fastmetrics.functional.classification._best_point import (
    RateAndThreshold,
    best_point,
)
from fastmetrics.functional.classification._curve_functions import by_task, of_batch
from fastmetrics.ops.rates import PRECISION_AT_RECALL
from fastmetrics.ops.thresholds import Thresholds

__all__ = [
    "binary_precision_at_fixed_recall",
    "multiclass_precision_at_fixed_recall",
    "multilabel_precision_at_fixed_recall",
    "precision_at_fixed_recall",
]

FORMULA = best_point(PRECISION_AT_RECALL, at="recall")


@of_batch(FORMULA, "min_recall=0.5", "(tensor(1.), tensor(0.8000))")
def binary_precision_at_fixed_recall(
    preds: Tensor, target: Tensor, min_recall: float, thresholds: Thresholds = None,
    ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """The best precision with ``recall >= min_recall`` and its threshold."""


@of_batch(FORMULA, "min_recall=0.9", "(tensor([1., 1.]), tensor([0.4000, 0.9000]))")
def multiclass_precision_at_fixed_recall(
    preds: Tensor, target: Tensor, num_classes: int, min_recall: float,
    thresholds: Thresholds = None, ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """The best precision with ``recall >= min_recall`` and its threshold, ``[C]``."""


@of_batch(FORMULA, "min_recall=0.9", "(tensor([1., 1.]), tensor([0.7000, 0.6000]))")
def multilabel_precision_at_fixed_recall(
    preds: Tensor, target: Tensor, num_labels: int, min_recall: float,
    thresholds: Thresholds = None, ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """The best precision with ``recall >= min_recall`` and its threshold, ``[L]``."""


@by_task(
    binary_precision_at_fixed_recall,
    multiclass_precision_at_fixed_recall,
    multilabel_precision_at_fixed_recall,
)
def precision_at_fixed_recall(
    preds: Tensor, target: Tensor, task: str, min_recall: float, thresholds: Thresholds = None,
    num_classes: int | None = None, num_labels: int | None = None, ignore_index: int | None = None,
    validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """The best precision with ``recall >= min_recall`` and its threshold, of ``task``."""
