"""Hinge loss metrics.

Arguments, shapes and errors as in :mod:`fastmetrics.functional.classification.hinge`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from fastmetrics.classification._counts import CountMetric
from fastmetrics.classification._tasks import TaskWrapper
from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.functional.classification.hinge import hinge_formula
from fastmetrics.metric import Metric
from fastmetrics.ops.hinge import HingeSums

__all__ = ["BinaryHingeLoss", "HingeLoss", "MulticlassHingeLoss"]


class HingeMetric(CountMetric):
    """Sums of losses, and of samples."""

    higher_is_better = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    statistic: HingeSums
    squared = StatisticField[bool]()
    input = StatisticField[str]()

    def compute(self) -> Tensor:
        """Return the mean loss, float32: a scalar, or ``[C]`` for one-vs-all."""
        return hinge_formula(self.statistic.read(self._states))


class BinaryHingeLoss(HingeMetric):
    """Mean of ``max(0, 1 - y * score)``, where y is 1 for target 1 and -1 for target 0.

    Args:
        squared: average the squares of the losses.
        ignore_index: targets that are left out, integer or None.
        validate_args: check arguments and labels.
        input: ``"auto"``, ``"probs"`` or ``"logits"``.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument is out of range.

    >>> import torch
    >>> from fastmetrics.classification import BinaryHingeLoss
    >>> metric = BinaryHingeLoss()
    >>> metric.update(torch.tensor([0.3, 0.9, 0.5]), torch.tensor([0, 1, 1]))
    >>> metric.compute()
    tensor(0.6333)
    """

    def __init__(
        self,
        squared: bool = False,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        input: str = "auto",
        **kwargs: Any,
    ) -> None:
        statistic = HingeSums(
            squared=squared, ignore_index=ignore_index, validate_args=validate_args, input=input
        )
        super().__init__(statistic, **kwargs)


class MulticlassHingeLoss(HingeMetric):
    """Mean of ``max(0, 1 - margin)``, one loss per sample or one per class.

    Args:
        num_classes: C, at least 2.
        squared: average the squares of the losses.
        multiclass_mode: ``"crammer-singer"`` or ``"one-vs-all"``, whose value is ``[C]``.
        ignore_index: targets that are left out, integer or None.
        validate_args: check arguments and labels.
        input: ``"auto"``, ``"probs"`` or ``"logits"``.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument is out of range.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassHingeLoss
    >>> metric = MulticlassHingeLoss(num_classes=3)
    >>> preds = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    >>> metric.update(preds, torch.tensor([1, 2]))
    >>> metric.compute()
    tensor(0.5500)
    """

    plot_legend_name = "Class"
    num_classes = StatisticField[int]()
    multiclass_mode = StatisticField[str]()

    def __init__(
        self,
        num_classes: int,
        squared: bool = False,
        multiclass_mode: str = "crammer-singer",
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        input: str = "auto",
        **kwargs: Any,
    ) -> None:
        statistic = HingeSums(
            multiclass=True,
            num_classes=num_classes,
            squared=squared,
            multiclass_mode=multiclass_mode,
            ignore_index=ignore_index,
            validate_args=validate_args,
            input=input,
        )
        super().__init__(statistic, **kwargs)


class HingeLoss(TaskWrapper):
    """Make the hinge loss of ``task``, which is binary or multiclass.

    Mean of ``max(0, 1 - margin)``, or of its square.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``.

    >>> from fastmetrics import HingeLoss
    >>> HingeLoss(task="multiclass", num_classes=3)
    MulticlassHingeLoss()
    """

    def __new__(  # type: ignore[misc]  # makes the metric of the task
        cls,
        task: str,
        num_classes: int | None = None,
        squared: bool = False,
        multiclass_mode: str = "crammer-singer",
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> Metric:
        """Make the metric of ``task``."""
        multiclass = partial(MulticlassHingeLoss, multiclass_mode=multiclass_mode, **kwargs)
        return call_for_task(
            task,
            {"binary": partial(BinaryHingeLoss, **kwargs), "multiclass": multiclass},
            num_classes=num_classes,
            squared=squared,
            ignore_index=ignore_index,
            validate_args=validate_args,
        )
