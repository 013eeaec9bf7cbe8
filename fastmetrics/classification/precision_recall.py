"""Precision and recall: how many predicted positives are right, how many positives are found.

Arguments are explained in :mod:`fastmetrics.functional.classification.stat_scores`.
"""

from __future__ import annotations

from fastmetrics.classification._tasks import by_task
from fastmetrics.classification.stat_scores import (
    BinaryRatio,
    MulticlassRatio,
    MultilabelRatio,
    StatScoreWrapper,
)
from fastmetrics.functional.classification.precision_recall import PRECISION, RECALL

__all__ = [
    "BinaryPrecision",
    "BinaryRecall",
    "MulticlassPrecision",
    "MulticlassRecall",
    "MultilabelPrecision",
    "MultilabelRecall",
    "Precision",
    "Recall",
]


class BinaryPrecision(BinaryRatio):
    """Precision of binary inputs, ``tp / (tp + fp)``.

    Arguments as in :class:`~fastmetrics.classification.stat_scores.BinaryStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import BinaryPrecision
    >>> metric = BinaryPrecision()
    >>> metric(torch.tensor([0.2, 0.9, 0.6, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor(0.5000)
    """

    higher_is_better = True
    formula = PRECISION


class MulticlassPrecision(MulticlassRatio):
    """Precision of each class, ``tp / (tp + fp)``, averaged.

    Arguments as in :class:`~fastmetrics.classification.stat_scores.MulticlassStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassPrecision
    >>> metric = MulticlassPrecision(num_classes=3)
    >>> metric(torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2]))
    tensor(0.6667)
    """

    higher_is_better = True
    formula = PRECISION


class MultilabelPrecision(MultilabelRatio):
    """Precision of each label, ``tp / (tp + fp)``, averaged.

    Arguments as in :class:`~fastmetrics.classification.stat_scores.MultilabelStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelPrecision
    >>> metric = MultilabelPrecision(num_labels=2)
    >>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.6], [0.3, 0.2]])
    >>> metric(preds, torch.tensor([[0, 1], [1, 0], [1, 0]]))
    tensor(0.7500)
    """

    higher_is_better = True
    formula = PRECISION


class BinaryRecall(BinaryRatio):
    """Recall of binary inputs, ``tp / (tp + fn)``.

    Arguments as in :class:`~fastmetrics.classification.stat_scores.BinaryStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import BinaryRecall
    >>> metric = BinaryRecall()
    >>> metric(torch.tensor([0.2, 0.9, 0.6, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor(0.5000)
    """

    higher_is_better = True
    formula = RECALL


class MulticlassRecall(MulticlassRatio):
    """Recall of each class, ``tp / (tp + fn)``, averaged.

    Arguments as in :class:`~fastmetrics.classification.stat_scores.MulticlassStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassRecall
    >>> metric = MulticlassRecall(num_classes=3)
    >>> metric(torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2]))
    tensor(0.6667)
    """

    higher_is_better = True
    formula = RECALL


class MultilabelRecall(MultilabelRatio):
    """Recall of each label, ``tp / (tp + fn)``, averaged.

    Arguments as in :class:`~fastmetrics.classification.stat_scores.MultilabelStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelRecall
    >>> metric = MultilabelRecall(num_labels=2)
    >>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.6], [0.3, 0.2]])
    >>> metric(preds, torch.tensor([[0, 1], [1, 0], [1, 0]]))
    tensor(0.7500)
    """

    higher_is_better = True
    formula = RECALL


class Precision(StatScoreWrapper):
    """Make the precision of ``task``, which is binary, multiclass or multilabel.

    ``tp / (tp + fp)``.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``, multilabel ``num_labels``.

    >>> from fastmetrics import Precision
    >>> Precision(task="multiclass", num_classes=3)
    MulticlassPrecision()
    """

    tasks = by_task(BinaryPrecision, MulticlassPrecision, MultilabelPrecision)


class Recall(StatScoreWrapper):
    """Make the recall of ``task``, which is binary, multiclass or multilabel.

    ``tp / (tp + fn)``.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``, multilabel ``num_labels``.

    >>> from fastmetrics import Recall
    >>> Recall(task="multiclass", num_classes=3)
    MulticlassRecall()
    """

    tasks = by_task(BinaryRecall, MulticlassRecall, MultilabelRecall)
