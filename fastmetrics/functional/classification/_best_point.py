"""The best of one rate among the points of a curve where another rate reaches a minimum.

Four metrics have this shape; each is one :class:`BestPoint`. Their functions take a minimum, a
number in [0, 1], and the arguments that
:mod:`fastmetrics.functional.classification.precision_recall_curve` explains. They return the best
rate, float32, and the threshold where it is reached: scalars, or ``[C]`` for C classes or labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastmetrics.functional.classification._curve import (
    Curve,
    Curves,
    Thresholds,
    check_curve_arguments,
)
from fastmetrics.functional.classification._scores import count_curves
from fastmetrics.utilities.checks import check_int

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


def precision_recall_points(curve: Curve, rate: Tensor, constrained: Tensor) -> Candidates:
    """Return candidates where a rate of 0 is none and the larger constrained rate is preferred."""
    return Candidates(
        rate.where(rate > 0, -torch.inf),
        constrained,
        constrained,
        curve.descending(),
        curve.positives > 0,
        torch.nan,
    )


def roc_points(curve: Curve, rate: Tensor, constrained: Tensor) -> Candidates:
    """Return candidates where a rate of 0 is one and only the highest threshold is preferred.

    The curve is one that starts at the origin.
    """
    return Candidates(
        rate,
        constrained,
        rate,
        curve.descending(),
        (curve.positives > 0) & (curve.negatives > 0),
        1e6,
    )


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


class BestPoint(NamedTuple):
    """One metric of this shape.

    Attributes:
        name: what its functions are called after the task.
        minimum: the argument that gives the minimum.
        candidates: its points of a curve, given ``undefined``.
    """

    name: str
    minimum: str
    candidates: Callable[[Curve, str | None], Candidates]

    def check(self, minimum: Any) -> None:
        """Raise ``ValueError`` unless the minimum is a number in [0, 1]."""
        if not (isinstance(minimum, int | float) and 0 <= minimum <= 1):
            raise ValueError(f"`{self.minimum}` must be a number in [0, 1], got {minimum!r}.")

    def of_curves(self, curves: Curves, minimum: float, undefined: str | None) -> RateAndThreshold:
        """Return the best rate and its threshold, of one curve or of every class."""
        if isinstance(curves, Curve):
            return choose(self.candidates(curves, undefined), minimum, undefined)
        best = [choose(self.candidates(curve, undefined), minimum, undefined) for curve in curves]
        rates, thresholds = zip(*best, strict=True)
        return torch.stack(rates), torch.stack(thresholds)

    def of_batch(
        self,
        task: str,
        preds: Tensor,
        target: Tensor,
        size: int,
        minimum: float,
        thresholds: Thresholds,
        ignore_index: int | None,
        validate_args: bool,
        weight: Tensor | None,
        input: str,
        undefined: str | None,
    ) -> RateAndThreshold:
        """Return the best rate and its threshold for one batch; binary has the size 1."""
        if validate_args:
            if task != "binary":
                check_int("num_classes" if task == "multiclass" else "num_labels", size, 2)
            self.check(minimum)
            check_curve_arguments(thresholds, ignore_index, input, undefined)
        curves = count_curves(
            f"{task}_{self.name}",
            preds,
            target,
            size,
            task == "multiclass",
            task == "binary",
            thresholds,
            ignore_index,
            validate_args,
            weight,
            input,
            repeats=True,
        )
        return self.of_curves(curves, minimum, undefined)
