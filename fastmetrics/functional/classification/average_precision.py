"""Average precision: the precision at each threshold, weighted by the recall gained there.

Arguments are explained in :mod:`fastmetrics.functional.classification.precision_recall_curve`, and
``average`` here: ``"macro"``, ``"weighted"`` (by the positives of each class), ``"none"`` or None,
for multilabel also ``"micro"``. A class without positives is ``undefined``; for
multiclass and thresholds of the data (None, "auto") it is NaN and left out of averages.

Source: Manning, Raghavan and Schütze, Introduction to Information Retrieval, Cambridge University
Press 2008, section 8.4.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastmetrics.functional.classification._curve import sum_from
from fastmetrics.functional.classification._curve_functions import by_task, of_batch
from fastmetrics.functional.classification._scores import RECALL, AreaFormula
from fastmetrics.functional.classification.precision_recall_curve import precision_and_recall
from fastmetrics.ops.cells import Cells
from fastmetrics.ops.scores import Binned, Curve, Scores
from fastmetrics.ops.thresholds import Thresholds

__all__ = [
    "average_precision",
    "binary_average_precision",
    "multiclass_average_precision",
    "multilabel_average_precision",
]


def precision_by_recall(curve: Curve, undefined: str | None) -> Tensor:
    """Return the sum of precision times gain in recall, float64 ``[...]``."""
    precision, recall = (x.nan_to_num(0.0) for x in precision_and_recall(curve))
    gain = recall.diff(prepend=torch.zeros_like(recall[..., :1]))
    value = (gain * precision).sum(-1)
    if undefined is not None:
        value = value.where(curve.positives > 0, torch.nan)
    return value


def _least_and_most(cells: Cells, undefined: str | None) -> tuple[Tensor, Tensor]:
    """Return the bounds.

    A positive has at most the precision T / (T + F), where all positives that may lie as high as
    its cell begins are the T, and the negatives that cannot lie below the end of its cell the F.
    With T positives above its cell, F negatives that may lie as high as it begins, and p positives
    in it, the i-th positive of the cell has at least (T + i) / (T + i + F): concave in i, so
    the mean of those for 0 and p is a bound for the mean. Equal scores have that for p.
    """
    first, last = cells.images.unbind(1)
    negatives, positives = cells.counts.unbind(1)
    tps, fps = sum_from(last, positives, first), sum_from(first, negatives, last)
    most = (tps / (tps + fps)).nan_to_num(0.0)
    above, fps = sum_from(first, positives, last, above=True), sum_from(last, negatives, first)
    tps = above + positives
    final = (tps / (tps + fps)).nan_to_num(0.0)
    mean = ((above / (above + fps)).nan_to_num(0.0) + final) / 2
    least = final.where(first == last, mean)
    total = positives.sum(-1)
    low, high = ((positives * value).sum(-1) / total for value in (least, most))
    return (low.nan_to_num(0.0), high.nan_to_num(0.0)) if undefined is None else (low, high)


def _absent(scores: Scores, undefined: str | None) -> str | None:
    """Return what a class without positives has: at thresholds of the data multiclass has NaN."""
    own = scores.multiclass and not isinstance(scores, Binned)
    return "nan" if own else undefined


def _mean_precision(precisions: Any, negatives: Any, positives: Any) -> Any:
    return precisions / positives


FORMULA = AreaFormula(
    of_curve=precision_by_recall,
    of_areas=_mean_precision,
    precision=True,
    of_cells=_least_and_most,
    absent=_absent,
    divides_by=RECALL,
    leaves_out=True,
)


@of_batch(FORMULA, "thresholds=11", "tensor(0.8333)")
def binary_average_precision(
    preds: Tensor, target: Tensor, thresholds: Thresholds = None, ignore_index: int | None = None,
    validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Tensor:  # fmt: skip
    """Sum precision times gain in recall over the thresholds, from the highest down.

    ``sum over t of (recall_t - recall_(t+1)) * precision_t``, the thresholds t ascending.
    Returns a float32 scalar.
    """


@of_batch(FORMULA, "thresholds=11", "tensor(1.)")
def multiclass_average_precision(
    preds: Tensor, target: Tensor, num_classes: int, average: str | None = "macro",
    thresholds: Thresholds = None, ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Tensor:  # fmt: skip
    """Average the value of each class against all others.

    ``sum over t of (recall_t - recall_(t+1)) * precision_t``, the thresholds t ascending.
    Returns a float32 scalar, ``[C]`` without an average.
    """


@of_batch(FORMULA, "thresholds=11, average=None", "tensor([1., 1.])")
def multilabel_average_precision(
    preds: Tensor, target: Tensor, num_labels: int, average: str | None = "macro",
    thresholds: Thresholds = None, ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Tensor:  # fmt: skip
    """Average the value of each label.

    ``sum over t of (recall_t - recall_(t+1)) * precision_t``, the thresholds t ascending.
    ``average="micro"`` takes the value of one curve over all labels.
    Returns a float32 scalar, ``[L]`` without an average.
    """


@by_task(binary_average_precision, multiclass_average_precision, multilabel_average_precision)
def average_precision(
    preds: Tensor, target: Tensor, task: str, thresholds: Thresholds = None,
    num_classes: int | None = None, num_labels: int | None = None, average: str | None = "macro",
    ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Tensor:  # fmt: skip
    """Compute the average precision of ``task``.

    ``sum over t of (recall_t - recall_(t+1)) * precision_t``, the thresholds t ascending.
    """
