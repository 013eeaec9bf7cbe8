"""Ratios of counts, averaged over classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from fastmetrics.ops.counted import Counts
from fastmetrics.ops.ratio import (
    APART,
    BY_TARGETS,
    OF_ALL,
    OF_SEEN,
    OF_TARGETED,
    TOGETHER,
    Rule,
    ratio_of,
)

_MEANS = {"micro": TOGETHER, "weighted": BY_TARGETS, "none": APART, None: APART}
_ONE_OF_EACH = (
    (1.0, 0.0, 0.0, 0.0),
    (0.0, 1.0, 0.0, 0.0),
    (0.0, 0.0, 1.0, 0.0),
    (0.0, 0.0, 0.0, 1.0),
)


class Formula(Protocol):
    """A value from the counts of each class."""

    def __call__(
        self, counts: Counts, average: str | None, zero_division: float = 0.0, /
    ) -> Tensor:
        """Return the value."""


@dataclass(frozen=True)
class Ratio:
    """A metric that is a ratio of counts for each class, averaged over classes.

    Attributes:
        terms: numerator and denominator from ``tp, fp, tn, fn``, of which they are sums of
            multiples.
        zero_division: the value of 0/0; None leaves it to the caller.
        top_k_aware: with ``top_k > 1`` a class without targets is left out of the macro average
            even if it was predicted.
        nothing: a mean over no class; None: ``zero_division`` if that is NaN, else 0.
        factors: of the four counts in the numerator and in the denominator, as ``terms`` says.
    """

    terms: Callable[[float, float, float, float], tuple[float, float]]
    zero_division: float | None = None
    top_k_aware: bool = False
    nothing: float | None = None
    factors: list[float] = field(init=False)

    def __post_init__(self) -> None:
        """Ask for what each count is multiplied with in the numerator, and in the denominator."""
        above, below = zip(*(self.terms(*one) for one in _ONE_OF_EACH), strict=True)
        object.__setattr__(self, "factors", [*above, *below])

    def __call__(self, counts: Counts, average: str | None, zero_division: float = 0.0) -> Tensor:
        """Return the float32 value of ``counts``.

        ``"micro"`` adds up the classes first; ``"macro"`` is the mean over labels, or over those
        classes that occur in predictions or targets; ``"weighted"`` the mean weighted by
        ``tp + fn``; None and ``"none"`` keep the classes apart. Where ``zero_division`` is NaN,
        undefined classes are left out of the mean.
        """
        return ratio_of(counts, self.rule(average, counts.top_k, zero_division))

    def rule(self, average: str | None, top_k: int | None, zero_division: float) -> Rule:
        """Say that to the op."""
        if average != "macro":
            mean = _MEANS[average]
        elif top_k is None:
            mean = OF_ALL
        else:
            mean = OF_TARGETED if self.top_k_aware and top_k != 1 else OF_SEEN
        undefined = float(zero_division if self.zero_division is None else self.zero_division)
        nothing = self.nothing
        if nothing is None:
            nothing = undefined if undefined != undefined else 0.0
        return self.factors, mean, undefined, nothing
