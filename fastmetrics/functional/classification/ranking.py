"""Label ranking: coverage error, ranking average precision and ranking loss of multilabel scores.

Shared arguments (N samples, L labels; the positions of trailing axes ``...`` count as samples):

- ``preds``: scores ``[N, L, ...]``, float16, bfloat16, float32 or float64. Only their order within
  a sample counts, so probabilities and logits give the same value; NaN ranks below every score.
- ``target``: 0 and 1 in any integer type or bool, in the shape of ``preds``.
- ``num_labels``: L, at least 2.
- ``ignore_index``: integer or None; labels with this target take no part, and a sample without
  other labels is left out.
- ``validate_args``: check the arguments and the labels; False skips both.
- ``weight``: optional ``[N]`` of non-negative numbers, how much each sample counts.

Each value is the mean over samples, a float32 scalar worked out in float64; NaN without samples. A
label that scores as high as another counts as ranked above it, to the disadvantage of the value.
All raise ``ValueError`` for arguments, shapes, dtypes and devices that do not fit and
``RuntimeError`` for labels out of range.

Source: Tsoumakas, Katakis and Vlahavas, Mining multi-label data, in Data Mining and Knowledge
Discovery Handbook, 2nd edition, Springer 2010.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from fastmetrics.functional._declare import Value, counted, declared, planned, without_self
from fastmetrics.ops.counted import is_readable
from fastmetrics.ops.ranking import (
    ALL_MEASURES,
    COVERAGE,
    LOSS,
    PRECISION,
    RankingSums,
)
from fastmetrics.utilities.data import scalar

__all__ = [
    "multilabel_coverage_error",
    "multilabel_ranking_average_precision",
    "multilabel_ranking_loss",
]


class RankingMean(NamedTuple):
    """A measure of label rankings, averaged over samples: float32.

    Attributes:
        measure: what the op calls it.
        counted_with: the measures that a metric counts, so that metrics share a state; one pass
            over ranks gives all of them.
    """

    measure: int
    counted_with: int

    def __call__(self, sums: Tensor) -> Tensor:
        """Return the mean."""
        if not is_readable(sums):
            return (sums[self.column] / sums[-1]).float()
        numbers = sums.tolist()
        return scalar(numbers[self.column] / numbers[-1] if numbers[-1] else math.nan)

    @property
    def column(self) -> int:
        """Where the sum stands in the state."""
        return self.measure.bit_length() - 1


COVERAGE_ERROR = RankingMean(COVERAGE, COVERAGE)
AVERAGE_PRECISION = RankingMean(PRECISION, ALL_MEASURES)
RANKING_LOSS = RankingMean(LOSS, ALL_MEASURES)


class RankingFunction(Protocol):
    """A measure of label rankings; see the docstring of the module."""

    def __call__(
        self,
        preds: Tensor,
        target: Tensor,
        num_labels: int,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Return the mean over samples."""


def _ranking(name: str, formula: RankingMean, summary: str, value: str) -> RankingFunction:
    def plan(arguments: dict[str, Any]) -> Value:
        statistic = RankingSums(measures=formula.measure, **arguments).checked()
        return counted(name, statistic, lambda sums, states: formula(sums.read(states)))

    signature = without_self(RankingFunction.__call__)
    function: RankingFunction = planned(signature, name, plan)
    example = f"""
    >>> preds = torch.tensor([[0.9, 0.4, 0.6], [0.2, 0.7, 0.1]])
    >>> target = torch.tensor([[1, 1, 0], [0, 1, 0]])
    >>> {name}(preds, target, num_labels=3)
    {value}
    """
    return declared(function, name, summary, arguments=_ARGUMENTS, example=example)


_ARGUMENTS = (
    "Arguments and errors as in the docstring of the module; the value is a float32 scalar."
)

multilabel_coverage_error: RankingFunction = _ranking(
    "multilabel_coverage_error",
    COVERAGE_ERROR,
    """How many labels of a sample score at least as high as its lowest positive one, on average.

    Mean over samples of ``max over relevant l of #{k: s_k >= s_l}``.

    In ``[0, L]``; a sample without positives counts 0.""",
    value="tensor(2.)",
)
multilabel_ranking_average_precision: RankingFunction = _ranking(
    "multilabel_ranking_average_precision",
    AVERAGE_PRECISION,
    """Share of positives among the labels that score at least as high as each positive, averaged.

    Mean over relevant l of ``#{relevant k: s_k >= s_l} / #{k: s_k >= s_l}``, then over samples.

    In ``[0, 1]``; a sample without positives or without negatives counts 1.""",
    value="tensor(0.9167)",
)
multilabel_ranking_loss: RankingFunction = _ranking(
    "multilabel_ranking_loss",
    RANKING_LOSS,
    """Share of pairs of a positive and a negative label whose negative scores at least as high.

    Mean of ``#{relevant l, other k: s_k >= s_l} / (#relevant * #others)`` over samples.

    In ``[0, 1]``; a sample without such pairs counts 0.""",
    value="tensor(0.2500)",
)
