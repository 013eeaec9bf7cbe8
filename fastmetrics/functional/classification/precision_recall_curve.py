"""Precision and recall at every threshold, and the arguments that all curves share.

A score at or above a threshold counts as positive. Shared arguments, for this module and for
``roc``, ``auroc`` and ``average_precision`` (N samples, C classes, L labels, T thresholds):

- ``preds``: scores in a float type: binary ``[N, ...]``, multiclass ``[N, C, ...]``, multilabel
  ``[N, L, ...]``. NaN ranks below every score.
- ``target``: labels in any integer type or bool, ``[N, ...]``, for multilabel ``[N, L, ...]``; 0 or
  1 for binary and multilabel, in ``[0, C)`` for multiclass, where each class is compared with all
  others.
- ``thresholds``: None for every distinct score; an integer T of at least 2 for
  ``linspace(0, 1, T)``, a list of floats in ``[0, 1]`` or a tensor with one axis; ``"auto"`` for
  every distinct score in constant memory: metrics merge scores that lie close together once they
  have kept many, 262,144 of binary ones and fewer of many classes.
- ``num_classes``, ``num_labels``: integers of at least 2.
- ``ignore_index``: integer or None; elements with this target are left out.
- ``validate_args``: check the arguments and the labels; False skips both.
- ``weight``: optional ``[N]``, how much each sample counts.
- ``input``: ``"probs"`` and ``"logits"`` say what the scores are; ``"auto"`` takes all of them as
  logits as soon as one lies outside ``[0, 1]``. Thresholds are probabilities, reached by logits
  through a sigmoid, for multiclass a softmax; no rounding makes logits equal that are not.
- ``undefined``: ``"nan"`` puts NaN where a class has no positives, or no negatives, and the value
  is 0/0; averages over classes leave it out. None puts 0 there, except in precision and recall.

All raise ``ValueError`` for arguments, shapes and dtypes that do not fit and ``RuntimeError`` for
labels out of range. Formulas run in float64 and return float32.

Source: Davis and Goadrich, The relationship between Precision-Recall and ROC curves, ICML 2006.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastmetrics.functional.classification._curve import mean_curve, rows_of
from fastmetrics.functional.classification._curve_functions import by_task, of_batch
from fastmetrics.functional.classification._scores import RECALL, CurveFormula
from fastmetrics.ops.rates import precision_recall_
from fastmetrics.ops.scores import Curve, Curves, Scores
from fastmetrics.ops.thresholds import Thresholds

__all__ = [
    "binary_precision_recall_curve",
    "multiclass_precision_recall_curve",
    "multilabel_precision_recall_curve",
    "precision_recall_curve",
]

Points = tuple[Tensor, Tensor, Tensor]
"""Two coordinates and the thresholds of a curve; coordinates ``[C, K]`` for several classes."""

PointLists = tuple[list[Tensor], list[Tensor], list[Tensor]]
"""The same for classes that have thresholds of their own."""

CURVE_AVERAGES = (None, "micro", "macro")


def precision_and_recall(
    curve: Curve,
    undefined: str | None = "nan",
    *,
    closed: bool = False,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    """Return precision and recall, ``[..., K]`` by descending threshold; 0/0 is NaN.

    With ``undefined=None`` recall without positives is 1 at thresholds of the data. A curve that is
    ``closed`` ascends, and ends in the point (1, 0) ``[..., K + 1]``.
    """
    points = curve.fps.shape[-1]
    shape = (*curve.fps.shape[:-1], points + 1 if closed else points)
    precision = torch.empty(shape, dtype=dtype, device=curve.fps.device)
    recall = torch.empty(shape, dtype=dtype, device=curve.fps.device)
    none = 1.0 if undefined is None and not curve.grid else math.nan
    precision_recall_(precision, recall, curve.fps, curve.tps, curve.positives, closed, none)
    return precision, recall


def _points(curve: Curve, undefined: str | None, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return precision and recall ``[..., K + 1]``, thresholds as given, and the point (1, 0)."""
    points = precision_and_recall(curve, undefined, closed=True, dtype=dtype)
    if curve.order is None:
        return points
    order = torch.cat([len(curve.order) - 1 - curve.order, curve.order.new_full((1,), -1)])
    return points[0][..., order], points[1][..., order]


def _gaps_last(precision: Tensor, recall: Tensor) -> tuple[Tensor, Tensor]:
    """Put the points without predictions, whose precision is NaN, behind all others."""
    order = precision.isnan().long().sort(dim=-1, stable=True).indices
    return precision.gather(-1, order), recall.gather(-1, order)


