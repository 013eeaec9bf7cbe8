"""Counts of true and false positives and negatives, and the classes of all metrics made of them.

The metrics of ``accuracy``, ``precision_recall``, ``f_beta``, ``specificity``,
``negative_predictive_value`` and ``hamming`` take the arguments of :class:`BinaryStatScores`,
:class:`MulticlassStatScores` and :class:`MultilabelStatScores`; their ranges, the shapes and dtypes
of ``preds`` and ``target``, and the errors stand in the docstring of
:mod:`fastmetrics.functional.classification.stat_scores`. Metrics that differ only in their formula
or ``average`` share one state within a collection.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, ClassVar

from torch import Tensor

from fastmetrics.classification._statistic import CountMetric, LabelCountMetric, TaskWrapper
from fastmetrics.classification.confusion_matrix import MulticlassMatrixMetric
from fastmetrics.core.states import State
from fastmetrics.functional.classification._statistic import (
    Formula,
    split_counts,
    sum_of_classes,
    tallies_of,
)
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.functional.classification.stat_scores import (
    check_binary_arguments,
    check_multiclass_arguments,
    check_multilabel_arguments,
    stat_scores_formula,
)
from fastmetrics.metric import Metric
from fastmetrics.ops import stat_scores_
from fastmetrics.ops.fused import Update

__all__ = ["BinaryStatScores", "MulticlassStatScores", "MultilabelStatScores", "StatScores"]


class StatScoreMetric(CountMetric):
    """The four counts by name; a subclass has a ``formula`` over them."""

    formula: Formula = staticmethod(stat_scores_formula)

    def _rows(self) -> Tensor:
        """Return the counts of all updates, ``[..., C, 4]``."""
        raise NotImplementedError

    def _split(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return ``tp, fp, tn, fn``."""
        raise NotImplementedError

    @property
    def tp(self) -> Tensor:
        """True positives."""
        return self._split()[0]

    @property
    def fp(self) -> Tensor:
        """False positives."""
        return self._split()[1]

    @property
    def tn(self) -> Tensor:
        """True negatives."""
        return self._split()[2]

    @property
    def fn(self) -> Tensor:
        """False negatives."""
        return self._split()[3]


