"""Jaccard index metrics; arguments as in :mod:`fastmetrics.classification.confusion_matrix`.

``average`` is ``"micro"``, ``"macro"``, ``"weighted"``, ``"none"`` or None, and ``zero_division``
(0, 1 or NaN) the value of 0/0; :mod:`fastmetrics.functional.classification.jaccard` says what they
do.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastmetrics.classification._tasks import TaskWrapper, by_task, makes_its_task
from fastmetrics.classification.confusion_matrix import (
    BinaryMatrixMetric,
    MatrixMetric,
    MulticlassMatrixMetric,
    MultilabelMatrixMetric,
)
from fastmetrics.functional.classification._count_functions import check_averaging
from fastmetrics.functional.classification.jaccard import (
    JACCARD,
    multiclass_jaccard_formula,
)
from fastmetrics.metric import Metric
from fastmetrics.utilities.checks import check_zero_division

__all__ = ["BinaryJaccardIndex", "JaccardIndex", "MulticlassJaccardIndex", "MultilabelJaccardIndex"]


class _JaccardValue(MatrixMetric):
    zero_division: float
    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0


class BinaryJaccardIndex(_JaccardValue, BinaryMatrixMetric):
    """Overlap of predicted with target positives over their union, in ``[0, 1]``.

    ``tp / (tp + fp + fn)``, of each class before averages.

    >>> import torch
    >>> from fastmetrics.classification import BinaryJaccardIndex
    >>> BinaryJaccardIndex()(torch.tensor([0, 1, 0, 0]), torch.tensor([1, 1, 0, 0]))
    tensor(0.5000)
    """

    def __init__(
        self,
        threshold: float = 0.5,
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0,
        *,
        input: str = "auto",
        **kwargs: Any,
    ) -> None:
        if validate_args is not False:
            check_zero_division(zero_division)
        super().__init__(threshold, ignore_index, validate_args, input=input, **kwargs)
        self.zero_division = zero_division

    def compute(self) -> Tensor:
        """Return the index, a float32 scalar."""
        counts = self.statistic.read(self._states)
        return JACCARD(counts, "micro", self.zero_division)


class MulticlassJaccardIndex(_JaccardValue, MulticlassMatrixMetric):
    """Overlap over union of each class, in ``[0, 1]``.

    ``tp / (tp + fp + fn)``, of each class before averages.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassJaccardIndex
    >>> metric = MulticlassJaccardIndex(num_classes=3)
    >>> metric(torch.tensor([2, 1, 0, 1]), torch.tensor([2, 1, 0, 0]))
    tensor(0.6667)
    """

    plot_legend_name = "Class"

    def __init__(
        self,
        num_classes: int,
        average: str | None = "macro",
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0,
        **kwargs: Any,
    ) -> None:
        if validate_args is not False:
            check_averaging(average, zero_division=zero_division)
        super().__init__(num_classes, ignore_index, validate_args, **kwargs)
        self.average = average
        self.zero_division = zero_division

    def compute(self) -> Tensor:
        """Return the index, float32: a scalar, or ``[C]`` without averaging."""
        return multiclass_jaccard_formula(
            self.statistic.matrix(self._states), self.average, self.ignore_index, self.zero_division
        )


class MultilabelJaccardIndex(_JaccardValue, MultilabelMatrixMetric):
    """Overlap over union of each label's positives, in ``[0, 1]``.

    ``tp / (tp + fp + fn)``, of each class before averages.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelJaccardIndex
    >>> metric = MultilabelJaccardIndex(num_labels=3)
    >>> metric(torch.tensor([[0, 0, 1], [1, 0, 1]]), torch.tensor([[0, 1, 0], [1, 0, 1]]))
    tensor(0.5000)
    """

    plot_legend_name = "Label"

    def __init__(
        self,
        num_labels: int,
        threshold: float = 0.5,
        average: str | None = "macro",
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0,
        *,
        input: str = "auto",
        **kwargs: Any,
    ) -> None:
        if validate_args is not False:
            check_averaging(average, zero_division=zero_division)
        super().__init__(num_labels, threshold, ignore_index, validate_args, input=input, **kwargs)
        self.average = average
        self.zero_division = zero_division

    def compute(self) -> Tensor:
        """Return the index, float32: a scalar, or ``[L]`` without averaging."""
        counts = self.statistic.read(self._states)
        return JACCARD(counts, self.average, self.zero_division)


class JaccardIndex(TaskWrapper):
    """Make the Jaccard index metric of ``task``: binary, multiclass or multilabel.

    ``tp / (tp + fp + fn)``, of each class before averages.

    >>> from fastmetrics import JaccardIndex
    >>> type(JaccardIndex(task="multiclass", num_classes=3)).__name__
    'MulticlassJaccardIndex'
    """

    tasks = by_task(BinaryJaccardIndex, MulticlassJaccardIndex, MultilabelJaccardIndex)

    @makes_its_task
    def __new__(  # type: ignore[misc]  # makes another metric
        cls, task: str, threshold: float = 0.5, num_classes: int | None = None,
        num_labels: int | None = None, average: str | None = "macro",
        ignore_index: int | None = None, validate_args: bool = True, **kwargs: Any,
    ) -> Metric:  # fmt: skip
        """Make the metric of ``task``."""
