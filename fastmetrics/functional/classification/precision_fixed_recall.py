"""Precision at fixed recall: the best precision at which recall reaches a minimum.

Arguments are explained in :mod:`fastmetrics.functional.classification.precision_recall_curve`, and
``min_recall`` here: a number in [0, 1]. Where several thresholds are equally good, the one with
the larger recall counts, then the highest. Where none reaches the minimum with a precision above
0, the precision is 0 and the threshold NaN. With ``undefined="nan"`` both are NaN for a class
without positives.

Source: Eban and others, Scalable learning of non-decomposable objectives, AISTATS 2017.
"""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from torch import Tensor

from fastmetrics.functional.classification._best_point import (
    Candidates,
    RateAndThreshold,
    best_point,
    precision_recall_points,
)
from fastmetrics.functional.classification._curve_functions import by_task, of_batch
from fastmetrics.functional.classification.precision_recall_curve import precision_and_recall
from fastmetrics.ops.scores import Curve
from fastmetrics.ops.thresholds import Thresholds

__all__ = [
    "binary_precision_at_fixed_recall",
    "multiclass_precision_at_fixed_recall",
    "multilabel_precision_at_fixed_recall",
    "precision_at_fixed_recall",
]


def _candidates(curve: Curve, undefined: str | None) -> Candidates:
    precision, recall = precision_and_recall(curve, undefined)
    return precision_recall_points(curve, rate=precision, constrained=recall)


PRECISION_AT_RECALL = best_point("min_recall", _candidates)


@of_batch(
    PRECISION_AT_RECALL, call="min_recall=0.5, thresholds=5", shows="(tensor(1.), tensor(0.7500))"
)
def binary_precision_at_fixed_recall(
    preds: Tensor, target: Tensor, min_recall: float, thresholds: Thresholds = None,
    ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """Find the largest precision with ``recall >= min_recall``, and its threshold."""


@of_batch(
    PRECISION_AT_RECALL,
    call="min_recall=0.9, thresholds=5",
    shows="(tensor([1., 1.]), tensor([0.2500, 0.7500]))",
)
def multiclass_precision_at_fixed_recall(
    preds: Tensor, target: Tensor, num_classes: int, min_recall: float,
    thresholds: Thresholds = None, ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """Find the largest precision of each class with ``recall >= min_recall``.

    A class is compared with all others. Its threshold comes second; both are ``[C]``.
    """


@of_batch(
    PRECISION_AT_RECALL,
    call="min_recall=0.9, thresholds=5",
    shows="(tensor([1., 1.]), tensor([0.5000, 0.5000]))",
)
def multilabel_precision_at_fixed_recall(
    preds: Tensor, target: Tensor, num_labels: int, min_recall: float,
    thresholds: Thresholds = None, ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """Find the largest precision of each label with ``recall >= min_recall``.

    Its threshold comes second; both are ``[L]``.
    """


@by_task(
    binary_precision_at_fixed_recall,
    multiclass_precision_at_fixed_recall,
    multilabel_precision_at_fixed_recall,
    call="min_recall=0.5, thresholds=5",
    shows="(tensor(1.), tensor(0.7500))",
)
def precision_at_fixed_recall(
    preds: Tensor, target: Tensor, task: str, min_recall: float, thresholds: Thresholds = None,
    num_classes: int | None = None, num_labels: int | None = None, ignore_index: int | None = None,
    validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> RateAndThreshold:  # fmt: skip
    """Find the largest precision of ``task`` with ``recall >= min_recall``."""
