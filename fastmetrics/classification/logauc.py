"""LogAUC metrics; arguments as in :mod:`fastmetrics.classification.precision_recall_curve`.

``fpr_range`` and ``average`` are explained in
:mod:`fastmetrics.functional.classification.logauc`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from fastmetrics.classification._curve import CurveValue
from fastmetrics.classification._statistic import TaskWrapper
from fastmetrics.classification.roc import BinaryROC, MulticlassROC, MultilabelROC
from fastmetrics.functional.classification._curve import Thresholds
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.functional.classification.logauc import (
    AVERAGES,
    FprRange,
    check_fpr_range,
    logauc_formula,
)
from fastmetrics.metric import Metric
from fastmetrics.utilities.checks import check_choice

__all__ = ["BinaryLogAUC", "LogAUC", "MulticlassLogAUC", "MultilabelLogAUC"]


class BinaryLogAUC(CurveValue, BinaryROC):
    """The mean true positive rate over the logarithm of the false positive rate, in [0, 1].

    ``integral of tpr d(ln fpr) / ln(upper / lower)``, from ``lower`` to ``upper``.

    Unlike in other metrics ``validate_args`` is False by default.

    >>> import torch
    >>> from fastmetrics.classification import BinaryLogAUC
    >>> metric = BinaryLogAUC(thresholds=11)
    >>> metric(torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1]))
    tensor(0.5000)
    """

    def __init__(
        self,
        fpr_range: FprRange = (0.001, 0.1),
        thresholds: Thresholds = None,
        ignore_index: int | None = None,
        validate_args: bool = False,
        *,
        input: str = "auto",
        undefined: str | None = None,
        **kwargs: Any,
    ) -> None:
        if validate_args:
            check_fpr_range(fpr_range)
        super().__init__(
            thresholds, ignore_index, validate_args, input=input, undefined=undefined, **kwargs
        )
        self.fpr_range = fpr_range

    def compute(self) -> Tensor:
        """Return the area, a float32 scalar."""
        return logauc_formula(self._curves(True), None, self.fpr_range, self.undefined)


class MulticlassLogAUC(CurveValue, MulticlassROC):
    """The area of each class against all others, averaged as ``average`` says.

    ``integral of tpr d(ln fpr) / ln(upper / lower)``, from ``lower`` to ``upper``.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassLogAUC
    >>> metric = MulticlassLogAUC(num_classes=2, thresholds=11)
    >>> metric(torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]), torch.tensor([0, 0, 1]))
    tensor([1., 1.])
    """

    def __init__(
        self,
        num_classes: int,
        fpr_range: FprRange = (0.001, 0.1),
        average: str | None = None,
        thresholds: Thresholds = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        input: str = "auto",
        undefined: str | None = None,
        **kwargs: Any,
    ) -> None:
        if validate_args:
            check_fpr_range(fpr_range)
            check_choice("average", average, AVERAGES)
        super().__init__(
            num_classes,
            thresholds,
            None,
            ignore_index,
            validate_args,
            input=input,
            undefined=undefined,
            **kwargs,
        )
        self.fpr_range = fpr_range
        self.average = average

    def compute(self) -> Tensor:
        """Return the areas, float32 ``[C]``, or their average, a scalar."""
        return logauc_formula(self._curves(False), self.average, self.fpr_range, self.undefined)


class MultilabelLogAUC(CurveValue, MultilabelROC):
    """The area of each label, averaged as ``average`` says.

    ``integral of tpr d(ln fpr) / ln(upper / lower)``, from ``lower`` to ``upper``.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelLogAUC
    >>> metric = MultilabelLogAUC(num_labels=2, thresholds=11)
    >>> metric(torch.tensor([[0.7, 0.3], [0.4, 0.6]]), torch.tensor([[1, 0], [0, 1]]))
    tensor([1., 1.])
    """

    def __init__(
        self,
        num_labels: int,
        fpr_range: FprRange = (0.001, 0.1),
        average: str | None = None,
        thresholds: Thresholds = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        input: str = "auto",
        undefined: str | None = None,
        **kwargs: Any,
    ) -> None:
        if validate_args:
            check_fpr_range(fpr_range)
            check_choice("average", average, AVERAGES)
        super().__init__(
            num_labels,
            thresholds,
            ignore_index,
            validate_args,
            input=input,
            undefined=undefined,
            **kwargs,
        )
        self.fpr_range = fpr_range
        self.average = average

    def compute(self) -> Tensor:
        """Return the areas, float32 ``[L]``, or their average, a scalar."""
        return logauc_formula(self._curves(False), self.average, self.fpr_range, self.undefined)


class LogAUC(TaskWrapper):
    """Make the LogAUC of ``task``: binary, multiclass or multilabel.

    ``integral of tpr d(ln fpr) / ln(upper / lower)``, from ``lower`` to ``upper``.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``, multilabel ``num_labels``.

    >>> from fastmetrics import LogAUC
    >>> LogAUC(task="multiclass", num_classes=3, thresholds=5)
    MulticlassLogAUC()
    """

    def __new__(  # type: ignore[misc]  # makes the metric of the task
        cls,
        task: str,
        thresholds: Thresholds = None,
        fpr_range: FprRange = (0.001, 0.1),
        num_classes: int | None = None,
        num_labels: int | None = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> Metric:
        """Make the metric of ``task``."""
        return call_for_task(
            task,
            {
                "binary": partial(BinaryLogAUC, **kwargs),
                "multiclass": partial(MulticlassLogAUC, **kwargs),
                "multilabel": partial(MultilabelLogAUC, **kwargs),
            },
            thresholds=thresholds,
            fpr_range=fpr_range,
            num_classes=num_classes,
            num_labels=num_labels,
            ignore_index=ignore_index,
            validate_args=validate_args,
        )
