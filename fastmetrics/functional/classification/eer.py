"""Equal error rate: where as many negatives are taken for positives as positives are missed.

Arguments are explained in :mod:`fastmetrics.functional.classification.precision_recall_curve`, and
``average`` in :func:`multiclass_eer`. Of the points of the ROC the one counts where false positive
rate and miss rate ``1 - tpr`` differ least, of several the one with the highest threshold, and the
value is the mean of its two rates. Without negatives the former rate is 0, without positives the
latter 1, or the value is NaN where ``undefined`` says so.

Source: Maltoni, Maio, Jain and Prabhakar, Handbook of Fingerprint Recognition, Springer 2003.
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
    each_class,
    mean_curve,
)
from fastmetrics.functional.classification._scores import count_curves
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.functional.classification.precision_recall_curve import (
    check_multiclass_curve_arguments,
    check_multilabel_curve_arguments,
)
from fastmetrics.functional.classification.roc import rates

__all__ = ["binary_eer", "eer", "multiclass_eer", "multilabel_eer"]

# Differences of rates that are equal but for the rounding of quotients are closer than this.
_ROUNDING = 1e-12


def equal_error(fpr: Tensor, tpr: Tensor) -> Tensor:
    """Return the mean of the two error rates where they differ least, float64 ``[...]``."""
    missed = 1.0 - tpr
    gap = (fpr - missed).abs()
    index = (gap <= gap.amin(-1, keepdim=True) + _ROUNDING).int().argmax(-1, keepdim=True)
    return (0.5 * (fpr + missed)).gather(-1, index).squeeze(-1)


def _known_rates(curve: Curve, undefined: str | None) -> tuple[Tensor, Tensor]:
    """Return the rates by descending threshold; of a class without one, 0 or both NaN."""
    fpr, tpr = rates(curve)
    if undefined is None:
        return fpr.nan_to_num(0.0), tpr.nan_to_num(0.0)
    defined = ((curve.negatives > 0) & (curve.positives > 0)).unsqueeze(-1)
    return fpr.where(defined, torch.nan), tpr.where(defined, torch.nan)


def _mean_rates(curves: Curves, undefined: str | None) -> tuple[Tensor, Tensor]:
    """Return the mean curve of the classes where it is defined; one point of NaN for none."""
    every = [curves] if isinstance(curves, Curve) else curves
    pairs = [_known_rates(curve, undefined) for curve in every]
    rows = [
        row
        for fpr, tpr in pairs
        for row in zip(fpr.view(-1, fpr.shape[-1]), tpr.view(-1, tpr.shape[-1]), strict=True)
        if undefined is None or not row[0].isnan().any()
    ]
    if not rows:
        return pairs[0][0][..., :1].flatten()[:1], pairs[0][1][..., :1].flatten()[:1]
    return mean_curve([fpr for fpr, _ in rows], [tpr for _, tpr in rows])


def eer_formula(curves: Curves, average: str | None = None, undefined: str | None = None) -> Tensor:
    """Return the float32 value of one curve, of every class, or of the mean curve ("macro")."""
    if average == "macro":
        return equal_error(*_mean_rates(curves, undefined)).float()
    return each_class(curves, lambda curve: equal_error(*_known_rates(curve, undefined))).float()


def binary_eer(
    preds: Tensor,
    target: Tensor,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> Tensor:
    """Compute ``(fpr + 1 - tpr) / 2`` at the threshold where ``|fpr - (1 - tpr)|`` is least.

    Arguments and ties as in the module docstring. Returns a float32 scalar.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_eer
    >>> preds, target = torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1])
    >>> binary_eer(preds, target, thresholds=5)
    tensor(0.2500)
    """
    if validate_args:
        check_curve_arguments(thresholds, ignore_index, input, undefined)
    curve = count_curves(
        "binary_eer",
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
        repeats=True,
    )
    return eer_formula(curve, None, undefined)


def multiclass_eer(
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
) -> Tensor:
    """Compute the equal error rate of each class against all others, float32 ``[C]``.

    ``average="micro"`` counts all classes into one curve, ``"macro"`` takes the mean of the
    interpolated curves at the false positive rates of all of them; both give a scalar.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_eer
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]), torch.tensor([0, 0, 1])
    >>> multiclass_eer(preds, target, num_classes=2, thresholds=3)
    tensor([0.2500, 0.2500])
    """
    if validate_args:
        check_multiclass_curve_arguments(
            num_classes, thresholds, average, ignore_index, input, undefined
        )
    curves = count_curves(
        "multiclass_eer",
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
        repeats=True,
    )
    return eer_formula(curves, average, undefined)


def multilabel_eer(
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
) -> Tensor:
    """Compute the equal error rate of each label, float32 ``[L]``.

    ``(fpr_t + 1 - tpr_t) / 2`` at the threshold t with the least ``|fpr_t - (1 - tpr_t)|``.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_eer
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6]]), torch.tensor([[1, 0], [0, 1]])
    >>> multilabel_eer(preds, target, num_labels=2, thresholds=3)
    tensor([0., 0.])
    """
    if validate_args:
        check_multilabel_curve_arguments(num_labels, thresholds, ignore_index, input, undefined)
    curves = count_curves(
        "multilabel_eer",
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
        repeats=True,
    )
    return eer_formula(curves, None, undefined)


def eer(
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
) -> Tensor:
    """Compute the equal error rate of ``task``, which is "binary", "multiclass" or "multilabel".

    ``(fpr_t + 1 - tpr_t) / 2`` at the threshold t with the least ``|fpr_t - (1 - tpr_t)|``.

    Passes the arguments that the task has to the function above that is named after it.

    >>> import torch
    >>> from fastmetrics.functional import eer
    >>> preds, target = torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1])
    >>> eer(preds, target, task="binary", thresholds=5)
    tensor(0.2500)
    """
    own: Any = {"input": input, "undefined": undefined}
    return call_for_task(
        task,
        {
            "binary": partial(binary_eer, **own),
            "multiclass": partial(multiclass_eer, average=average, **own),
            "multilabel": partial(multilabel_eer, **own),
        },
        preds,
        target,
        thresholds=thresholds,
        num_classes=num_classes,
        num_labels=num_labels,
        ignore_index=ignore_index,
        validate_args=validate_args,
        weight=weight,
    )
