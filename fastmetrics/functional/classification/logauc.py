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
    average_classes,
    each_class,
    positives_of,
)
from fastmetrics.functional.classification._curve_functions import by_task, of_batch
from fastmetrics.functional.classification._scores import CurveFormula, has_both
from fastmetrics.functional.classification.roc import whole_rates
from fastmetrics.ops.scores import Curve, Curves, Scores
from fastmetrics.ops.thresholds import Thresholds

__all__ = ["binary_logauc", "logauc", "multiclass_logauc", "multilabel_logauc"]

AVERAGES = ("macro", "none", None)

FprRange = tuple[float, float]


def check_fpr_range(scores: Scores, average: str | None, fpr_range: Any) -> None:
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
    fpr, tpr = whole_rates(curve)
    width = fpr.diff()
    slope = torch.where(width > 0, tpr.diff() / width, 0.0)
    left, right = fpr[..., :-1].clamp(lower, upper), fpr[..., 1:].clamp(lower, upper)
    # Heights at both ends of what lies in the range; outside of it left is right.
    heights = 2.0 * tpr[..., :-1] + slope * (left + right - 2.0 * fpr[..., :-1])
    area = (0.5 * heights * (right / left).log()).sum(-1) / log(upper / lower)
    return area.where(has_both(curve), 0.0 if undefined is None else torch.nan)


def logauc_formula(
    curves: Curves,
    average: str | None = "none",
    fpr_range: FprRange = (0.001, 0.1),
    undefined: str | None = None,
) -> Tensor:
    """Return the float32 area of one curve, or the average over classes."""
    value = partial(area_over_log_rate, fpr_range=fpr_range, undefined=undefined)
    return average_classes(each_class(curves, value), average, positives_of(curves), undefined)


FORMULA = CurveFormula(
    of_curves=logauc_formula,
    class_averages=AVERAGES,
    label_averages=AVERAGES,
    check_own=check_fpr_range,
)


@of_batch(FORMULA, "thresholds=11", "tensor(0.5000)")
def binary_logauc(
    preds: Tensor, target: Tensor, fpr_range: FprRange = (0.001, 0.1),
    thresholds: Thresholds = None, ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Tensor:  # fmt: skip
    """Compute the mean true positive rate over the logarithm of the false positive rate.

    ``integral of tpr d(ln fpr) / ln(upper / lower)``, from ``lower`` to ``upper``.
    Returns a float32 scalar.
    """


@of_batch(FORMULA, "thresholds=11, average=None", "tensor([1., 1.])")
def multiclass_logauc(
    preds: Tensor, target: Tensor, num_classes: int, fpr_range: FprRange = (0.001, 0.1),
    average: str | None = "macro", thresholds: Thresholds = None, ignore_index: int | None = None,
    validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Tensor:  # fmt: skip
    """Average the areas of each class against all others.

    ``integral of tpr d(ln fpr) / ln(upper / lower)``, from ``lower`` to ``upper``.
    Returns a float32 scalar, ``[C]`` without an average.
    """


@of_batch(FORMULA, "thresholds=11, average=None", "tensor([1., 1.])")
def multilabel_logauc(
    preds: Tensor, target: Tensor, num_labels: int, fpr_range: FprRange = (0.001, 0.1),
    average: str | None = "macro", thresholds: Thresholds = None, ignore_index: int | None = None,
    validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Tensor:  # fmt: skip
    """Average the areas of each label.

    ``integral of tpr d(ln fpr) / ln(upper / lower)``, from ``lower`` to ``upper``.
    Returns a float32 scalar, ``[L]`` without an average.
    """


@by_task(binary_logauc, multiclass_logauc, multilabel_logauc)
def logauc(
    preds: Tensor, target: Tensor, task: str, thresholds: Thresholds = None,
    num_classes: int | None = None, num_labels: int | None = None,
    fpr_range: FprRange = (0.001, 0.1), average: str | None = None, ignore_index: int | None = None,
    validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Tensor:  # fmt: skip
    """Compute the area of ``task``, ``integral of tpr d(ln fpr) / ln(upper / lower)``."""
