"""Specificity: how many negatives are found.

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
from fastmetrics.functional.classification.specificity import SPECIFICITY

__all__ = ["BinarySpecificity", "MulticlassSpecificity", "MultilabelSpecificity", "Specificity"]


class BinarySpecificity(BinaryRatio):
    """Specificity of binary inputs, ``tn / (tn + fp)``.

    Arguments as in :class:`~fastmetrics.classification.stat_scores.BinaryStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import BinarySpecificity
    >>> metric = BinarySpecificity()
    >>> metric(torch.tensor([0.2, 0.9, 0.6, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor(0.5000)
    """

    formula = SPECIFICITY


class MulticlassSpecificity(MulticlassRatio):
    """Specificity of each class, ``tn / (tn + fp)``, averaged.

    Arguments as in :class:`~fastmetrics.classification.stat_scores.MulticlassStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassSpecificity
    >>> metric = MulticlassSpecificity(num_classes=3)
    >>> metric(torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2]))
    tensor(0.8056)
    """

    formula = SPECIFICITY


class MultilabelSpecificity(MultilabelRatio):
    """Specificity of each label, ``tn / (tn + fp)``, averaged.

    Arguments as in :class:`~fastmetrics.classification.stat_scores.MultilabelStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelSpecificity
    >>> metric = MultilabelSpecificity(num_labels=2)
    >>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.6], [0.3, 0.2]])
    >>> metric(preds, torch.tensor([[0, 1], [1, 0], [1, 0]]))
    tensor(0.7500)
    """

    formula = SPECIFICITY


class Specificity(StatScoreWrapper):
    """Make the specificity of ``task``, which is binary, multiclass or multilabel.

    ``tn / (tn + fp)``.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``, multilabel ``num_labels``.

    >>> from fastmetrics import Specificity
    >>> Specificity(task="multiclass", num_classes=3)
    MulticlassSpecificity()
    """

    tasks = by_task(BinarySpecificity, MulticlassSpecificity, MultilabelSpecificity)
