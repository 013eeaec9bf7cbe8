"""Hamming distance: the share of predictions that are wrong.

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
from fastmetrics.functional.classification.hamming import (
    HAMMING_DISTANCE,
    MULTICLASS_HAMMING_DISTANCE,
)

__all__ = [
    "BinaryHammingDistance",
    "HammingDistance",
    "MulticlassHammingDistance",
    "MultilabelHammingDistance",
]


class BinaryHammingDistance(BinaryRatio):
    """Hamming distance of binary inputs, ``(fp + fn) / (tp + fp + tn + fn)``.

    Arguments as in :class:`~fastmetrics.classification.stat_scores.BinaryStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import BinaryHammingDistance
    >>> metric = BinaryHammingDistance()
    >>> metric(torch.tensor([0.2, 0.9, 0.6, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor(0.5000)
    """

    higher_is_better = False
    formula = HAMMING_DISTANCE


class MulticlassHammingDistance(MulticlassRatio):
    """Hamming distance of each class, ``fn / (tp + fn)``, averaged.

    Arguments as in :class:`~fastmetrics.classification.stat_scores.MulticlassStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassHammingDistance
    >>> metric = MulticlassHammingDistance(num_classes=3)
    >>> metric(torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2]))
    tensor(0.3333)
    """

    higher_is_better = False
    formula = MULTICLASS_HAMMING_DISTANCE


class MultilabelHammingDistance(MultilabelRatio):
    """Hamming distance of each label, ``(fp + fn) / (tp + fp + tn + fn)``, averaged.

    Arguments as in :class:`~fastmetrics.classification.stat_scores.MultilabelStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelHammingDistance
    >>> metric = MultilabelHammingDistance(num_labels=2)
    >>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.6], [0.3, 0.2]])
    >>> metric(preds, torch.tensor([[0, 1], [1, 0], [1, 0]]))
    tensor(0.3333)
    """

    higher_is_better = False
    formula = HAMMING_DISTANCE


class HammingDistance(StatScoreWrapper):
    """Make the Hamming distance of ``task``, which is binary, multiclass or multilabel.

    ``(fp + fn) / (tp + fp + tn + fn)``, the share of what is wrong.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``, multilabel ``num_labels``.

    >>> from fastmetrics import HammingDistance
    >>> HammingDistance(task="multiclass", num_classes=3)
    MulticlassHammingDistance()
    """

    tasks = by_task(BinaryHammingDistance, MulticlassHammingDistance, MultilabelHammingDistance)
