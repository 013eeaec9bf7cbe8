"""Equal error rates; arguments as in :mod:`fastmetrics.classification.precision_recall_curve`.

Ties and ``average`` are explained in :mod:`fastmetrics.functional.classification.eer`.
"""

from __future__ import annotations

from typing import Any

from fastmetrics.classification._curve import CurveValue, metric_of_task
from fastmetrics.classification._tasks import TaskWrapper
from fastmetrics.classification.roc import BinaryROC, MulticlassROC, MultilabelROC
from fastmetrics.functional.classification.eer import FORMULA
from fastmetrics.metric import Metric
from fastmetrics.ops.thresholds import Thresholds

__all__ = ["EER", "BinaryEER", "MulticlassEER", "MultilabelEER"]


class BinaryEER(CurveValue, BinaryROC):
    """The mean of false positive rate and miss rate at the threshold where they differ least.

    ``(fpr_t + 1 - tpr_t) / 2`` at the threshold t with the least ``|fpr_t - (1 - tpr_t)|``.

    >>> import torch
    >>> from fastmetrics.classification import BinaryEER
    >>> metric = BinaryEER(thresholds=5)
    >>> metric(torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1]))
    tensor(0.2500)
    """

    formula = FORMULA
    higher_is_better = False


class MulticlassEER(CurveValue, MulticlassROC):
    """The equal error rate of each class against all others.

    ``(fpr_t + 1 - tpr_t) / 2`` at the threshold t with the least ``|fpr_t - (1 - tpr_t)|``.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassEER
    >>> metric = MulticlassEER(num_classes=2, thresholds=3)
    >>> metric(torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]), torch.tensor([0, 0, 1]))
    tensor([0.2500, 0.2500])
    """

    formula = FORMULA
    higher_is_better = False


class MultilabelEER(CurveValue, MultilabelROC):
    """The equal error rate of each label.

    ``(fpr_t + 1 - tpr_t) / 2`` at the threshold t with the least ``|fpr_t - (1 - tpr_t)|``.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelEER
    >>> metric = MultilabelEER(num_labels=2, thresholds=3)
    >>> metric(torch.tensor([[0.7, 0.3], [0.4, 0.6]]), torch.tensor([[1, 0], [0, 1]]))
    tensor([0., 0.])
    """

    formula = FORMULA
    higher_is_better = False


class EER(TaskWrapper):
    """Make the equal error rate of ``task``: binary, multiclass or multilabel.

    ``(fpr_t + 1 - tpr_t) / 2`` at the threshold t with the least ``|fpr_t - (1 - tpr_t)|``.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``, multilabel ``num_labels``.

    >>> from fastmetrics.classification import EER
    >>> EER(task="multiclass", num_classes=3, thresholds=5)
    MulticlassEER()
    """

    @metric_of_task(BinaryEER, MulticlassEER, MultilabelEER)
    def __new__(  # type: ignore[misc]  # makes another metric
        cls, task: str, thresholds: Thresholds = None, num_classes: int | None = None,
        num_labels: int | None = None, average: str | None = None, ignore_index: int | None = None,
        validate_args: bool = True, **kwargs: Any,
    ) -> Metric:  # fmt: skip
        """Make the metric of ``task``."""
