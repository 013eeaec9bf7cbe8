"""LogAUC metrics; arguments as in :mod:`fastmetrics.classification.precision_recall_curve`.

``fpr_range`` and ``average`` are explained in
:mod:`fastmetrics.functional.classification.logauc`.
"""

from __future__ import annotations

from typing import Any

from typing_extensions import Unpack

from fastmetrics.classification._curve import CurveOptions, CurveValue, metric_of_task
from fastmetrics.classification._tasks import TaskWrapper
from fastmetrics.classification.roc import BinaryROC, MulticlassROC, MultilabelROC
from fastmetrics.functional.classification.logauc import FORMULA, FprRange
from fastmetrics.metric import Metric
from fastmetrics.ops.thresholds import Thresholds

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

    formula = FORMULA

    def __init__(
        self, fpr_range: FprRange = (0.001, 0.1), thresholds: Thresholds = None,
        ignore_index: int | None = None, validate_args: bool = False,
        **options: Unpack[CurveOptions],
    ) -> None:  # fmt: skip
        super().__init__(thresholds, ignore_index, validate_args, **options)
        self._configure(fpr_range=fpr_range)


class MulticlassLogAUC(CurveValue, MulticlassROC):
    """The area of each class against all others, averaged as ``average`` says.

    ``integral of tpr d(ln fpr) / ln(upper / lower)``, from ``lower`` to ``upper``.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassLogAUC
    >>> metric = MulticlassLogAUC(num_classes=2, thresholds=11)
    >>> metric(torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]), torch.tensor([0, 0, 1]))
    tensor([1., 1.])
    """

    formula = FORMULA

    def __init__(
        self, num_classes: int, fpr_range: FprRange = (0.001, 0.1), average: str | None = None,
        thresholds: Thresholds = None, ignore_index: int | None = None, validate_args: bool = True,
        **options: Unpack[CurveOptions],
    ) -> None:  # fmt: skip
        super().__init__(num_classes, thresholds, None, ignore_index, validate_args, **options)
        self._configure(average=average, fpr_range=fpr_range)


class MultilabelLogAUC(CurveValue, MultilabelROC):
    """The area of each label, averaged as ``average`` says.

    ``integral of tpr d(ln fpr) / ln(upper / lower)``, from ``lower`` to ``upper``.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelLogAUC
    >>> metric = MultilabelLogAUC(num_labels=2, thresholds=11)
    >>> metric(torch.tensor([[0.7, 0.3], [0.4, 0.6]]), torch.tensor([[1, 0], [0, 1]]))
    tensor([1., 1.])
    """

    formula = FORMULA

    def __init__(
        self, num_labels: int, fpr_range: FprRange = (0.001, 0.1), average: str | None = None,
        thresholds: Thresholds = None, ignore_index: int | None = None, validate_args: bool = True,
        **options: Unpack[CurveOptions],
    ) -> None:  # fmt: skip
        super().__init__(num_labels, thresholds, ignore_index, validate_args, **options)
        self._configure(average=average, fpr_range=fpr_range)


class LogAUC(TaskWrapper):
    """Make the LogAUC of ``task``: binary, multiclass or multilabel.

    ``integral of tpr d(ln fpr) / ln(upper / lower)``, from ``lower`` to ``upper``.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``, multilabel ``num_labels``.

    >>> from fastmetrics import LogAUC
    >>> LogAUC(task="multiclass", num_classes=3, thresholds=5)
    MulticlassLogAUC()
    """

    @metric_of_task(BinaryLogAUC, MulticlassLogAUC, MultilabelLogAUC)
    def __new__(  # type: ignore[misc]  # makes another metric
        cls, task: str, thresholds: Thresholds = None, fpr_range: FprRange = (0.001, 0.1),
        num_classes: int | None = None, num_labels: int | None = None,
        ignore_index: int | None = None, validate_args: bool = True, **kwargs: Any,
    ) -> Metric:  # fmt: skip
        """Make the metric of ``task``."""
