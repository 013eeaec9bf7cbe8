"""Negative predictive value: how many predicted negatives are right.

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
from fastmetrics.functional.classification.negative_predictive_value import (
    NEGATIVE_PREDICTIVE_VALUE,
)

__all__ = [
    "BinaryNegativePredictiveValue",
    "MulticlassNegativePredictiveValue",
    "MultilabelNegativePredictiveValue",
    "NegativePredictiveValue",
]


class BinaryNegativePredictiveValue(BinaryRatio):
    """Negative predictive value of binary inputs, ``tn / (tn + fn)``.

    Arguments as in :class:`~fastmetrics.classification.stat_scores.BinaryStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import BinaryNegativePredictiveValue
    >>> metric = BinaryNegativePredictiveValue()
    >>> metric(torch.tensor([0.2, 0.9, 0.6, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor(0.5000)
    """

    formula = NEGATIVE_PREDICTIVE_VALUE


class MulticlassNegativePredictiveValue(MulticlassRatio):
    """Negative predictive value of each class, ``tn / (tn + fn)``, averaged.

    Arguments as in :class:`~fastmetrics.classification.stat_scores.MulticlassStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassNegativePredictiveValue
    >>> metric = MulticlassNegativePredictiveValue(num_classes=3)
    >>> metric(torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2]))
    tensor(0.8056)
    """

    formula = NEGATIVE_PREDICTIVE_VALUE


class MultilabelNegativePredictiveValue(MultilabelRatio):
    """Negative predictive value of each label, ``tn / (tn + fn)``, averaged.

    Arguments as in :class:`~fastmetrics.classification.stat_scores.MultilabelStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelNegativePredictiveValue
    >>> metric = MultilabelNegativePredictiveValue(num_labels=2)
    >>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.6], [0.3, 0.2]])
    >>> metric(preds, torch.tensor([[0, 1], [1, 0], [1, 0]]))
    tensor(0.7500)
    """

    formula = NEGATIVE_PREDICTIVE_VALUE


class NegativePredictiveValue(StatScoreWrapper):
    """Make the negative predictive value of ``task``, which is binary, multiclass or multilabel.

    ``tn / (tn + fn)``.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``, multilabel ``num_labels``.

    >>> from fastmetrics import NegativePredictiveValue
    >>> NegativePredictiveValue(task="multiclass", num_classes=3)
    MulticlassNegativePredictiveValue()
    """

    tasks = by_task(
        BinaryNegativePredictiveValue,
        MulticlassNegativePredictiveValue,
        MultilabelNegativePredictiveValue,
    )
