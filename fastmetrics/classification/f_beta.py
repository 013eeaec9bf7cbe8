"""F-beta scores: the weighted harmonic mean of precision and recall.

Arguments are explained in :mod:`fastmetrics.functional.classification.stat_scores`.
"""

from __future__ import annotations

from typing import Any

from fastmetrics.classification._tasks import TaskWrapper, by_task, makes_its_task
from fastmetrics.classification.stat_scores import (
    BinaryRatio,
    MulticlassRatio,
    MultilabelRatio,
    StatScoreWrapper,
)
from fastmetrics.functional.classification.f_beta import F1, fbeta
from fastmetrics.metric import Metric
from fastmetrics.utilities.checks import check_beta

__all__ = [
    "BinaryF1Score",
    "BinaryFBetaScore",
    "F1Score",
    "FBetaScore",
    "MulticlassF1Score",
    "MulticlassFBetaScore",
    "MultilabelF1Score",
    "MultilabelFBetaScore",
]


class BinaryFBetaScore(BinaryRatio):
    """F-beta score of binary inputs.

    ``(1 + beta²) tp / ((1 + beta²) tp + beta² fn + fp)``, with ``beta`` a float above 0: how
    much more recall matters than precision. Other arguments as in
    :class:`~fastmetrics.classification.stat_scores.BinaryStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import BinaryFBetaScore
    >>> metric = BinaryFBetaScore(beta=0.5)
    >>> metric(torch.tensor([0.2, 0.9, 0.6, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor(0.5000)
    """

    higher_is_better = True
    beta = 1.0

    def __init__(
        self,
        beta: float,
        threshold: float = 0.5,
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0.0,
        *,
        input: str = "auto",
        **kwargs: Any,
    ) -> None:
        if validate_args is not False:
            check_beta(beta)
        super().__init__(
            threshold,
            multidim_average,
            ignore_index,
            validate_args,
            zero_division,
            input=input,
            **kwargs,
        )
        self.beta = beta
        self.formula = fbeta(beta)


class MulticlassFBetaScore(MulticlassRatio):
    """F-beta score of each class, averaged.

    ``(1 + beta²) tp / ((1 + beta²) tp + beta² fn + fp)``, with ``beta`` a float above 0: how
    much more recall matters than precision. Other arguments as in
    :class:`~fastmetrics.classification.stat_scores.MulticlassStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassFBetaScore
    >>> metric = MulticlassFBetaScore(beta=0.5, num_classes=3)
    >>> metric(torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2]))
    tensor(0.6296)
    """

    higher_is_better = True
    beta = 1.0

    def __init__(
        self,
        beta: float,
        num_classes: int | None,
        top_k: int = 1,
        average: str | None = "macro",
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if validate_args is not False:
            check_beta(beta)
        super().__init__(
            num_classes,
            top_k,
            average,
            multidim_average,
            ignore_index,
            validate_args,
            zero_division,
            **kwargs,
        )
        self.beta = beta
        self.formula = fbeta(beta)


class MultilabelFBetaScore(MultilabelRatio):
    """F-beta score of each label, averaged.

    ``(1 + beta²) tp / ((1 + beta²) tp + beta² fn + fp)``, with ``beta`` a float above 0: how
    much more recall matters than precision. Other arguments as in
    :class:`~fastmetrics.classification.stat_scores.MultilabelStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelFBetaScore
    >>> metric = MultilabelFBetaScore(beta=0.5, num_labels=2)
    >>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.6], [0.3, 0.2]])
    >>> metric(preds, torch.tensor([[0, 1], [1, 0], [1, 0]]))
    tensor(0.6944)
    """

    higher_is_better = True
    beta = 1.0

    def __init__(
        self,
        beta: float,
        num_labels: int,
        threshold: float = 0.5,
        average: str | None = "macro",
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0.0,
        *,
        input: str = "auto",
        **kwargs: Any,
    ) -> None:
        if validate_args is not False:
            check_beta(beta)
        super().__init__(
            num_labels,
            threshold,
            average,
            multidim_average,
            ignore_index,
            validate_args,
            zero_division,
            input=input,
            **kwargs,
        )
        self.beta = beta
        self.formula = fbeta(beta)


class BinaryF1Score(BinaryFBetaScore):
    """F1 score of binary inputs, ``2 tp / (2 tp + fn + fp)``.

    Arguments as in :class:`~fastmetrics.classification.stat_scores.BinaryStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import BinaryF1Score
    >>> metric = BinaryF1Score()
    >>> metric(torch.tensor([0.2, 0.9, 0.6, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor(0.5000)
    """

    formula = F1
    __init__ = BinaryRatio.__init__  # beta stays 1


class MulticlassF1Score(MulticlassFBetaScore):
    """F1 score of each class, ``2 tp / (2 tp + fn + fp)``, averaged.

    Arguments as in :class:`~fastmetrics.classification.stat_scores.MulticlassStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassF1Score
    >>> metric = MulticlassF1Score(num_classes=3)
    >>> metric(torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2]))
    tensor(0.6111)
    """

    formula = F1
    __init__ = MulticlassRatio.__init__  # beta stays 1


class MultilabelF1Score(MultilabelFBetaScore):
    """F1 score of each label, ``2 tp / (2 tp + fn + fp)``, averaged.

    Arguments as in :class:`~fastmetrics.classification.stat_scores.MultilabelStatScores`.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelF1Score
    >>> metric = MultilabelF1Score(num_labels=2)
    >>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.6], [0.3, 0.2]])
    >>> metric(preds, torch.tensor([[0, 1], [1, 0], [1, 0]]))
    tensor(0.6667)
    """

    formula = F1
    __init__ = MultilabelRatio.__init__  # beta stays 1


class FBetaScore(TaskWrapper):
    """Make the F-beta score of ``task``, which is binary, multiclass or multilabel.

    ``(1 + b^2) * tp / ((1 + b^2) * tp + b^2 * fn + fp)`` with b for ``beta``.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``, multilabel ``num_labels``.

    >>> from fastmetrics import FBetaScore
    >>> FBetaScore(task="multiclass", num_classes=3)
    MulticlassFBetaScore()
    """

    tasks = by_task(BinaryFBetaScore, MulticlassFBetaScore, MultilabelFBetaScore)

    @makes_its_task
    def __new__(  # type: ignore[misc]  # makes another metric
        cls, task: str, beta: float = 1.0, threshold: float = 0.5, num_classes: int | None = None,
        num_labels: int | None = None, average: str | None = "micro",
        multidim_average: str = "global", top_k: int = 1, ignore_index: int | None = None,
        validate_args: bool = True, zero_division: float = 0.0, **kwargs: Any,
    ) -> Metric:  # fmt: skip
        """Make the metric of ``task``."""


class F1Score(StatScoreWrapper):
    """Make the F1 score of ``task``, which is binary, multiclass or multilabel.

    ``2 * tp / (2 * tp + fn + fp)``.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``, multilabel ``num_labels``.

    >>> from fastmetrics import F1Score
    >>> F1Score(task="multiclass", num_classes=3)
    MulticlassF1Score()
    """

    tasks = by_task(BinaryF1Score, MulticlassF1Score, MultilabelF1Score)
