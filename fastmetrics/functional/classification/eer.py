"""Equal error rate: where as many negatives are taken for positives as positives are missed.

Arguments are explained in :mod:`fastmetrics.functional.classification.precision_recall_curve`, and
``average`` in :func:`multiclass_eer`. Of the points of the ROC the one counts where false positive
rate and miss rate ``1 - tpr`` differ least, of several the one with the highest threshold, and the
value is the mean of its two rates. Without negatives the former rate is 0, without positives the
latter 1, or the value is NaN where ``undefined`` says so.

Source: Maltoni, Maio, Jain and Prabhakar, Handbook of Fingerprint Recognition, Springer 2003.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastmetrics.functional.classification._curve import each_class, mean_curve, rows_of
from fastmetrics.functional.classification._curve_functions import by_task, of_batch
from fastmetrics.functional.classification._scores import CurveFormula, has_both
from fastmetrics.functional.classification.precision_recall_curve import CURVE_AVERAGES
from fastmetrics.functional.classification.roc import rates
from fastmetrics.ops.scores import Curve, Curves
from fastmetrics.ops.thresholds import Thresholds

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
    fpr, tpr = rates(curve, undefined)
    if undefined is None:
        return fpr, tpr
    defined = has_both(curve).unsqueeze(-1)
    return fpr.where(defined, torch.nan), tpr.where(defined, torch.nan)


def _mean_rates(curves: Curves, undefined: str | None) -> tuple[Tensor, Tensor]:
    """Return the mean curve of the classes where it is defined; one point of NaN for none."""
    every = [curves] if isinstance(curves, Curve) else curves
    pairs = [_known_rates(curve, undefined) for curve in every]
    rows = [x for x in rows_of(pairs) if undefined is None or not x[0].isnan().any()]
    if not rows:
        return pairs[0][0][..., :1].flatten()[:1], pairs[0][1][..., :1].flatten()[:1]
    return mean_curve(rows)


def eer_formula(curves: Curves, average: str | None = None, undefined: str | None = None) -> Tensor:
    """Return the float32 value of one curve, of every class, or of the mean curve ("macro")."""
    if average == "macro":
        return equal_error(*_mean_rates(curves, undefined)).float()
    return each_class(curves, lambda curve: equal_error(*_known_rates(curve, undefined))).float()


FORMULA = CurveFormula(of_curves=eer_formula, class_averages=CURVE_AVERAGES)


@of_batch(FORMULA, "thresholds=5", "tensor(0.2500)")
def binary_eer(
    preds: Tensor, target: Tensor, thresholds: Thresholds = None, ignore_index: int | None = None,
    validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Tensor:  # fmt: skip
    """Compute ``(fpr + 1 - tpr) / 2`` at the threshold where ``|fpr - (1 - tpr)|`` is least.

    Returns a float32 scalar.
    """


@of_batch(FORMULA, "thresholds=3", "tensor([0.2500, 0.2500])")
def multiclass_eer(
    preds: Tensor, target: Tensor, num_classes: int, thresholds: Thresholds = None,
    average: str | None = None, ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Tensor:  # fmt: skip
    """Compute ``(fpr + 1 - tpr) / 2`` at the threshold where ``|fpr - (1 - tpr)|`` is least.

    Returns the rates of each class against all others, float32 ``[C]``. ``average="micro"`` counts
    all classes into one curve, ``"macro"`` takes the mean of the interpolated curves at the false
    positive rates of all of them; both give a scalar.
    """


@of_batch(FORMULA, "thresholds=3", "tensor([0., 0.])")
def multilabel_eer(
    preds: Tensor, target: Tensor, num_labels: int, thresholds: Thresholds = None,
    ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Tensor:  # fmt: skip
    """Compute ``(fpr + 1 - tpr) / 2`` at the threshold where ``|fpr - (1 - tpr)|`` is least.

    Returns the rates of each label, float32 ``[L]``.
    """


@by_task(binary_eer, multiclass_eer, multilabel_eer)
def eer(
    preds: Tensor, target: Tensor, task: str, thresholds: Thresholds = None,
    num_classes: int | None = None, num_labels: int | None = None, average: str | None = None,
    ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Tensor:  # fmt: skip
    """Compute ``(fpr + 1 - tpr) / 2`` at the threshold where ``|fpr - (1 - tpr)|`` is least."""
