"""The best of one rate among the points of a curve where another rate reaches a minimum.

Four metrics have this shape. Their functions take a minimum, a number in [0, 1], and the arguments
that :mod:`fastmetrics.functional.classification.precision_recall_curve` explains. They return the
best rate, float32, and the threshold where it is reached: scalars, or ``[C]`` for C classes or
labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastmetrics.functional.classification._scores import RATES, RECALL, CurveFormula, has_both
from fastmetrics.functional.classification.precision_recall_curve import precision_and_recall
from fastmetrics.functional.classification.roc import from_origin
from fastmetrics.ops.scores import Curve, Curves, Scores

RateAndThreshold = tuple[Tensor, Tensor]


class Candidates(NamedTuple):
    """Two rates at each point of a curve, thresholds descending.

    Attributes:
        rate: float64 ``[..., K]``, the rate to be best; -inf where a point is out of the question.
        constrained: float64 ``[..., K]``, the rate with the minimum.
        preferred: float64 ``[..., K]``, whose largest value decides between points of equal rate,
            then the highest threshold does.
        thresholds: ``[K]``, descending.
        defined: bool ``[...]``, whether there are the labels that the rates are ratios of.
        no_threshold: what is returned where no point reaches the minimum, with a rate of 0.
    """

    rate: Tensor
    constrained: Tensor
    preferred: Tensor
    thresholds: Tensor
    defined: Tensor
    no_threshold: float


def precision_recall_points(
    curve: Curve, undefined: str | None, *, best: str, at: str
) -> Candidates:
    """Return candidates where a rate of 0 is none and the larger constrained rate is preferred."""
    precision, recall = precision_and_recall(curve, undefined)
    rates = {"precision": precision, "recall": recall}
    rate, constrained = rates[best], rates[at]
    return Candidates(
        rate.where(rate > 0, -torch.inf),
        constrained,
        constrained,
        curve.descending(),
        curve.positives > 0,
        torch.nan,
    )


def roc_points(curve: Curve, undefined: str | None, *, best: str, at: str) -> Candidates:
    """Return candidates where a rate of 0 is one and only the highest threshold is preferred.

    Without positives sensitivity is 0, without negatives specificity is 1.
    """
    curve = from_origin(curve)
    negatives = curve.negatives.unsqueeze(-1)
    rates = {
        "sensitivity": (curve.tps / curve.positives.unsqueeze(-1)).nan_to_num(0.0),
        # Not 1 - fpr, whose rounding would decide whether a minimum is reached.
        "specificity": ((negatives - curve.fps) / negatives).nan_to_num(1.0),
    }
    rate = rates[best]
    return Candidates(rate, rates[at], rate, curve.descending(), has_both(curve), 1e6)


def choose(points: Candidates, minimum: float, undefined: str | None) -> RateAndThreshold:
    """Return the best rate ``[...]``, float32, and its threshold."""
    allowed = points.rate.where(points.constrained >= minimum, -torch.inf)
    # A last point stands for none: worse than those allowed, better than the others.
    none = allowed.new_full((*allowed.shape[:-1], 1), -1.0)
    ranks = torch.cat([allowed, none], -1)
    best, index = ranks.max(-1)
    if points.preferred is not points.rate:
        preferred = torch.cat([points.preferred, none], -1)
        index = preferred.where(ranks == best.unsqueeze(-1), -torch.inf).argmax(-1)
    rate = best.clamp(min=0.0).float()
    thresholds = points.thresholds
    if not thresholds.is_floating_point():
        thresholds = thresholds.float()
    known = torch.cat([thresholds, thresholds.new_full((1,), points.no_threshold)])
    threshold = known.take(index)  # an index without axes would wait for a GPU
    if undefined is None:
        return rate, threshold
    return rate.where(points.defined, torch.nan), threshold.where(points.defined, torch.nan)


def best_point(points: Callable[..., Candidates], *, best: str, at: str) -> CurveFormula:
    """Return the formula of the rate ``best`` where the rate ``at`` reaches ``min_<at>``.

    Args:
        points: the candidates of a curve, given ``undefined`` and the names of both rates.
        best: the rate to be best.
        at: the rate that has a minimum.
    """
    minimum = f"min_{at}"

    def check(scores: Scores, average: None, **own: Any) -> None:
        value = own[minimum]
        if not (isinstance(value, int | float) and 0 <= value <= 1):
            raise ValueError(f"`{minimum}` must be a number in [0, 1], got {value!r}.")

    def of_curves(
        curves: Curves, average: None, undefined: str | None, **own: float
    ) -> RateAndThreshold:
        def chosen(curve: Curve) -> RateAndThreshold:
            return choose(points(curve, undefined, best=best, at=at), own[minimum], undefined)

        if isinstance(curves, Curve):
            return chosen(curves)
        rates, thresholds = zip(*map(chosen, curves), strict=True)
        return torch.stack(rates), torch.stack(thresholds)

    divides_by = RECALL if "recall" in (best, at) else RATES
    return CurveFormula(of_curves=of_curves, check_own=check, divides_by=divides_by)
