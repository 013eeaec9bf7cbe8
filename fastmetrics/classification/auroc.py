"""AUROC metrics; arguments as in :mod:`fastmetrics.classification.precision_recall_curve`.

``max_fpr`` and ``average`` are explained in :mod:`fastmetrics.functional.classification.auroc`.
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
from fastmetrics.functional.classification.auroc import FORMULA
from fastmetrics.metric import Metric
from fastmetrics.ops.thresholds import Thresholds

__all__ = ["AUROC", "BinaryAUROC", "MulticlassAUROC", "MultilabelAUROC"]


class BinaryAUROC(CurveArea, BinaryPrecisionRecallCurve):
    """How often a positive outscores a negative: ``P(s+ > s-) + P(s+ = s-) / 2``, in [0, 1].

    >>> import torch
    >>> from fastmetrics.classification import BinaryAUROC
    >>> metric = BinaryAUROC(thresholds=11)
    >>> metric(torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1]))
    tensor(0.7500)
    """

    formula = FORMULA

    def __init__(
        self, max_fpr: float | None = None, thresholds: Thresholds = None,
        ignore_index: int | None = None, validate_args: bool = True,
        **options: Unpack[CurveOptions],
    ) -> None:  # fmt: skip
        super().__init__(thresholds, ignore_index, validate_args, **options)
        self._configure(max_fpr=max_fpr)


class MulticlassAUROC(CurveArea, MulticlassPrecisionRecallCurve):
    """Averages ``P(s+ > s-) + P(s+ = s-) / 2`` of each class against all others.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassAUROC
    >>> metric = MulticlassAUROC(num_classes=2, thresholds=11)
    >>> metric(torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]), torch.tensor([0, 0, 1]))
    tensor(1.)
    """

    formula = FORMULA
    plot_legend_name = "Class"

    def __init__(
        self, num_classes: int, average: str | None = "macro", thresholds: Thresholds = None,
        ignore_index: int | None = None, validate_args: bool = True, *,
        max_fpr: float | None = None, multi_class: str = "ovr", **options: Unpack[CurveOptions],
    ) -> None:  # fmt: skip
        super().__init__(num_classes, thresholds, None, ignore_index, validate_args, **options)
        self._configure(average=average, max_fpr=max_fpr, multi_class=multi_class)
        if multi_class == "ovo":
            self.statistic = self.statistic.with_every_score()


class MultilabelAUROC(CurveArea, MultilabelPrecisionRecallCurve):
    """Averages ``P(s+ > s-) + P(s+ = s-) / 2`` of each label.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelAUROC
    >>> metric = MultilabelAUROC(num_labels=2, average=None, thresholds=11)
    >>> metric(torch.tensor([[0.7, 0.3], [0.4, 0.6]]), torch.tensor([[1, 0], [0, 1]]))
    tensor([1., 1.])
    """

    formula = FORMULA
    plot_legend_name = "Label"

    def __init__(
        self, num_labels: int, average: str | None = "macro", thresholds: Thresholds = None,
        ignore_index: int | None = None, validate_args: bool = True, *,
        max_fpr: float | None = None, **options: Unpack[CurveOptions],
    ) -> None:  # fmt: skip
        super().__init__(num_labels, thresholds, ignore_index, validate_args, **options)
        self._configure(average=average, max_fpr=max_fpr)


class AUROC(TaskWrapper):
    """Make the metric of ``task``, with the area ``P(s+ > s-) + P(s+ = s-) / 2``.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``, multilabel ``num_labels``.

    >>> from fastmetrics import AUROC
    >>> AUROC(task="multiclass", num_classes=3, thresholds=5)
    MulticlassAUROC()
    """

    @metric_of_task(BinaryAUROC, MulticlassAUROC, MultilabelAUROC)
    def __new__(  # type: ignore[misc]  # makes another metric
        cls, task: str, thresholds: Thresholds = None, num_classes: int | None = None,
        num_labels: int | None = None, average: str | None = "macro", max_fpr: float | None = None,
        ignore_index: int | None = None, validate_args: bool = True, **kwargs: Any,
    ) -> Metric:  # fmt: skip
        """Make the metric of ``task``."""