class LabelStatScoreMetric(LabelCountMetric, StatScoreMetric):
    """Counts from scores and a threshold."""

    def _rows(self) -> Tensor:
        return self._final_tables().flatten(-2)

    def _split(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return split_counts(self._rows(), thresholded=True)


class BinaryStatScores(LabelStatScoreMetric):
    """Counts ``[tp, fp, tn, fn, tp + fn]`` of binary inputs, ``[5]`` or samplewise ``[N, 5]``.

    Args:
        threshold: float in [0, 1].
        multidim_average: ``"global"`` or ``"samplewise"``.
        ignore_index: targets to leave out, integer or None.
        validate_args: check arguments and labels.
        zero_division: 0, 1 or NaN; for the metrics whose formula can be 0/0.
        input: ``"auto"``, ``"probs"`` or ``"logits"``.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument is out of range.

    >>> import torch
    >>> from fastmetrics.classification import BinaryStatScores
    >>> metric = BinaryStatScores()
    >>> metric.update(torch.tensor([0.2, 0.9, 0.6, 0.4]), torch.tensor([0, 1, 0, 1]))
    >>> metric.compute()
    tensor([1, 1, 1, 1, 2])
    """

    def __init__(
        self,
        threshold: float = 0.5,
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0.0,
        *,
        input: str = "auto",
        **kwargs: Any,
    ) -> None:
        if validate_args:
            check_binary_arguments(threshold, multidim_average, ignore_index, zero_division, input)
        samplewise = multidim_average == "samplewise"
        super().__init__(1, threshold, ignore_index, validate_args, input, samplewise, **kwargs)
        self.multidim_average = multidim_average
        self.zero_division = zero_division

    def compute(self) -> Tensor:
        """Apply the formula to the counts."""
        return self.formula(self._rows(), True, "micro", zero_division=self.zero_division)

    def _split(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return split_counts(self._rows().flatten(0, -2), thresholded=True)


class MulticlassStatScores(StatScoreMetric):
    """Counts ``[tp, fp, tn, fn, tp + fn]`` of each class, averaged as ``average`` says.

    Args:
        num_classes: C, at least 2; None (unknown) only with ``average="micro"``.
        top_k: in [1, C].
        average: ``"micro"``, ``"macro"``, ``"weighted"``, ``"none"`` or None.
        multidim_average: ``"global"`` or ``"samplewise"``.
        ignore_index: targets to leave out, integer or None.
        validate_args: check arguments and labels.
        zero_division: 0, 1 or NaN; for the metrics whose formula can be 0/0.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument is out of range.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassStatScores
    >>> metric = MulticlassStatScores(num_classes=3, average=None)
    >>> metric.update(torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2]))
    >>> metric.compute()
    tensor([[1, 1, 3, 0, 1],
            [1, 0, 3, 1, 2],
            [1, 1, 2, 1, 2]])
    """

    def __init__(
        self,
        num_classes: int | None = None,
        top_k: int = 1,
        average: str | None = "macro",
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if validate_args:
            check_multiclass_arguments(
                num_classes, top_k, average, multidim_average, ignore_index, zero_division
            )
        super().__init__(validate_args, **kwargs)
        self.num_classes = num_classes
        self.top_k = top_k
        self.average = average
        self.multidim_average = multidim_average
        self.ignore_index = ignore_index
        self.zero_division = zero_division
        self._add_counts((num_classes or 1, 4), multidim_average == "samplewise")

    def update(self, preds: Tensor, target: Tensor, weight: Tensor | None = None) -> None:
        """Count one batch; arguments as in :func:`fastmetrics.ops.stat_scores_`."""
        counts = self._open_counts(target, weight)
        stat_scores_(counts, self.events, preds, target, weight, *self._arguments())
        self._keep_counts(counts)

    def _arguments(self) -> tuple[int, int, int | None, bool]:
        return self.num_classes or 0, self.top_k, self.ignore_index, self.validate_args

    def _op(self) -> Update | None:
        return None if self._samplewise else Update("stat_scores_", self._arguments())

    def compute(self) -> Tensor:
        """Apply the formula to the counts."""
        return self.formula(self._rows(), False, self.average, self.top_k, self.zero_division)

    def _rows(self) -> Tensor:
        return self._final_counts()

    def _split(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        counts = self._final_counts()
        if self.average == "micro":
            counts = counts.sum(-2, keepdim=not self._samplewise)
        return split_counts(counts, thresholded=False)

    def _statistic(self) -> Hashable:
        return (
            "stat_scores",
            self.num_classes,
            self._samplewise,
            self.top_k,
            self.ignore_index,
            self.validate_args,
        )

    def _derive(self, source: Metric) -> dict[str, State] | None:
        """Read the counts off a confusion matrix, or those of all classes together off each."""
        if not isinstance(source, (MulticlassMatrixMetric, MulticlassStatScores)):
            return None
        rules = (self.ignore_index, self.validate_args)
        if self._samplewise or (source.ignore_index, source.validate_args) != rules:
            return None
        # Unchecked labels of any size count where the number of classes is unknown.
        summed = self.num_classes is None and source.num_classes and self.validate_args
        if not summed and self.num_classes != source.num_classes:
            return None
        if isinstance(source, MulticlassMatrixMetric):
            rows = tallies_of(source.counts) if self.top_k == 1 else None
        else:
            alike = not source._samplewise and source.top_k == self.top_k
            rows = source._final_counts() if alike and summed else None
        if rows is None:
            return None
        return {"counts": sum_of_classes(rows) if summed else rows, "events": source.events}


class MultilabelStatScores(LabelStatScoreMetric):
    """Counts ``[tp, fp, tn, fn, tp + fn]`` of each label, averaged as ``average`` says.

    Args:
        num_labels: L, at least 2.
        threshold: float in [0, 1].
        average: ``"micro"``, ``"macro"``, ``"weighted"``, ``"none"`` or None.
        multidim_average: ``"global"`` or ``"samplewise"``.
        ignore_index: targets to leave out, integer or None.
        validate_args: check arguments and labels.
        zero_division: 0, 1 or NaN; for the metrics whose formula can be 0/0.
        input: ``"auto"``, ``"probs"`` or ``"logits"``.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument is out of range.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelStatScores
    >>> metric = MultilabelStatScores(num_labels=2, average=None)
    >>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.6], [0.3, 0.2]])
    >>> metric.update(preds, torch.tensor([[0, 1], [1, 0], [1, 0]]))
    >>> metric.compute()
    tensor([[1, 0, 1, 1, 2],
            [1, 1, 1, 0, 1]])
    """

    def __init__(
        self,
        num_labels: int,
        threshold: float = 0.5,
        average: str | None = "macro",
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0.0,
        *,
        input: str = "auto",
        **kwargs: Any,
    ) -> None:
        if validate_args:
            check_multilabel_arguments(
                num_labels, threshold, average, multidim_average, ignore_index, zero_division, input
            )
        samplewise = multidim_average == "samplewise"
        super().__init__(
            num_labels, threshold, ignore_index, validate_args, input, samplewise, **kwargs
        )
        self.num_labels = num_labels
        self.average = average
        self.multidim_average = multidim_average
        self.zero_division = zero_division

    def compute(self) -> Tensor:
        """Apply the formula to the counts."""
        return self.formula(self._rows(), True, self.average, zero_division=self.zero_division)


class BinaryRatio(BinaryStatScores):
    """A value in [0, 1] of binary counts."""

    plot_lower_bound = 0.0
    plot_upper_bound = 1.0


class MulticlassRatio(MulticlassStatScores):
    """A value in [0, 1] of the counts per class."""

    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    plot_legend_name = "Class"


class MultilabelRatio(MultilabelStatScores):
    """A value in [0, 1] of the counts per label."""

    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    plot_legend_name = "Label"


class StatScoreWrapper(TaskWrapper):
    """The choice of a task for metrics with the arguments of the stat scores."""

    tasks: ClassVar[dict[str, Callable[..., Metric]]]

    def __new__(  # type: ignore[misc]  # makes the metric of the task
        cls,
        task: str,
        threshold: float = 0.5,
        num_classes: int | None = None,
        num_labels: int | None = None,
        average: str | None = "micro",
        multidim_average: str = "global",
        top_k: int = 1,
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0.0,
        **kwargs: Any,
    ) -> Metric:
        """Make the metric of ``task``."""
        return call_for_task(
            task,
            cls.tasks,
            threshold=threshold,
            num_classes=num_classes,
            num_labels=num_labels,
            average=average,
            multidim_average=multidim_average,
            top_k=top_k,
            ignore_index=ignore_index,
            validate_args=validate_args,
            zero_division=zero_division,
            **kwargs,
        )


class StatScores(StatScoreWrapper):
    """Make the stat scores of ``task``, which is binary, multiclass or multilabel.

    ``tp``, ``fp``, ``tn``, ``fn`` and the support ``tp + fn``.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``, multilabel ``num_labels``.

    >>> from fastmetrics import StatScores
    >>> StatScores(task="multiclass", num_classes=3)
    MulticlassStatScores()
    """

    tasks: ClassVar[dict[str, Callable[..., Metric]]] = {
        "binary": BinaryStatScores,
        "multiclass": MulticlassStatScores,
        "multilabel": MultilabelStatScores,
    }
