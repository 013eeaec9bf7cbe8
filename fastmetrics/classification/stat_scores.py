"""Counts of true and false positives and negatives, and the classes of all metrics made of them.

The metrics of ``accuracy``, ``precision_recall``, ``f_beta``, ``specificity``,
``negative_predictive_value`` and ``hamming`` take the arguments of :class:`BinaryStatScores`,
:class:`MulticlassStatScores` and :class:`MultilabelStatScores`; their ranges, the shapes and dtypes
of ``preds`` and ``target``, and the errors stand in the docstring of
:mod:`fastmetrics.functional.classification.stat_scores`. Metrics that differ only in their formula
or ``average`` share one state within a collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from fastmetrics.classification._counts import CountMetric
from fastmetrics.classification._tasks import TaskWrapper, by_task, makes_its_task
from fastmetrics.core.states import States
from fastmetrics.core.statistic import Lists, View, check_form
from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.classification._count_functions import check_averaging
from fastmetrics.functional.classification._ratio import Formula
from fastmetrics.functional.classification.stat_scores import stat_scores_formula
from fastmetrics.metric import Metric
from fastmetrics.ops.confusion import BinaryTable, LabelTables
from fastmetrics.ops.counted import COUNTS
from fastmetrics.ops.stat_scores import ClassCounts
from fastmetrics.utilities.data import dim_zero_cat

__all__ = ["BinaryStatScores", "MulticlassStatScores", "MultilabelStatScores", "StatScores"]


class StatScoreMetric(CountMetric):
    """Counts of each class; a subclass has a ``formula`` over them.

    Args:
        statistic: what is counted.
        multidim_average: over the axes behind the first, as in ``statistic``.
        zero_division: the value of 0/0.
        settings: as for :class:`~fastmetrics.metric.Metric`.
    """

    formula: Formula = staticmethod(stat_scores_formula)
    statistic: ClassCounts | LabelTables
    counts: Tensor | list[Tensor]
    events: Tensor
    tp: Tensor
    fp: Tensor
    tn: Tensor
    fn: Tensor
    average: str | None = "micro"

    def __init__(
        self,
        statistic: ClassCounts | LabelTables,
        multidim_average: str,
        zero_division: float,
        **settings: Any,
    ) -> None:
        super().__init__(statistic, **settings)
        self.multidim_average = multidim_average
        self.zero_division = zero_division

    def compute(self) -> Tensor:
        """Apply the formula to the counts."""
        counts = self.statistic.read(self._states)
        return self.formula(counts, self.average, self.zero_division)

    def _views(self) -> Mapping[str, View]:
        if self.statistic.samplewise:
            return {name: View(partial(self._shown, name)) for name in COUNTS}
        return {
            name: View(partial(self._shown, name), partial(self._write, name)) for name in COUNTS
        }

    def _shown(self, name: str, states: States) -> Tensor:
        counts = self.statistic.read(states)
        if self.average == "micro":
            counts = counts.micro(keepdim=not self.statistic.samplewise)
        shown: Tensor = getattr(counts, name)
        return shown

    def _write(self, name: str, states: States, value: Any) -> None:
        self.statistic.write_column(states, name, self._of_classes(torch.as_tensor(value)))

    def _of_classes(self, count: Tensor) -> Tensor:
        """Return the count of each class; where only the sum is known, any class may hold it."""
        if self.average != "micro":
            return count
        count = count.reshape(-1)
        statistic = self.statistic
        classes = statistic.num_labels if isinstance(statistic, LabelTables) else statistic.shape[0]
        return pad(count, (0, classes - count.shape[-1]))

    def _lists(self) -> Lists | None:
        if not self.statistic.samplewise:
            return None
        return Lists(COUNTS, self._add_rows, lambda states: [self._rows(states)])

    def _rows(self, states: States) -> tuple[Tensor, ...]:
        """Return the counts of each sample and class, ``[N, C]``, or ``[N]`` of binary inputs."""
        columns = self.statistic.read(states).columns()
        one = isinstance(self.statistic, BinaryTable)
        return tuple(column.squeeze(-1) if one else column for column in columns)

    def _add_rows(self, states: States, batch: tuple[Tensor, ...]) -> None:
        """Add the counts of samples in the form of :meth:`_rows`, however scores are read."""
        statistic, device = self.statistic, states.values["events"].device
        wanted = self._rows(states)[0].shape[1:]
        rows: Any = "N"
        for name, count in zip(COUNTS, batch, strict=True):
            check_form(name, count, (rows, *wanted), torch.int64)
            rows = len(count)
        part = States({"events": states.values["events"]})
        part.values["counts"] = torch.zeros(
            (rows, *statistic.shape), dtype=torch.int64, device=device
        )
        for name, count in zip(COUNTS, batch, strict=True):
            if isinstance(statistic, LabelTables):  # as probabilities and as logits
                count = count.reshape(rows, 1, statistic.num_labels)
            statistic.write_column(part, name, count)
        states.values["counts"].append(part.values["counts"])

    # What subclasses call that were written for torchmetrics and count in a way of their own.

    def _create_state(self, size: int, multidim_average: str = "global") -> None:
        """Declare the counts, unless those that the statistic keeps have ``size`` elements."""
        if multidim_average == self.multidim_average and (
            multidim_average == "samplewise" or self.tp.numel() == size
        ):
            return
        for name in COUNTS:
            if multidim_average == "samplewise":
                self.add_state(name, [], "cat")
            else:
                zeros = torch.zeros(size, dtype=torch.int64, device=self._default_device)
                self.add_state(name, zeros, "sum")

    def _update_state(self, tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> None:
        """Add the counts of a batch."""
        for name, count in zip(COUNTS, (tp, fp, tn, fn), strict=True):
            total: Any = getattr(self, name)
            setattr(self, name, [*total, count] if isinstance(total, list) else total + count)

    def _final_state(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return ``tp, fp, tn, fn``."""
        tp, fp, tn, fn = (dim_zero_cat(getattr(self, name)) for name in COUNTS)
        return tp, fp, tn, fn


