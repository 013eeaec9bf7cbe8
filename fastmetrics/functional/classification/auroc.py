"""Area under the receiver operating characteristic, ``P(s+ > s-) + P(s+ = s-) / 2``.

``s+`` and ``s-`` are the scores of a positive and of a negative, each drawn at random.

Arguments are explained in :mod:`fastmetrics.functional.classification.precision_recall_curve`, and
``max_fpr``, ``average`` here: ``max_fpr`` is None or a float in ``(0, 1]``, up to which the area is
taken and standardised: 0.5 is chance and 1 the best. ``average`` is ``"macro"``, ``"weighted"`` (by
the positives of each class), ``"none"`` or None, for multilabel also ``"micro"``. A class with only
positives or only negatives is ``undefined``.

``multi_class``, for multiclass: ``"ovr"`` compares each class with all others, ``"ovo"`` each with
each other class (the mean over pairs; ``average="weighted"`` weighs a pair by its samples), which
needs every score: ``thresholds=None``.

Source: Hanley and McNeil, The meaning and use of the area under a receiver operating characteristic
(ROC) curve, Radiology 143 (1982); ``max_fpr``: McClish, Analyzing a portion of the ROC curve,
Medical Decision Making 9 (1989); "ovo": Hand and Till, A simple generalisation of the area under
the ROC curve for multiple class classification problems, Machine Learning 45 (2001).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.functional.classification._curve import average_classes, extreme_curve
from fastmetrics.functional.classification._curve_functions import by_task, of_batch
from fastmetrics.functional.classification._scores import AreaFormula, has_both
from fastmetrics.functional.classification.roc import whole_rates
from fastmetrics.ops.cells import Cells
from fastmetrics.ops.exact_scores import Exact
from fastmetrics.ops.scores import Curve, Scores
from fastmetrics.ops.thresholds import Thresholds
from fastmetrics.utilities.checks import check_choice

__all__ = ["auroc", "binary_auroc", "multiclass_auroc", "multilabel_auroc"]


def _check(scores: Scores, average: Any, max_fpr: Any = None, multi_class: Any = "ovr") -> None:
    if max_fpr is not None and not (isinstance(max_fpr, float) and 0 < max_fpr <= 1):
        raise ValueError(f"`max_fpr` must be None or a float in (0, 1], got {max_fpr!r}.")
    check_choice("multi_class", multi_class, ("ovr", "ovo"))
    if multi_class == "ovo":
        check_choice("average", average, ("macro", "weighted"))
        if max_fpr is not None or not isinstance(scores, Exact):
            raise ValueError(
                "multi_class='ovo' needs `thresholds` and `max_fpr` to be None,"
                f" got {scores.thresholds!r} and {max_fpr!r}."
            )


def _partial_area(fpr: Tensor, tpr: Tensor, max_fpr: float) -> Tensor:
    """Return the standardised area left of ``max_fpr``."""
    width, rise = fpr.diff(), tpr.diff()
    inside = (max_fpr - fpr[..., :-1]).clamp(min=0.0).minimum(width)
    height = tpr[..., :-1] + 0.5 * rise * torch.where(width > 0, inside / width, 0.0)
    area = (inside * height).sum(-1)
    least = 0.5 * max_fpr**2
    return 0.5 * (1.0 + (area - least) / (max_fpr - least))


def area_under_roc(curve: Curve, max_fpr: float | None, undefined: str | None) -> Tensor:
    """Return the area by trapezoids, float64 ``[...]``, of the curve from (0, 0) to (1, 1)."""
    fpr, tpr = whole_rates(curve)
    if max_fpr is None or max_fpr == 1:
        area = torch.trapezoid(tpr, fpr)
    else:
        area = _partial_area(fpr, tpr, max_fpr)
    area = area.where(has_both(curve), torch.nan)
    return area.nan_to_num(0.0) if undefined is None else area


def _in_order(pairs: Any, negatives: Any, positives: Any) -> Any:
    return pairs / (negatives * positives)


def _of_cells(
    cells: Cells, undefined: str | None, max_fpr: float | None = None, multi_class: str = "ovr"
) -> tuple[Tensor, Tensor]:
    """Return the bounds: where the positives lie as low as they may, or as high."""
    low, high = (
        area_under_roc(extreme_curve(cells, upper), max_fpr, undefined) for upper in (False, True)
    )
    return low, high


@dataclass(frozen=True, kw_only=True)
class _Auroc(AreaFormula):
    """The area of each class, or that of pairs of classes."""

    def __call__(
        self,
        scores: Scores,
        states: States,
        *,
        average: str | None = None,
        undefined: str | None = None,
        max_fpr: float | None = None,
        multi_class: str = "ovr",
        **own: Any,
    ) -> Tensor:
        """Return the float32 value of the scores in ``states``."""
        if multi_class == "ovo":
            return _pairwise(scores, states, average, undefined)
        return super().__call__(
            scores, states, average=average, undefined=undefined, max_fpr=max_fpr
        )


def _pairwise(scores: Scores, states: States, average: str | None, undefined: str | None) -> Tensor:
    """Return the float32 mean over all pairs of classes of how well they are told apart.

    A pair is ranked once by the scores of each of its classes, among the samples of both.
    """
    if not isinstance(scores, Exact):
        raise TypeError("pairs of classes need every score.")
    pairs, totals = scores.class_pairs(states)
    ratio = pairs / (totals.unsqueeze(1) * totals)
    ratio = ratio.nan_to_num(0.0) if undefined is None else ratio
    first, second = torch.triu_indices(len(totals), len(totals), 1, device=totals.device)
    values = (ratio[first, second] + ratio[second, first]) / 2
    return average_classes(values, average, totals[first] + totals[second], undefined)


FORMULA = _Auroc(of_curve=area_under_roc, of_areas=_in_order, of_cells=_of_cells, check_own=_check)


@of_batch(FORMULA, "thresholds=11", "tensor(0.7500)")
def binary_auroc(
    preds: Tensor, target: Tensor, max_fpr: float | None = None, thresholds: Thresholds = None,
    ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Tensor:  # fmt: skip
    """How often a positive outscores a negative: ``P(s+ > s-) + P(s+ = s-) / 2``, float32."""


@of_batch(FORMULA, "thresholds=11", "tensor(1.)")
def multiclass_auroc(
    preds: Tensor, target: Tensor, num_classes: int, average: str | None = "macro",
    thresholds: Thresholds = None, ignore_index: int | None = None, validate_args: bool = True, *,
    max_fpr: float | None = None, multi_class: str = "ovr", weight: Tensor | None = None,
    input: str = "auto", undefined: str | None = None,
) -> Tensor:  # fmt: skip
    """Average ``P(s+ > s-) + P(s+ = s-) / 2`` of each class against all others.

    Returns a float32 scalar, ``[C]`` without an average.
    """


@of_batch(FORMULA, "thresholds=11, average=None", "tensor([1., 1.])")
def multilabel_auroc(
    preds: Tensor, target: Tensor, num_labels: int, average: str | None = "macro",
    thresholds: Thresholds = None, ignore_index: int | None = None, validate_args: bool = True, *,
    max_fpr: float | None = None, weight: Tensor | None = None, input: str = "auto",
    undefined: str | None = None,
) -> Tensor:  # fmt: skip
    """Average ``P(s+ > s-) + P(s+ = s-) / 2`` of each label.

    ``average="micro"`` takes one curve over all labels. Returns a float32 scalar, without an
    average ``[L]``.
    """


@by_task(binary_auroc, multiclass_auroc, multilabel_auroc)
def auroc(
    preds: Tensor, target: Tensor, task: str, thresholds: Thresholds = None,
    num_classes: int | None = None, num_labels: int | None = None, average: str | None = "macro",
    max_fpr: float | None = None, ignore_index: int | None = None, validate_args: bool = True, *,
    weight: Tensor | None = None, input: str = "auto", undefined: str | None = None,
) -> Tensor:  # fmt: skip
    """Compute ``P(s+ > s-) + P(s+ = s-) / 2`` of ``task``."""
