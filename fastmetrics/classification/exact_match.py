"""Exact match: the share of samples with every position right.

Arguments, shapes and errors as in :mod:`fastmetrics.functional.classification.exact_match`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

from fastmetrics.classification._counts import CountMetric
from fastmetrics.classification._tasks import TaskWrapper, makes_its_task
from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.classification.exact_match import exact_match_formula
from fastmetrics.metric import Metric
from fastmetrics.ops.exact_match import ClassMatches, LabelMatches, MatchCounts
from fastmetrics.utilities.checks import is_samplewise

__all__ = ["ExactMatch", "MulticlassExactMatch", "MultilabelExactMatch"]


class ExactMatchMetric(CountMetric):
    """Counts samples with every position right, and all samples."""

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    statistic: MatchCounts

    def compute(self) -> Tensor:
        """Divide the samples with every position right by all samples."""
        return exact_match_formula(self.statistic.read(self._states))


class MulticlassExactMatch(ExactMatchMetric):
    """Share of multiclass samples whose trailing positions are all right.

    ``#{samples with every position right} / #{samples}``.

    Args:
        num_classes: C, at least 2.
        multidim_average: ``"global"`` or ``"samplewise"``.
        ignore_index: targets that count as right, integer or None.
        validate_args: check arguments and labels.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument is out of range.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassExactMatch
    >>> metric = MulticlassExactMatch(num_classes=3)
    >>> metric.update(torch.tensor([[0, 2], [1, 1]]), torch.tensor([[0, 2], [1, 0]]))
    >>> metric.compute()
    tensor(0.5000)
    """

    plot_legend_name = "Class"
    num_classes = StatisticField[int]()

    def __init__(
        self,
        num_classes: int,
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> None:
        samplewise = is_samplewise(multidim_average, validate_args)
        statistic = ClassMatches(
            num_classes=num_classes,
            samplewise=samplewise,
            ignore_index=ignore_index,
            validate_args=validate_args,
        )
        super().__init__(statistic, **kwargs)
        self.multidim_average = multidim_average


class MultilabelExactMatch(ExactMatchMetric):
    """Share of multilabel samples whose labels are all right.

    ``#{samples with every position right} / #{samples}``.

    Args:
        num_labels: L, at least 2.
        threshold: float in [0, 1].
        multidim_average: ``"global"`` or ``"samplewise"``.
        ignore_index: targets that count as right, integer or None.
        validate_args: check arguments and labels.
        input: ``"auto"``, ``"probs"`` or ``"logits"``.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument is out of range.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelExactMatch
    >>> metric = MultilabelExactMatch(num_labels=2)
    >>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.6], [0.3, 0.2]])
    >>> metric.update(preds, torch.tensor([[0, 1], [1, 0], [1, 0]]))
    >>> metric.compute()
    tensor(0.3333)
    """

    plot_legend_name = "Label"
    num_labels = StatisticField[int]()
    threshold = StatisticField[float]()
    input = StatisticField[str]()

    def __init__(
        self,
        num_labels: int,
        threshold: float = 0.5,
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        input: str = "auto",
        **kwargs: Any,
    ) -> None:
        samplewise = is_samplewise(multidim_average, validate_args)
        statistic = LabelMatches(
            num_labels=num_labels,
            threshold=threshold,
            samplewise=samplewise,
            ignore_index=ignore_index,
            validate_args=validate_args,
            input=input,
        )
        super().__init__(statistic, **kwargs)
        self.multidim_average = multidim_average


class ExactMatch(TaskWrapper):
    """Make the exact match of ``task``, which is multiclass or multilabel.

    ``#{samples with every position right} / #{samples}``.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``, multilabel ``num_labels``.

    >>> from fastmetrics import ExactMatch
    >>> ExactMatch(task="multiclass", num_classes=3)
    MulticlassExactMatch()
    """

    tasks: ClassVar[dict[str, Callable[..., Metric]]] = {
        "multiclass": MulticlassExactMatch,
        "multilabel": MultilabelExactMatch,
    }

    @makes_its_task
    def __new__(  # type: ignore[misc]  # makes another metric
        cls, task: str, threshold: float = 0.5, num_classes: int | None = None,
        num_labels: int | None = None, multidim_average: str = "global",
        ignore_index: int | None = None, validate_args: bool = True, **kwargs: Any,
    ) -> Metric:  # fmt: skip
        """Make the metric of ``task``."""