class BinaryStatScores(StatScoreMetric):
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
    >>> metric(torch.tensor([0.2, 0.9, 0.6, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor([1, 1, 1, 1, 2])
    """

    threshold = StatisticField[float]()
    input = StatisticField[str]()

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
        if validate_args is not False:
            check_averaging("micro", multidim_average, zero_division)
        table = BinaryTable(
            threshold,
            samplewise=multidim_average == "samplewise",
            ignore_index=ignore_index,
            validate_args=validate_args,
            input=input,
        )
        super().__init__(table, multidim_average, zero_division, **kwargs)


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
    >>> metric(torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2]))
    tensor([[1, 1, 3, 0, 1],
            [1, 0, 3, 1, 2],
            [1, 1, 2, 1, 2]])
    """

    num_classes = StatisticField[int | None]()
    top_k = StatisticField[int]()

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
        if validate_args is not False:
            check_averaging(
                average, multidim_average, zero_division=zero_division, num_classes=num_classes
            )
        counts = ClassCounts(
            num_classes,
            top_k,
            samplewise=multidim_average == "samplewise",
            ignore_index=ignore_index,
            validate_args=validate_args,
        )
        super().__init__(counts, multidim_average, zero_division, **kwargs)
        self.average = average

    def _shown(self, name: str, states: States) -> Tensor:
        if self.top_k > 1 and not self.statistic.samplewise:
            shown: Tensor = getattr(self.statistic.read(states), name)
            return shown
        return super()._shown(name, states)


class MultilabelStatScores(StatScoreMetric):
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
    >>> metric(preds, torch.tensor([[0, 1], [1, 0], [1, 0]]))
    tensor([[1, 0, 1, 1, 2],
            [1, 1, 1, 0, 1]])
    """

    num_labels = StatisticField[int]()
    threshold = StatisticField[float]()
    input = StatisticField[str]()

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
        if validate_args is not False:
            check_averaging(average, multidim_average, zero_division)
        tables = LabelTables(
            num_labels,
            threshold,
            samplewise=multidim_average == "samplewise",
            ignore_index=ignore_index,
            validate_args=validate_args,
            input=input,
        )
        super().__init__(tables, multidim_average, zero_division, **kwargs)
        self.average = average

    def _shown(self, name: str, states: States) -> Tensor:
        shown: Tensor = getattr(self.statistic.read(states), name)
        return shown


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

    @makes_its_task
    def __new__(  # type: ignore[misc]  # makes another metric
        cls, task: str, threshold: float = 0.5, num_classes: int | None = None,
        num_labels: int | None = None, average: str | None = "micro",
        multidim_average: str = "global", top_k: int = 1, ignore_index: int | None = None,
        validate_args: bool = True, zero_division: float = 0.0, **kwargs: Any,
    ) -> Metric:  # fmt: skip
        """Make the metric of ``task``."""


class StatScores(StatScoreWrapper):
    """Make the stat scores of ``task``, which is binary, multiclass or multilabel.

    ``tp``, ``fp``, ``tn``, ``fn`` and the support ``tp + fn``.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``, multilabel ``num_labels``.

    >>> from fastmetrics import StatScores
    >>> StatScores(task="multiclass", num_classes=3)
    MulticlassStatScores()
    """

    tasks = by_task(BinaryStatScores, MulticlassStatScores, MultilabelStatScores)
