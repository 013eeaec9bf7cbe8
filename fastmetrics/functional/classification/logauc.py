"""Area under the ROC over the logarithm of the false positive rate, within a range of it.

Arguments are explained in :mod:`fastmetrics.functional.classification.precision_recall_curve`, and
``fpr_range``, ``average`` here. ``fpr_range`` is a pair ``0 < lower < upper <= 1``. The curve comes
from the origin and ends in (1, 1); its values at both ends of the range lie on straight lines
between neighbouring points. The trapezoids over the logarithm are divided by its length, so that 1
is the best. ``average`` is ``"macro"``, ``"none"`` or None. A class with only positives or only
negatives is ``undefined``.

Source: Mysinger and Shoichet, Rapid context-dependent ligand desolvation in molecular docking,
Journal of Chemical Information and Modeling 50 (2010).
"""

from __future__ import annotations

from functools import partial
from math import log
from typing import Any

import torch
from torch import Tensor

from fastmetrics.functional.classification._curve import (
    Curve,
    Curves,
    Thresholds,
    average_classes,
    check_curve_arguments,
    each_class,
    positives_of,
)
from fastmetrics.functional.classification._scores import count_curves
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.functional.classification.roc import rates
from fastmetrics.utilities.checks import check_choice, check_int

__all__ = ["binary_logauc", "logauc", "multiclass_logauc", "multilabel_logauc"]

AVERAGES = ("macro", "none", None)

FprRange = tuple[float, float]


def check_fpr_range(fpr_range: Any) -> None:
    """Raise ``ValueError`` unless ``fpr_range`` is a pair with 0 < lower < upper <= 1."""
    is_pair = isinstance(fpr_range, tuple | list) and len(fpr_range) == 2
    if not (
        is_pair
        and all(isinstance(bound, int | float) for bound in fpr_range)
        and 0 < fpr_range[0] < fpr_range[1] <= 1
    ):
        raise ValueError(
            f"`fpr_range` must be two numbers with 0 < lower < upper <= 1, got {fpr_range!r}."
        )


def area_over_log_rate(curve: Curve, fpr_range: FprRange, undefined: str | None) -> Tensor:
    """Return the share of the best area, float64 ``[...]``."""
    lower, upper = fpr_range
    fpr, tpr = (rate.nan_to_num(0.0) for rate in rates(curve))
    start = torch.zeros_like(fpr[..., :1])
    fpr = torch.cat([start, fpr, start + 1.0], -1)
    tpr = torch.cat([start, tpr, start + 1.0], -1)
    width = fpr.diff()
    slope = torch.where(width > 0, tpr.diff() / width, 0.0)
    left, right = fpr[..., :-1].clamp(lower, upper), fpr[..., 1:].clamp(lower, upper)
    # Heights at both ends of what lies in the range; outside of it left is right.
    heights = 2.0 * tpr[..., :-1] + slope * (left + right - 2.0 * fpr[..., :-1])
    area = (0.5 * heights * (right / left).log()).sum(-1) / log(upper / lower)
    defined = (curve.negatives > 0) & (curve.positives > 0)
    return area.where(defined, 0.0 if undefined is None else torch.nan)


def logauc_formula(
    curves: Curves,
    average: str | None = "none",
    fpr_range: FprRange = (0.001, 0.1),
    undefined: str | None = None,
) -> Tensor:
    """Return the float32 area of one curve, or the average over classes."""
    value = partial(area_over_log_rate, fpr_range=fpr_range, undefined=undefined)
    return average_classes(each_class(curves, value), average, positives_of(curves), undefined)


def binary_logauc(
    preds: Tensor,
    target: Tensor,
    fpr_range: FprRange = (0.001, 0.1),
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> Tensor:
    """Compute the mean true positive rate over the logarithm of the false positive rate.

    ``integral of tpr d(ln fpr) / ln(upper / lower)``, from ``lower`` to ``upper``.

    Arguments as in the module docstring. Returns a float32 scalar.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_logauc
    >>> preds, target = torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1])
    >>> binary_logauc(preds, target, thresholds=11)
    tensor(0.5000)
    """
    if validate_args:
        check_fpr_range(fpr_range)
        check_curve_arguments(thresholds, ignore_index, input, undefined)
    curve = count_curves(
        "binary_logauc",
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
    return logauc_formula(curve, None, fpr_range, undefined)


def multiclass_logauc(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    fpr_range: FprRange = (0.001, 0.1),
    average: str | None = "macro",
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> Tensor:
    """Average the areas of each class against all others; arguments as in the module docstring.

    ``integral of tpr d(ln fpr) / ln(upper / lower)``, from ``lower`` to ``upper``.

    Returns a float32 scalar, ``[C]`` without an average.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_logauc
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]), torch.tensor([0, 0, 1])
    >>> multiclass_logauc(preds, target, num_classes=2, thresholds=11, average=None)
    tensor([1., 1.])
    """
    if validate_args:
        check_int("num_classes", num_classes, 2)
        check_fpr_range(fpr_range)
        check_curve_arguments(thresholds, ignore_index, input, undefined)
        check_choice("average", average, AVERAGES)
    curves = count_curves(
        "multiclass_logauc",
        preds,
        target,
        num_classes,
        True,
        False,
        thresholds,
        ignore_index,
        validate_args,
        weight,
        input,
        repeats=True,
    )
    return logauc_formula(curves, average, fpr_range, undefined)


def multilabel_logauc(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    fpr_range: FprRange = (0.001, 0.1),
    average: str | None = "macro",
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> Tensor:
    """Average the areas of each label; arguments as in the module docstring.

    ``integral of tpr d(ln fpr) / ln(upper / lower)``, from ``lower`` to ``upper``.

    Returns a float32 scalar, ``[L]`` without an average.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_logauc
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6]]), torch.tensor([[1, 0], [0, 1]])
    >>> multilabel_logauc(preds, target, num_labels=2, thresholds=11, average=None)
    tensor([1., 1.])
    """
    if validate_args:
        check_int("num_labels", num_labels, 2)
        check_fpr_range(fpr_range)
        check_curve_arguments(thresholds, ignore_index, input, undefined)
        check_choice("average", average, AVERAGES)
    curves = count_curves(
        "multilabel_logauc",
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
    return logauc_formula(curves, average, fpr_range, undefined)


def logauc(
    preds: Tensor,
    target: Tensor,
    task: str,
    thresholds: Thresholds = None,
    num_classes: int | None = None,
    num_labels: int | None = None,
    fpr_range: FprRange = (0.001, 0.1),
    average: str | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> Tensor:
    """Compute the area of ``task``, which is "binary", "multiclass" or "multilabel".

    ``integral of tpr d(ln fpr) / ln(upper / lower)``, from ``lower`` to ``upper``.

    Passes the arguments that the task has to the function above that is named after it.

    >>> import torch
    >>> from fastmetrics.functional import logauc
    >>> preds, target = torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1])
    >>> logauc(preds, target, task="binary", thresholds=11)
    tensor(0.5000)
    """
    own: Any = {"fpr_range": fpr_range, "input": input, "undefined": undefined}
    return call_for_task(
        task,
        {
            "binary": partial(binary_logauc, **own),
            "multiclass": partial(multiclass_logauc, **own),
            "multilabel": partial(multilabel_logauc, **own),
        },
        preds,
        target,
        thresholds=thresholds,
        num_classes=num_classes,
        num_labels=num_labels,
        average=average,
        ignore_index=ignore_index,
        validate_args=validate_args,
        weight=weight,
    )
