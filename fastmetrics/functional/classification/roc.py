"""Receiver operating characteristic: true against false positive rate at every threshold.

Arguments are explained in :mod:`fastmetrics.functional.classification.precision_recall_curve`.

Source: Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 27 (2006).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastmetrics.functional.classification._curve import mean_curve, rows_of
from fastmetrics.functional.classification._curve_functions import by_task, of_batch
from fastmetrics.functional.classification._scores import CurveFormula
from fastmetrics.functional.classification.precision_recall_curve import (
    CURVE_AVERAGES,
    PointLists,
    Points,
)
from fastmetrics.ops.rates import roc_rates_
from fastmetrics.ops.scores import Curve, Curves
from fastmetrics.ops.thresholds import Thresholds

__all__ = ["binary_roc", "multiclass_roc", "multilabel_roc", "roc"]


def rates(
    curve: Curve, undefined: str | None = "nan", dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Return false and true positive rates by descending threshold; 0/0 is NaN, or 0 if None.

    Thresholds of the data are preceded by one that no score reaches, ``[..., K + 1]``. They are
    divided in float64 and put together in ``dtype``.
    """
    points = curve.fps.shape[-1]
    shape = (*curve.fps.shape[:-1], points if curve.grid else points + 1)
    fpr = torch.empty(shape, dtype=dtype, device=curve.fps.device)
    tpr = torch.empty(shape, dtype=dtype, device=curve.fps.device)
    value = 0.0 if undefined is None else math.nan
    roc_rates_(fpr, tpr, curve.fps, curve.tps, curve.negatives, curve.positives, value)
    return fpr, tpr


def whole_rates(curve: Curve) -> tuple[Tensor, Tensor]:
    """Return the rates of a curve that comes from (0, 0) and ends in (1, 1); 0/0 is 0."""
    fpr, tpr = rates(curve, undefined=None)
    start = torch.zeros_like(fpr[..., :1])
    return (
        torch.cat([start, fpr, start + 1.0], -1),
        torch.cat([start, tpr, start + 1.0], -1),
    )


def roc_formula(
    curves: Curves, average: str | None = None, undefined: str | None = None
) -> Points | PointLists:
    """Return rates and thresholds as `binary_roc` documents them."""
    every = [curves] if isinstance(curves, Curve) else curves
    points, thresholds = [], []
    for curve in every:
        fpr, tpr = rates(curve, undefined, torch.float64 if average == "macro" else torch.float32)
        if curve.order is not None:  # given thresholds in reverse, which need not descend
            fpr, tpr = (curve.as_given(x).flip(-1) for x in (fpr, tpr))
        points.append((fpr, tpr))
        known = curve.thresholds
        thresholds.append(known.flip(0) if curve.grid else torch.cat([known.new_ones(1), known]))
    if average == "macro":
        fpr, tpr = mean_curve(rows_of(points))
        repeats = len(fpr) // sum(len(t) for t in thresholds)
        descending = torch.cat(thresholds * repeats).sort(descending=True).values
        return fpr.float(), tpr.float(), descending
    if isinstance(curves, Curve):
        (fpr, tpr), (given,) = points[0], thresholds
        return fpr, tpr, given
    return [x for x, _ in points], [y for _, y in points], thresholds


FORMULA = CurveFormula(of_curves=roc_formula, static_shape=False, class_averages=CURVE_AVERAGES)


@of_batch(FORMULA, "thresholds=[0.5]", "(tensor([0.5000]), tensor([1.]), tensor([0.5000]))")
def binary_roc(
    preds: Tensor, target: Tensor, thresholds: Thresholds = None, ignore_index: int | None = None,
    validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Points:  # fmt: skip
    """Compute ``fp / (fp + tn)`` and ``tp / (tp + fn)`` at each threshold.

    Returns the false positive rate, the true positive rate and the thresholds, descending. Without
    negatives the former, without positives the latter is ``undefined``.
    """


@of_batch(
    FORMULA,
    "thresholds=[0.5]",
    (
        "(tensor([[0.0000],\n        [0.5000]]), "
        "tensor([[0.5000],\n        [1.0000]]), "
        "tensor([0.5000]))"
    ),
)
def multiclass_roc(
    preds: Tensor, target: Tensor, num_classes: int, thresholds: Thresholds = None,
    average: str | None = None, ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Points | PointLists:  # fmt: skip
    """Compute ``fp / (fp + tn)`` and ``tp / (tp + fn)`` of each class against all others.

    Returns rates ``[C, T]`` and thresholds ``[T]``, or three lists of C tensors where classes have
    thresholds of their own. ``average="micro"`` counts all classes into one curve; ``"macro"`` is
    the mean of the interpolated curves at the false positive rates of all of them.
    """


@of_batch(
    FORMULA,
    "thresholds=[0.5]",
    ("(tensor([[0.],\n        [0.]]), tensor([[1.],\n        [1.]]), tensor([0.5000]))"),
)
def multilabel_roc(
    preds: Tensor, target: Tensor, num_labels: int, thresholds: Thresholds = None,
    ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Points | PointLists:  # fmt: skip
    """Compute ``fp / (fp + tn)`` and ``tp / (tp + fn)`` of each label.

    Returns rates ``[L, T]`` and thresholds ``[T]``, or three lists of L tensors where labels have
    thresholds of their own.
    """


@by_task(binary_roc, multiclass_roc, multilabel_roc)
def roc(
    preds: Tensor, target: Tensor, task: str, thresholds: Thresholds = None,
    num_classes: int | None = None, num_labels: int | None = None, average: str | None = None,
    ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Points | PointLists:  # fmt: skip
    """Compute the rates ``fp / (fp + tn)`` and ``tp / (tp + fn)`` of ``task``."""
