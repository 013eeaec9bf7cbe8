"""Exact match: the share of samples with every position right.

Arguments, shapes and errors as in :mod:`fastmetrics.functional.classification.exact_match`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, ClassVar

from torch import Tensor

from fastmetrics.classification._statistic import CountMetric, TaskWrapper
from fastmetrics.functional.classification._statistic import choose_reading
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.functional.classification.exact_match import exact_match_formula
from fastmetrics.functional.classification.stat_scores import (
    check_multiclass_arguments,
    check_multilabel_arguments,
)
from fastmetrics.metric import Metric
from fastmetrics.ops import exact_match_, label_exact_match_

__all__ = ["ExactMatch", "MulticlassExactMatch", "MultilabelExactMatch"]


class ExactMatchMetric(CountMetric):
    """Counts ``[right, total]``."""

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def compute(self) -> Tensor:
        """Divide the samples with every position right by all samples."""
        return exact_match_formula(self._rows())

    def _rows(self) -> Tensor:
        """Return the counts of all updates, ``[..., 2]``."""
        return self._final_counts()

    @property
    def correct(self) -> Tensor:
        """Samples with every position right."""
        return self._rows()[..., 0]

    @property
    def total(self) -> Tensor:
        """All samples."""
        return self._rows()[..., 1]


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

    def __init__(
        self,
        num_classes: int,
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> None:
        if validate_args:
            check_multiclass_arguments(num_classes, 1, None, multidim_average, ignore_index, 0)
        super().__init__(validate_args, **kwargs)
        self.num_classes = num_classes
        self.multidim_average = multidim_average
        self.ignore_index = ignore_index
        self._add_counts((2,), multidim_average == "samplewise")

    def update(self, preds: Tensor, target: Tensor, weight: Tensor | None = None) -> None:
        """Count one batch; arguments as in :func:`fastmetrics.ops.exact_match_`."""
        counts = self._open_counts(target, weight)
        exact_match_(
            counts,
            self.events,
            preds,
            target,
            weight,
            self.num_classes,
            self.ignore_index,
            self.validate_args,
        )
        self._keep_counts(counts)

    def _statistic(self) -> Hashable:
        return (
            "exact_match",
            self.num_classes,
            self._samplewise,
            self.ignore_index,
            self.validate_args,
        )


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
        if validate_args:
            check_multilabel_arguments(
                num_labels, threshold, None, multidim_average, ignore_index, 0, input
            )
        super().__init__(validate_args, **kwargs)
        self.num_labels = num_labels
        self.threshold = threshold
        self.multidim_average = multidim_average
        self.ignore_index = ignore_index
        self.input = input
        readings = 2 if input == "auto" else 1
        self._add_counts((readings, 2), multidim_average == "samplewise", label_axes=1)

    def update(self, preds: Tensor, target: Tensor, weight: Tensor | None = None) -> None:
        """Count one batch; arguments as in :func:`fastmetrics.ops.label_exact_match_`."""
        counts = self._open_counts(target, weight)
        label_exact_match_(
            counts,
            self.events,
            preds,
            target,
            weight,
            self.num_labels,
            self.threshold,
            self.input == "logits",
            self.ignore_index,
            self.validate_args,
        )
        self._keep_counts(counts)

    def _rows(self) -> Tensor:
        return choose_reading(self._final_counts(), self.events, -2)

    def _statistic(self) -> Hashable:
        return (
            "label_exact_match",
            self.num_labels,
            self._samplewise,
            self.threshold,
            self.input,
            self.ignore_index,
            self.validate_args,
        )


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

    def __new__(  # type: ignore[misc]  # makes the metric of the task
        cls,
        task: str,
        threshold: float = 0.5,
        num_classes: int | None = None,
        num_labels: int | None = None,
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> Metric:
        """Make the metric of ``task``."""
        return call_for_task(
            task,
            cls.tasks,
            threshold=threshold,
            num_classes=num_classes,
            num_labels=num_labels,
            multidim_average=multidim_average,
            ignore_index=ignore_index,
            validate_args=validate_args,
            **kwargs,
        )
