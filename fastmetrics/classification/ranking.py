"""Label ranking metrics of multilabel scores.

Arguments, shapes and errors as in :mod:`fastmetrics.functional.classification.ranking`. Average
precision and loss share one state in a :class:`~fastmetrics.MetricCollection`.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar

import torch
from torch import Tensor

from fastmetrics.classification._statistic import CountMetric
from fastmetrics.functional.classification.ranking import (
    COUNTED,
    check_num_labels,
    check_ranking_arguments,
    ranking_formula,
)
from fastmetrics.ops import ranking_sums_
from fastmetrics.ops.faults import NAN_RANKS_LAST, NUM_EVENTS
from fastmetrics.ops.ranking import COVERAGE, LOSS, NUM_SUMS, PRECISION

__all__ = [
    "MultilabelCoverageError",
    "MultilabelRankingAveragePrecision",
    "MultilabelRankingLoss",
]


class RankingMetric(CountMetric):
    """Float64 sums ``[4]``, see :func:`fastmetrics.ops.ranking.ranking_sums_`.

    Args:
        num_labels: L, at least 2.
        ignore_index: targets that take no part, integer or None.
        validate_args: check arguments and labels.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument is out of range.
    """

    _nan_treatment = NAN_RANKS_LAST

    higher_is_better = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    plot_legend_name = "Label"
    counts: Tensor
    _measure: ClassVar[int]

    def __init__(
        self,
        num_labels: int,
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> None:
        if validate_args:
            check_ranking_arguments(num_labels, ignore_index)
        super().__init__(validate_args, **kwargs)
        self.num_labels = num_labels
        self.ignore_index = ignore_index
        self._counted = COUNTED[self._measure]
        sums = torch.zeros(NUM_SUMS, dtype=torch.float64)
        self.add_state("counts", sums, dist_reduce_fx="sum")
        self.add_state("events", torch.zeros(NUM_EVENTS, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor, weight: Tensor | None = None) -> None:
        """Add one batch; arguments as in :func:`fastmetrics.ops.ranking.ranking_sums_`."""
        check_num_labels(preds, self.num_labels)
        ranking_sums_(
            self.counts,
            self.events,
            preds,
            target,
            self._counted,
            weight,
            self.ignore_index,
            self.validate_args,
        )

    def compute(self) -> Tensor:
        """Return the mean over all samples, a float32 scalar."""
        return ranking_formula(self.counts, self._measure)

    @property
    def measure(self) -> Tensor:
        """Sum of the values of all samples, float64."""
        return self.counts[self._measure.bit_length() - 1]

    @property
    def total(self) -> Tensor:
        """Samples that count, or the sum of their weights, float64."""
        return self.counts[-1]

    def _statistic(self) -> Hashable:
        return (
            "ranking_sums",
            self.num_labels,
            self._counted,
            self.ignore_index,
            self.validate_args,
        )


class MultilabelCoverageError(RankingMetric):
    """How many labels of a sample score at least as high as its lowest positive one, on average.

    Mean over samples of ``max over relevant l of #{k: s_k >= s_l}``.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelCoverageError
    >>> metric = MultilabelCoverageError(num_labels=3)
    >>> preds = torch.tensor([[0.9, 0.4, 0.6], [0.2, 0.7, 0.1]])
    >>> metric.update(preds, torch.tensor([[1, 1, 0], [0, 1, 0]]))
    >>> metric.compute()
    tensor(2.)
    """

    _measure = COVERAGE


class MultilabelRankingAveragePrecision(RankingMetric):
    """Share of positives among the labels that score at least as high as each positive, averaged.

    Mean over relevant l of ``#{relevant k: s_k >= s_l} / #{k: s_k >= s_l}``, then over samples.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelRankingAveragePrecision
    >>> metric = MultilabelRankingAveragePrecision(num_labels=3)
    >>> preds = torch.tensor([[0.9, 0.4, 0.6], [0.2, 0.7, 0.1]])
    >>> metric.update(preds, torch.tensor([[1, 1, 0], [0, 1, 0]]))
    >>> metric.compute()
    tensor(0.9167)
    """

    higher_is_better = True
    _measure = PRECISION


class MultilabelRankingLoss(RankingMetric):
    """Share of pairs of a positive and a negative label whose negative scores at least as high.

    Mean of ``#{relevant l, other k: s_k >= s_l} / (#relevant * #others)`` over samples.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelRankingLoss
    >>> metric = MultilabelRankingLoss(num_labels=3)
    >>> preds = torch.tensor([[0.9, 0.4, 0.6], [0.2, 0.7, 0.1]])
    >>> metric.update(preds, torch.tensor([[1, 1, 0], [0, 1, 0]]))
    >>> metric.compute()
    tensor(0.2500)
    """

    _measure = LOSS
