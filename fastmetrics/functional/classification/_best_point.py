"""The best of one rate among the points of a curve where another rate reaches a minimum.

Four metrics have this shape. Their functions take a minimum, a number in [0, 1], and the arguments
that :mod:`fastmetrics.functional.classification.precision_recall_curve` explains. They return the
best rate, float32, and the threshold where it is reached: scalars, or ``[C]`` for C classes or
labels.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fastmetrics.functional.classification._scores import RATES, RECALL, CurveFormula, has_both
from fastmetrics.ops.rates import OF_PRECISION, best_rates_
from fastmetrics.ops.scores import Curve, Curves, Scores

RateAndThreshold = tuple[Tensor, Tensor]


def choose(curve: Curve, kind: int, minimum: float, undefined: str | None) -> RateAndThreshold:
    """Return the best rate ``[...]``, float32, and its threshold.

    Without positives sensitivity is 0, without negatives specificity is 1; recall is 1 at
    thresholds of the data unless ``undefined`` says otherwise. Where no point reaches the minimum
    there is no threshold: NaN for precision and recall, 1e6 for the others.
    """
    of_precision = kind in OF_PRECISION
    leads = not (of_precision or curve.grid)  # ROC curves of the data come from a threshold of 1
    absent = 0.0
    if of_precision:
        absent = 1.0 if undefined is None and not curve.grid else math.nan
    shape, device = curve.negatives.shape, curve.fps.device
    rate = torch.empty(shape, dtype=torch.float32, device=device)
    place = torch.empty(shape, dtype=torch.int64, device=device)
    totals = curve.negatives, curve.positives
    best_rates_(rate, place, curve.fps, curve.tps, *totals, kind, minimum, leads, absent)
    thresholds = curve.descending()
    if not thresholds.is_floating_point():
        thresholds = thresholds.float()
    known = [thresholds, thresholds.new_full((1,), math.nan if of_precision else 1e6)]
    if leads:
        known.insert(0, thresholds.new_ones(1))
    threshold = torch.cat(known).take(place)  # an index without axes would wait for a GPU
    if undefined is None:
        return rate, threshold
    defined = curve.positives > 0 if of_precision else has_both(curve)
    return rate.where(defined, torch.nan), threshold.where(defined, torch.nan)


def best_point(kind: int, at: str) -> CurveFormula:
    """Return the formula of the best rate where the rate ``at`` reaches ``min_<at>``.

    ``kind`` says which rates those are, see :mod:`fastmetrics.ops.rates`.
    """
    minimum = f"min_{at}"

    def check(scores: Scores, average: None, **own: Any) -> None:
        value = own[minimum]
        if not (isinstance(value, int | float) and 0 <= value <= 1):
            raise ValueError(f"`{minimum}` must be a number in [0, 1], got {value!r}.")

    def of_curves(
        curves: Curves, average: None, undefined: str | None, **own: float
    ) -> RateAndThreshold:
        if isinstance(curves, Curve):
            return choose(curves, kind, own[minimum], undefined)
        chosen = (choose(curve, kind, own[minimum], undefined) for curve in curves)
        rates, thresholds = zip(*chosen, strict=True)
        return torch.stack(rates), torch.stack(thresholds)

    divides_by = RECALL if kind in OF_PRECISION else RATES
    return CurveFormula(of_curves=of_curves, check_own=check, divides_by=divides_by)
