"""The shapes that metrics of regression share, by what they count."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from fastmetrics.core.differentiable import DifferentiableMetric
from fastmetrics.core.keywords import adds
from fastmetrics.core.states import States
from fastmetrics.core.statistic import View, counts_only
from fastmetrics.core.statistic_metric import StatisticField, StatisticMetric
from fastmetrics.functional.regression._declare import kind_of
from fastmetrics.functional.regression._error_values import N, mean, value_of_sums
from fastmetrics.ops.co_moments import Moments
from fastmetrics.ops.error_sums import ErrorSums
from fastmetrics.ops.ranks import Samples
from fastmetrics.ops.row_similarity import RowSimilarity


class ErrorSumMetric(DifferentiableMetric):
    """A formula over error sums, by default the mean of the first term.

    The value has the dtype of ``set_dtype``, float32 by default; the sums stay float64.

    Args:
        statistic: which errors are summed.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.
    """

    higher_is_better: bool | None = False
    plot_lower_bound = 0.0
    statistic: ErrorSums
    sums: Tensor

    def __init__(self, statistic: ErrorSums, **kwargs: Any) -> None:
        statistic.check()
        super().__init__(statistic, **kwargs)

    def _formula(self, *columns: N) -> N:
        """Return the value of the sums of each term, and then those of the weights."""
        return mean(*columns)

    def _value(self, states: States) -> Tensor:
        sums: Tensor = states.values["sums"]
        if len(sums) == 1:
            return value_of_sums(sums, self._formula, self.dtype)
        return self._formula(*sums.unbind(-1)).to(self.dtype)


class MomentsMetric(DifferentiableMetric):
    """A formula over co-moments.

    Args:
        statistic: which batches are taken.
        kwargs: as for :class:`fastmetrics.metric.Metric`.
    """

    statistic: Moments
    moments: Tensor
    # The states that torchmetrics has for this metric.
    _upstream: ClassVar[dict[str, View]]

    def __init__(self, statistic: Moments, **kwargs: Any) -> None:
        statistic.check()
        super().__init__(statistic, **kwargs)

    def _views(self) -> dict[str, View]:
        return self._upstream

    def _formula(self, moments: Tensor, wide: bool | None) -> Tensor:
        """Return the value of ``moments`` ``[D, 18]``.

        ``wide`` asks for float64; None where the moments say whether an input was.
        """
        raise NotImplementedError

    def _value(self, states: States) -> Tensor:
        moments: Tensor = states.values["moments"]
        outputs = self.statistic.num_outputs
        # Another metric of a collection, which shares the state, may take any number of outputs.
        if not self.statistic.adapts and moments.shape[0] != outputs:
            raise ValueError(
                f"{type(self).__name__} has num_outputs={outputs}, but `preds` and `target`"
                f" had {moments.shape[0]} outputs."
            )
        return self._formula(moments, True if self.dtype is torch.float64 else states.wide)


class RowMetric(DifferentiableMetric):
    """A similarity of rows, reduced over all of them.

    Args:
        kind: the similarity, see :func:`fastmetrics.ops.row_similarity.row_similarity_`.
        reduction: ``"mean"``, ``"sum"``, ``"none"`` or None.
        kwargs: as for :class:`fastmetrics.metric.Metric`.
    """

    statistic: RowSimilarity
    sums: Tensor
    measures: list[Tensor]

    def __init__(self, kind: int, reduction: str | None, **kwargs: Any) -> None:
        super().__init__(RowSimilarity.of(kind, reduction), **kwargs)
        self.reduction = reduction

    def _value(self, states: States) -> Tensor:
        dtype = torch.float64 if self.statistic.is_wide(states) else self.dtype
        return self.statistic.read(states, self.reduction, dtype)


class DivergenceMetric(RowMetric):
    """A divergence of distributions, or of their logarithms.

    Args:
        kinds: the divergence of distributions, and that of logarithms.
        log_prob: which of the two.
        reduction: as for :class:`RowMetric`.
        kwargs: as for :class:`fastmetrics.metric.Metric`.
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    _inputs = ("p", "q")

    def __init__(
        self, kinds: tuple[int, int], log_prob: bool, reduction: str | None, **kwargs: Any
    ) -> None:
        super().__init__(kind_of(kinds, log_prob), reduction, **kwargs)
        self.log_prob = log_prob

    @counts_only
    @adds("weight")
    def update(  # type: ignore[override]  # upstream's names
        self, p: Tensor, q: Tensor, *, weight: Tensor | None = None
    ) -> None:
        """Add a batch of distributions ``[N, D]``, any real dtype; ``weight`` is ``[N]``.

        Raises:
            RuntimeError: the shapes differ.
            ValueError: inputs of another shape, or complex ones.
        """
        self.statistic.add(self._states, p, q, weight)


class SampleMetric(StatisticMetric):
    """A metric that keeps copies of all predictions and targets, ``[N]`` or ``[N, D]``.

    Args:
        statistic: which samples are taken.
        kwargs: as for :class:`fastmetrics.metric.Metric`.
    """

    is_differentiable = False
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0
    statistic: Samples
    preds: list[Tensor]
    target: list[Tensor]
    num_outputs = StatisticField[int]()

    def __init__(self, statistic: Samples, **kwargs: Any) -> None:
        statistic.check()
        super().__init__(statistic, **kwargs)

    @counts_only
    def update(self, preds: Tensor, target: Tensor) -> None:  # type: ignore[override]  # no weights
        """Keep a batch.

        Raises:
            TypeError: an input is not floating point, where it must be.
            ValueError: the shape is not that of the outputs, or the inputs are complex.
            RuntimeError: ``preds`` and ``target`` have different shapes.
        """
        self.statistic.check_batch(type(self).__name__, preds, target, self.device)
        self.statistic.add(self._states, preds, target)
