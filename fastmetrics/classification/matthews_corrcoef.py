"""Matthews correlation metrics; see :mod:`fastmetrics.classification.confusion_matrix`."""

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
from fastmetrics.functional.classification.matthews_corrcoef import matthews_corrcoef_formula
from fastmetrics.metric import Metric

__all__ = [
    "BinaryMatthewsCorrCoef",
    "MatthewsCorrCoef",
    "MulticlassMatthewsCorrCoef",
    "MultilabelMatthewsCorrCoef",
]


class _CorrelationValue(MatrixMetric):
    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def compute(self) -> Tensor:
        """Return the correlation, a float32 scalar; see :func:`matthews_corrcoef_formula`."""
        return matthews_corrcoef_formula(self.statistic.matrix(self._states))


class BinaryMatthewsCorrCoef(_CorrelationValue, BinaryMatrixMetric):
    """Correlation of thresholded predictions with targets, in ``[-1, 1]``.

    >>> import torch
    >>> from fastmetrics.classification import BinaryMatthewsCorrCoef
    >>> BinaryMatthewsCorrCoef()(torch.tensor([0, 1, 0, 0]), torch.tensor([1, 1, 0, 0]))
    tensor(0.5774)
    """


class MulticlassMatthewsCorrCoef(_CorrelationValue, MulticlassMatrixMetric):
    """Correlation of predicted classes with targets, in ``[-1, 1]``.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassMatthewsCorrCoef
    >>> metric = MulticlassMatthewsCorrCoef(num_classes=3)
    >>> metric(torch.tensor([2, 1, 0, 1]), torch.tensor([2, 1, 0, 0]))
    tensor(0.7000)
    """

    plot_legend_name = "Class"


class MultilabelMatthewsCorrCoef(_CorrelationValue, MultilabelMatrixMetric):
    """Correlation over all labels taken together, in ``[-1, 1]``.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelMatthewsCorrCoef
    >>> metric = MultilabelMatthewsCorrCoef(num_labels=3)
    >>> metric(torch.tensor([[0, 0, 1], [1, 0, 1]]), torch.tensor([[0, 1, 0], [1, 0, 1]]))
    tensor(0.3333)
    """

    plot_legend_name = "Label"


class MatthewsCorrCoef(TaskWrapper):
    """Make the Matthews correlation metric of ``task``: binary, multiclass or multilabel.

    ``(tp * tn - fp * fn) / sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))`` for two classes.

    >>> from fastmetrics import MatthewsCorrCoef
    >>> type(MatthewsCorrCoef(task="multilabel", num_labels=3)).__name__
    'MultilabelMatthewsCorrCoef'
    """

    tasks = by_task(BinaryMatthewsCorrCoef, MulticlassMatthewsCorrCoef, MultilabelMatthewsCorrCoef)

    @makes_its_task
    def __new__(  # type: ignore[misc]  # makes another metric
        cls, task: str, threshold: float = 0.5, num_classes: int | None = None,
        num_labels: int | None = None, ignore_index: int | None = None, validate_args: bool = True,
        **kwargs: Any,
    ) -> Metric:  # fmt: skip
        """Make the metric of ``task``."""
