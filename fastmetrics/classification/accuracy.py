"""Accuracy: the share of predictions that are right.

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
from fastmetrics.functional.classification.accuracy import ACCURACY, MULTICLASS_ACCURACY

__all__ = ["Accuracy", "BinaryAccuracy", "MulticlassAccuracy", "MultilabelAccuracy"]


class BinaryAccuracy(BinaryRatio):
    """Accuracy of binary inputs, ``(tp + tn) / (tp + fp + tn + fn)``; 0 where nothing was counted.

    Arguments as in :class:`~fastmetrics.classification.stat_scores.BinaryStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import BinaryAccuracy
    >>> metric = BinaryAccuracy()
    >>> metric(torch.tensor([0.2, 0.9, 0.6, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor(0.5000)
    """

    higher_is_better = True
    formula = ACCURACY


class MulticlassAccuracy(MulticlassRatio):
    """Accuracy of each class, ``tp / (tp + fn)``, averaged; 0 where nothing was counted.

    Arguments as in :class:`~fastmetrics.classification.stat_scores.MulticlassStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassAccuracy
    >>> metric = MulticlassAccuracy(num_classes=3)
    >>> metric(torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2]))
    tensor(0.6667)
    """

    higher_is_better = True
    formula = MULTICLASS_ACCURACY


class MultilabelAccuracy(MultilabelRatio):
    """Accuracy of each label, ``(tp + tn) / (tp + fp + tn + fn)``, averaged.

    Arguments as in :class:`~fastmetrics.classification.stat_scores.MultilabelStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelAccuracy
    >>> metric = MultilabelAccuracy(num_labels=2)
    >>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.6], [0.3, 0.2]])
    >>> metric(preds, torch.tensor([[0, 1], [1, 0], [1, 0]]))
    tensor(0.6667)
    """

    higher_is_better = True
    formula = ACCURACY


class Accuracy(StatScoreWrapper):
    """Make the accuracy of ``task``, which is binary, multiclass or multilabel.

    ``(tp + tn) / (tp + tn + fp + fn)``, the share of what is right.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``, multilabel ``num_labels``.

    >>> from fastmetrics import Accuracy
    >>> Accuracy(task="multiclass", num_classes=3)
    MulticlassAccuracy()
    """

    tasks = by_task(BinaryAccuracy, MulticlassAccuracy, MultilabelAccuracy)