def precision_recall_formula(
    curves: Curves, average: str | None = None, undefined: str | None = None
) -> Points | PointLists:
    """Return precision, recall and thresholds as `binary_precision_recall_curve` documents them."""
    every = [curves] if isinstance(curves, Curve) else curves
    dtype = torch.float64 if average == "macro" else torch.float32
    points = [_points(curve, undefined, dtype) for curve in every]
    thresholds = [c.thresholds.clone() if c.grid else c.thresholds.flip(0) for c in every]
    if average == "macro":
        gaps = torch.stack([p.isnan().any() for p, _ in points]).any()
        points = [_gaps_last(p, r) for p, r in points]
        precision, recall = mean_curve(rows_of(points))
        # Lines where the precision turns back may leave the range; upstream's do in full.
        recall = torch.where(gaps, recall.clamp(0.0, 1.0), recall)
        repeats = len(precision) // (sum(len(t) + 1 for t in thresholds))
        return precision.float(), recall.float(), torch.cat(thresholds * repeats).sort().values
    if isinstance(curves, Curve):
        (precision, recall), (given,) = points[0], thresholds
        return precision, recall, given
    return [p for p, _ in points], [r for _, r in points], thresholds


def _absent(scores: Scores, undefined: str | None) -> str | None:
    return "nan" if scores.multiclass else undefined


FORMULA = CurveFormula(
    of_curves=precision_recall_formula,
    static_shape=False,
    class_averages=CURVE_AVERAGES,
    absent=_absent,
    divides_by=RECALL,
)


@of_batch(
    FORMULA,
    "thresholds=[0.5]",
    "(tensor([0.6667, 1.0000]), tensor([1., 0.]), tensor([0.5000]))",
)
def binary_precision_recall_curve(
    preds: Tensor, target: Tensor, thresholds: Thresholds = None, ignore_index: int | None = None,
    validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Points:  # fmt: skip
    """Compute ``tp / (tp + fp)`` and ``tp / (tp + fn)`` at each threshold.

    Returns precision ``[K + 1]``, recall ``[K + 1]`` and thresholds ``[K]``, ascending; the last
    point, precision 1 at recall 0, has no threshold. Where nothing is predicted positive precision
    is NaN. Without positives recall is NaN; at thresholds of the data it is 1 then, unless
    ``undefined`` is "nan".
    """


@of_batch(
    FORMULA,
    "thresholds=[0.5]",
    (
        "(tensor([[1.0000, 1.0000],\n        [0.5000, 1.0000]]), "
        "tensor([[0.5000, 0.0000],\n        [1.0000, 0.0000]]), "
        "tensor([0.5000]))"
    ),
)
def multiclass_precision_recall_curve(
    preds: Tensor, target: Tensor, num_classes: int, thresholds: Thresholds = None,
    average: str | None = None, ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Points | PointLists:  # fmt: skip
    """Compute ``tp / (tp + fp)`` and ``tp / (tp + fn)`` of each class against all others.

    Returns precision and recall ``[C, T + 1]`` and thresholds ``[T]``, or three lists of C tensors
    where classes have thresholds of their own. ``average="micro"`` counts all classes into one
    curve; ``"macro"`` is the mean of the interpolated curves at the precisions of all of them,
    without points where nothing is predicted.
    """


@of_batch(
    FORMULA,
    "thresholds=[0.5]",
    (
        "(tensor([[1., 1.],\n        [1., 1.]]), "
        "tensor([[1., 0.],\n        [1., 0.]]), "
        "tensor([0.5000]))"
    ),
)
def multilabel_precision_recall_curve(
    preds: Tensor, target: Tensor, num_labels: int, thresholds: Thresholds = None,
    ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Points | PointLists:  # fmt: skip
    """Compute ``tp / (tp + fp)`` and ``tp / (tp + fn)`` of each label.

    Returns precision and recall ``[L, T + 1]`` and thresholds ``[T]``, or three lists of L tensors
    where labels have thresholds of their own.
    """


@by_task(
    binary_precision_recall_curve,
    multiclass_precision_recall_curve,
    multilabel_precision_recall_curve,
)
def precision_recall_curve(
    preds: Tensor, target: Tensor, task: str, thresholds: Thresholds = None,
    num_classes: int | None = None, num_labels: int | None = None, average: str | None = None,
    ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Points | PointLists:  # fmt: skip
    """Compute precision ``tp / (tp + fp)`` and recall ``tp / (tp + fn)`` of ``task``."""
