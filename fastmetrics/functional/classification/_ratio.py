"""Ratios of counts, averaged over classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from fastmetrics.ops.counted import TINY, Counts
from fastmetrics.utilities.data import scalar, vector


class Formula(Protocol):
    """A value from the counts of each class."""

    def __call__(
        self, counts: Counts, average: str | None, zero_division: float = 0.0, /
    ) -> Tensor:
        """Return the value."""


def divide(numerator: Tensor, denominator: Tensor, zero_division: float = 0.0) -> Tensor:
    """Divide float64 counts; ``zero_division`` stands where the denominator is zero."""
    if zero_division == 0:
        return numerator / denominator.clamp_min(TINY)
    return torch.where(denominator == 0, zero_division, numerator / denominator)


@dataclass(frozen=True)
class Ratio:
    """A metric that is a ratio of counts for each class, averaged over classes.

    Attributes:
        terms: numerator and denominator from ``tp, fp, tn, fn``, for tensors and for numbers.
        zero_division: the value of 0/0; None leaves it to the caller.
        top_k_aware: with ``top_k > 1`` a class without targets is left out of the macro average
            even if it was predicted.
    """

    terms: Callable[[Any, Any, Any, Any], tuple[Any, Any]]
    zero_division: float | None = None
    top_k_aware: bool = False

    def __call__(self, counts: Counts, average: str | None, zero_division: float = 0.0) -> Tensor:
        """Return the float32 value of ``counts``.

        ``"micro"`` adds up the classes first; ``"macro"`` is the mean over labels, or over those
        classes that occur in predictions or targets; ``"weighted"`` the mean weighted by
        ``tp + fn``; None and ``"none"`` keep the classes apart. Where ``zero_division`` is NaN,
        undefined classes are left out of the mean.
        """
        rows = counts.rows()
        if rows is not None:
            return self.of_rows(rows, counts.top_k, average, zero_division)
        if self.zero_division is not None:
            zero_division = self.zero_division
        labels = counts.top_k is None
        targeted = self.top_k_aware and counts.top_k != 1
        if average == "micro":
            counts = counts.micro()
        tp, fp, tn, fn = counts.columns(torch.float64)
        score = divide(*self.terms(tp, fp, tn, fn), zero_division)
        if average in ("micro", "none", None):
            return score.float()
        support = tp + fn
        if average == "weighted":
            weight = support
        elif labels:
            weight = torch.ones_like(score)
        else:
            weight = (support if targeted else support + fp).sign()
        if zero_division != zero_division:
            weight = weight * (score == score)
            score = score.nan_to_num(0.0)
            return divide((score * weight).sum(-1), weight.sum(-1), zero_division).float()
        return divide((score * weight).sum(-1), weight.sum(-1)).float()

    def of_rows(
        self,
        rows: Sequence[Sequence[float]],
        top_k: int | None,
        average: str | None,
        zero_division: float = 0.0,
    ) -> Tensor:
        """Return the same of numbers: of tp, fp, tn and fn of each class."""
        if self.zero_division is not None:
            zero_division = self.zero_division
        targeted = self.top_k_aware and top_k != 1
        value = self._of_rows(rows, average, zero_division, top_k is None, targeted)
        if isinstance(value, list):
            return vector(value)
        return scalar(value)

    def _of_rows(
        self,
        rows: Sequence[Sequence[float]],
        average: str | None,
        zero_division: float,
        labels: bool,
        targeted: bool,
    ) -> float | list[float]:
        """Do the same with numbers.

        Args:
            rows: the counts of each class.
            average: as above.
            zero_division: the value of 0/0.
            labels: whether the macro average is over all rows.
            targeted: whether it is over those with targets, else over those that occur at all.
        """
        terms = self.terms
        if average == "micro":
            counts = rows[0] if len(rows) == 1 else [*map(sum, zip(*rows, strict=True))]
            numerator, denominator = terms(*counts)
            return float(numerator / denominator if denominator else zero_division)
        if average == "macro" and zero_division == zero_division:  # by far the most common
            total = weight = 0.0
            for tp, fp, tn, fn in rows:
                if labels or tp + fn or (fp and not targeted):
                    numerator, denominator = terms(tp, fp, tn, fn)
                    total += numerator / denominator if denominator else zero_division
                    weight += 1.0
            return total / weight if weight else 0.0
        scores = [n / d if d else zero_division for n, d in [terms(*row) for row in rows]]
        if average in ("none", None):
            return scores
        if average == "weighted":
            weights = [tp + fn for tp, _, _, fn in rows]
        else:
            weights = [labels or tp + fn + (0 if targeted else fp) > 0 for tp, fp, _, fn in rows]
        if zero_division != zero_division:
            weights = [w if score == score else 0 for w, score in zip(weights, scores, strict=True)]
            scores = [score if score == score else 0.0 for score in scores]
        total = sum(weights)
        if not total:
            return zero_division if zero_division != zero_division else 0.0
        return sum(w * score for w, score in zip(weights, scores, strict=True)) / total
