"""Average precision; arguments as in :mod:`fastmetrics.classification.precision_recall_curve`.

``average`` is explained in :mod:`fastmetrics.functional.classification.average_precision`.
"""

from __future__ import annotations

from typing import Any

from typing_extensions import Unpack

from fastmetrics.classification._curve import CurveArea, CurveOptions, metric_of_task
from fastmetrics.classification._tasks import TaskWrapper
from fastmetrics.classification.precision_recall_curve import (
    BinaryPrecisionRecallCurve,
    MulticlassPrecisionRecallCurve,
    MultilabelPrecisionRecallCurve,
)
from fastmetrics.functional.classification.average_precision import FORMULA
from fastmetrics.metric import Metric
from fastmetrics.ops.thresholds import Thresholds

__all__ = [
    "AveragePrecision",
    "BinaryAveragePrecision",
    "MulticlassAveragePrecision",
    "MultilabelAveragePrecision",
]


class BinaryAveragePrecision(CurveArea, BinaryPrecisionRecallCurve):
    """The precision at each threshold, weighted by the recall gained there, in [0, 1].

    ``sum over t of (recall_t - recall_(t+1)) * precision_t``, the thresholds t ascending.

    >>> import torch
    >>> from fastmetrics.classification import BinaryAveragePrecision
    >>> metric = BinaryAveragePrecision(thresholds=11)
    >>> metric(torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1]))
    tensor(0.8333)
    """

    formula = FORMULA


class MulticlassAveragePrecision(CurveArea, MulticlassPrecisionRecallCurve):
    """The average precision of each class against all others, averaged as ``average`` says.

    ``sum over t of (recall_t - recall_(t+1)) * precision_t``, the thresholds t ascending.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassAveragePrecision
    >>> metric = MulticlassAveragePrecision(num_classes=2, thresholds=11)
    >>> metric(torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]), torch.tensor([0, 0, 1]))
    tensor(1.)
    """

    formula = FORMULA
    plot_legend_name = "Class"

    def __init__(
        self, num_classes: int, average: str | None = "macro", thresholds: Thresholds = None,
        ignore_index: int | None = None, validate_args: bool = True,
        **options: Unpack[CurveOptions],
    ) -> None:  # fmt: skip
        super().__init__(num_classes, thresholds, None, ignore_index, validate_args, **options)
        self._configure(average=average)


class MultilabelAveragePrecision(CurveArea, MultilabelPrecisionRecallCurve):
    """The average precision of each label, averaged as ``average`` says.

    ``sum over t of (recall_t - recall_(t+1)) * precision_t``, the thresholds t ascending.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelAveragePrecision
    >>> metric = MultilabelAveragePrecision(num_labels=2, average=None, thresholds=11)
    >>> metric(torch.tensor([[0.7, 0.3], [0.4, 0.6]]), torch.tensor([[1, 0], [0, 1]]))
    tensor([1., 1.])
    """

    formula = FORMULA
    plot_legend_name = "Label"

    def __init__(
        self, num_labels: int, average: str | None = "macro", thresholds: Thresholds = None,
        ignore_index: int | None = None, validate_args: bool = True,
        **options: Unpack[CurveOptions],
    ) -> None:  # fmt: skip
        super().__init__(num_labels, thresholds, ignore_index, validate_args, **options)
        self._configure(average=average)


class AveragePrecision(TaskWrapper):
    """Make the average precision of ``task``: binary, multiclass or multilabel.

    ``sum over t of (recall_t - recall_(t+1)) * precision_t``, the thresholds t ascending.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``, multilabel ``num_labels``.

    >>> from fastmetrics import AveragePrecision
    >>> AveragePrecision(task="multiclass", num_classes=3, thresholds=5)
    MulticlassAveragePrecision()
    """

    @metric_of_task(BinaryAveragePrecision, MulticlassAveragePrecision, MultilabelAveragePrecision)
    def __new__(  # type: ignore[misc]  # makes another metric
        cls, task: str, thresholds: Thresholds = None, num_classes: int | None = None,
        num_labels: int | None = None, average: str | None = "macro",
        ignore_index: int | None = None, validate_args: bool = True, **kwargs: Any,
    ) -> Metric:  # fmt: skip
        """Make the metric of ``task``."""
