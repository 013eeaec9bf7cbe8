"""Label ranking metrics of multilabel scores.

Arguments, shapes and errors as in :mod:`fastmetrics.functional.classification.ranking`. Average
precision and loss share one state in a :class:`~fastmetrics.MetricCollection`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor
from typing_extensions import override

from fastmetrics.classification._counts import CountMetric
from fastmetrics.core.states import States
from fastmetrics.core.statistic import View
from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.classification.ranking import (
    AVERAGE_PRECISION,
    COVERAGE_ERROR,
    RANKING_LOSS,
    RankingMean,
)
from fastmetrics.ops.ranking import RankingSums

__all__ = [
    "MultilabelCoverageError",
    "MultilabelRankingAveragePrecision",
    "MultilabelRankingLoss",
]


class RankingMetric(CountMetric):
    """Sums of measures of each sample, and of samples.

    Args:
        num_labels: L, at least 2.
        ignore_index: targets that take no part, integer or None.
        validate_args: check arguments and labels.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument is out of range.
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    plot_legend_name = "Label"
    statistic: RankingSums
    formula: ClassVar[RankingMean]
    num_labels = StatisticField[int]()

    def __init__(
        self,
        num_labels: int,
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> None:
        statistic = RankingSums(
            num_labels=num_labels,
            measures=self.formula.counted_with,
            ignore_index=ignore_index,
            validate_args=validate_args,
        )
        super().__init__(statistic, **kwargs)

    def compute(self) -> Tensor:
        """Return the mean over all samples, a float32 scalar."""
        return self.formula(self.statistic.read(self._states))

    @override
    def _views(self) -> Mapping[str, View]:
        def measure(states: States) -> Tensor:
            return self.statistic.read(states)[self.formula.column]

        return {
            "measure": self.statistic.part(measure, self.formula.column),
            "total": self.statistic.part(lambda states: self.statistic.read(states)[-1], -1),
        }


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

    formula = COVERAGE_ERROR


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
    formula = AVERAGE_PRECISION


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

    formula = RANKING_LOSS
