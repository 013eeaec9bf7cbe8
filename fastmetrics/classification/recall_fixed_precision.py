"""Recall at fixed precision metrics.

``min_precision`` and ties are explained in
:mod:`fastmetrics.functional.classification.recall_fixed_precision`, other arguments in
:mod:`fastmetrics.classification.precision_recall_curve`.
"""

from __future__ import annotations

from typing import Any

from typing_extensions import Unpack

from fastmetrics.classification._curve import CurveOptions, CurvePoint, metric_of_task
from fastmetrics.classification._tasks import TaskWrapper
from fastmetrics.classification.precision_recall_curve import (
    BinaryPrecisionRecallCurve,
    MulticlassPrecisionRecallCurve,
    MultilabelPrecisionRecallCurve,
)
from fastmetrics.functional.classification.recall_fixed_precision import FORMULA
from fastmetrics.metric import Metric
from fastmetrics.ops.thresholds import Thresholds

__all__ = [
    "BinaryRecallAtFixedPrecision",
    "MulticlassRecallAtFixedPrecision",
    "MultilabelRecallAtFixedPrecision",
    "RecallAtFixedPrecision",
]


class BinaryRecallAtFixedPrecision(CurvePoint, BinaryPrecisionRecallCurve):
    """The best recall with ``precision >= min_precision`` and its threshold.

    >>> import torch
    >>> from fastmetrics.classification import BinaryRecallAtFixedPrecision
    >>> metric = BinaryRecallAtFixedPrecision(min_precision=0.5, thresholds=5)
    >>> metric(torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1]))
    (tensor(1.), tensor(0.5000))
    """

    formula = FORMULA

    def __init__(
        self, min_precision: float, thresholds: Thresholds = None, ignore_index: int | None = None,
        validate_args: bool = True, **options: Unpack[CurveOptions],
    ) -> None:  # fmt: skip
        super().__init__(thresholds, ignore_index, validate_args, **options)
        self._configure(min_precision=min_precision)


class MulticlassRecallAtFixedPrecision(CurvePoint, MulticlassPrecisionRecallCurve):
    """The best recall with ``precision >= min_precision`` and its threshold, ``[C]``.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassRecallAtFixedPrecision
    >>> metric = MulticlassRecallAtFixedPrecision(num_classes=2, min_precision=0.9, thresholds=5)
    >>> metric(torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]), torch.tensor([0, 0, 1]))
    (tensor([1., 1.]), tensor([0.2500, 0.7500]))
    """

    formula = FORMULA
    plot_legend_name = "Class"

    def __init__(
        self, num_classes: int, min_precision: float, thresholds: Thresholds = None,
        ignore_index: int | None = None, validate_args: bool = True,
        **options: Unpack[CurveOptions],
    ) -> None:  # fmt: skip
        super().__init__(num_classes, thresholds, None, ignore_index, validate_args, **options)
        self._configure(min_precision=min_precision)


class MultilabelRecallAtFixedPrecision(CurvePoint, MultilabelPrecisionRecallCurve):
    """The best recall with ``precision >= min_precision`` and its threshold, ``[L]``.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelRecallAtFixedPrecision
    >>> metric = MultilabelRecallAtFixedPrecision(num_labels=2, min_precision=0.9, thresholds=5)
    >>> metric(torch.tensor([[0.7, 0.3], [0.4, 0.6]]), torch.tensor([[1, 0], [0, 1]]))
    (tensor([1., 1.]), tensor([0.5000, 0.5000]))
    """

    formula = FORMULA
    plot_legend_name = "Label"

    def __init__(
        self, num_labels: int, min_precision: float, thresholds: Thresholds = None,
        ignore_index: int | None = None, validate_args: bool = True,
        **options: Unpack[CurveOptions],
    ) -> None:  # fmt: skip
        super().__init__(num_labels, thresholds, ignore_index, validate_args, **options)
        self._configure(min_precision=min_precision)


class RecallAtFixedPrecision(TaskWrapper):
    """Make the metric of ``task``: the best recall with ``precision >= min_precision``.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``, multilabel ``num_labels``.

    >>> from fastmetrics import RecallAtFixedPrecision
    >>> RecallAtFixedPrecision(task="multiclass", min_precision=0.5, num_classes=3, thresholds=5)
    MulticlassRecallAtFixedPrecision()
    """

    @metric_of_task(
        BinaryRecallAtFixedPrecision,
        MulticlassRecallAtFixedPrecision,
        MultilabelRecallAtFixedPrecision,
    )
    def __new__(  # type: ignore[misc]  # makes another metric
        cls, task: str, min_precision: float, thresholds: Thresholds = None,
        num_classes: int | None = None, num_labels: int | None = None,
        ignore_index: int | None = None, validate_args: bool = True, **kwargs: Any,
    ) -> Metric:  # fmt: skip
        """Make the metric of ``task``."""
