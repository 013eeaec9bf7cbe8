"""Receiver operating characteristic: true against false positive rate at every threshold.

Arguments are explained in :mod:`fastmetrics.functional.classification.precision_recall_curve`.

Source: Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 27 (2006).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from fastmetrics.functional.classification._curve import (
    Curve,
    Curves,
    Thresholds,
    check_curve_arguments,
    mean_curve,
)
from fastmetrics.functional.classification._scores import count_curves
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.functional.classification.precision_recall_curve import (
    PointLists,
    Points,
    check_multiclass_curve_arguments,
    check_multilabel_curve_arguments,
)

__all__ = ["binary_roc", "multiclass_roc", "multilabel_roc", "roc"]


def from_origin(curve: Curve) -> Curve:
    """Put a point that no score reaches, at threshold 1, before thresholds of the data."""
    if curve.grid:
        return curve
    none = torch.zeros_like(curve.negatives).unsqueeze(-1)
    return curve._replace(
        fps=torch.cat([none, curve.fps], -1),
        tps=torch.cat([none, curve.tps], -1),
        thresholds=torch.cat([curve.thresholds.new_ones(1), curve.thresholds]),
    )


def rates(curve: Curve) -> tuple[Tensor, Tensor]:
    """Return float64 false and true positive rates by descending threshold; 0/0 is NaN.

    Thresholds of the data are preceded by one that no score reaches, ``[..., K + 1]``.
    """
    curve = from_origin(curve)
    return curve.fps / curve.negatives.unsqueeze(-1), curve.tps / curve.positives.unsqueeze(-1)


def roc_formula(
    curves: Curves, average: str | None = None, undefined: str | None = None
) -> Points | PointLists:
    """Return rates and thresholds as `binary_roc` documents them."""
    every = [curves] if isinstance(curves, Curve) else curves
    points, thresholds = [], []
    for curve in every:
        fpr, tpr = rates(curve)
        if undefined is None:
            fpr, tpr = fpr.nan_to_num(0.0), tpr.nan_to_num(0.0)
        if curve.grid:
            # Given thresholds in reverse, which descends if they ascend.
            points.append((curve.as_given(fpr).flip(-1), curve.as_given(tpr).flip(-1)))
            thresholds.append(curve.thresholds.flip(0))
        else:
            points.append((fpr, tpr))
            thresholds.append(from_origin(curve).thresholds)
    if average == "macro":
        fpr, tpr = mean_curve(
            [row for x, _ in points for row in x.view(-1, x.shape[-1])],
            [row for _, y in points for row in y.view(-1, y.shape[-1])],
        )
        repeats = len(fpr) // sum(len(t) for t in thresholds)
        return (
            fpr.float(),
            tpr.float(),
            torch.cat(thresholds * repeats).sort(descending=True).values,
        )
    if isinstance(curves, Curve):
        (fpr, tpr), (given,) = points[0], thresholds
        return fpr.float(), tpr.float(), given
    return [x.float() for x, _ in points], [y.float() for _, y in points], thresholds


def binary_roc(
    preds: Tensor,
    target: Tensor,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> Points:
    """Compute ``fp / (fp + tn)`` and ``tp / (tp + fn)`` at each threshold.

    Returns the false positive rate, the true positive rate and the thresholds, descending. Without
    negatives the former, without positives the latter is ``undefined``.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_roc
    >>> preds, target = torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1])
    >>> binary_roc(preds, target, thresholds=3)
    (tensor([0.0000, 0.5000, 1.0000]), tensor([0., 1., 1.]), tensor([1.0000, 0.5000, 0.0000]))
    """
    if validate_args:
        check_curve_arguments(thresholds, ignore_index, input, undefined)
    curve = count_curves(
        "binary_roc",
        preds,
        target,
        1,
        False,
        True,
        thresholds,
        ignore_index,
        validate_args,
        weight,
        input,
    )
    return roc_formula(curve, None, undefined)  # type: ignore[return-value]  # one curve, one tensor


def multiclass_roc(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    thresholds: Thresholds = None,
    average: str | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> Points | PointLists:
    """Compute the rates of each class against all others.

    Returns rates ``[C, T]`` and thresholds ``[T]``, or three lists of C tensors where classes have
    thresholds of their own. ``average="micro"`` counts all classes into one curve; ``"macro"`` is
    the mean of the interpolated curves at the false positive rates of all of them.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_roc
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]), torch.tensor([0, 0, 1])
    >>> fpr, tpr, _ = multiclass_roc(preds, target, 2, thresholds=3)
    >>> tpr
    tensor([[0.0000, 0.5000, 1.0000],
            [0.0000, 1.0000, 1.0000]])
    """
    if validate_args:
        check_multiclass_curve_arguments(
            num_classes, thresholds, average, ignore_index, input, undefined
        )
    curves = count_curves(
        "multiclass_roc",
        preds,
        target,
        num_classes,
        True,
        average == "micro",
        thresholds,
        ignore_index,
        validate_args,
        weight,
        input,
    )
    return roc_formula(curves, average, undefined)


def multilabel_roc(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> Points | PointLists:
    """Compute the rates of each label.

    ``fpr = fp / (fp + tn)`` and ``tpr = tp / (tp + fn)`` at each threshold.

    Returns rates ``[L, T]`` and thresholds ``[T]``, or three lists of L tensors where labels have
    thresholds of their own.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_roc
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6]]), torch.tensor([[1, 0], [0, 1]])
    >>> fpr, tpr, _ = multilabel_roc(preds, target, 2, thresholds=3)
    >>> fpr
    tensor([[0., 0., 1.],
            [0., 0., 1.]])
    """
    if validate_args:
        check_multilabel_curve_arguments(num_labels, thresholds, ignore_index, input, undefined)
    curves = count_curves(
        "multilabel_roc",
        preds,
        target,
        num_labels,
        False,
        False,
        thresholds,
        ignore_index,
        validate_args,
        weight,
        input,
    )
    return roc_formula(curves, None, undefined)


def roc(
    preds: Tensor,
    target: Tensor,
    task: str,
    thresholds: Thresholds = None,
    num_classes: int | None = None,
    num_labels: int | None = None,
    average: str | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> Points | PointLists:
    """Compute the rates of ``task``, which is "binary", "multiclass" or "multilabel".

    ``fpr = fp / (fp + tn)`` and ``tpr = tp / (tp + fn)`` at each threshold.

    Passes the arguments that the task has to the function above that is named after it.

    >>> import torch
    >>> from fastmetrics.functional import roc
    >>> roc(torch.tensor([0.1, 0.6]), torch.tensor([0, 1]), task="binary", thresholds=[0.5])
    (tensor([0.]), tensor([1.]), tensor([0.5000]))
    """
    own: Any = {"input": input, "undefined": undefined}
    implementations: Any = {
        "binary": partial(binary_roc, **own),
        "multiclass": partial(multiclass_roc, average=average, **own),
        "multilabel": partial(multilabel_roc, **own),
    }
    points: Points | PointLists = call_for_task(
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
    return points
