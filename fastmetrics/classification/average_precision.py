"""Average precision; arguments as in :mod:`fastmetrics.classification.precision_recall_curve`.

``average`` is explained in :mod:`fastmetrics.functional.classification.average_precision`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from fastmetrics.classification._curve import CurveValue
from fastmetrics.classification._statistic import TaskWrapper
from fastmetrics.classification.precision_recall_curve import (
    BinaryPrecisionRecallCurve,
    MulticlassPrecisionRecallCurve,
    MultilabelPrecisionRecallCurve,
)
from fastmetrics.functional.classification._curve import (
    CLASS_AVERAGES,
    LABEL_AVERAGES,
    Thresholds,
)
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.functional.classification.average_precision import (
    average_precision_bounds,
    average_precision_formula,
)
from fastmetrics.metric import Metric
from fastmetrics.utilities.checks import check_choice

__all__ = [
    "AveragePrecision",
    "BinaryAveragePrecision",
    "MulticlassAveragePrecision",
    "MultilabelAveragePrecision",
]


class BinaryAveragePrecision(CurveValue, BinaryPrecisionRecallCurve):
    """The precision at each threshold, weighted by the recall gained there, in [0, 1].

    ``sum over t of (recall_t - recall_(t+1)) * precision_t``, the thresholds t ascending.

    >>> import torch
    >>> from fastmetrics.classification import BinaryAveragePrecision
    >>> metric = BinaryAveragePrecision(thresholds=11)
    >>> metric(torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1]))
    tensor(0.8333)
    """

    def compute(self) -> Tensor:
        """Return the average precision, a float32 scalar."""
        return average_precision_formula(self._scores(), *self._formula())

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Return two float32 scalars between which the average precision of all scores lies."""
        return self._enclosed(average_precision_bounds, *self._formula())

    def _formula(self) -> tuple[bool, None, str | None]:
        return True, None, self.undefined


class MulticlassAveragePrecision(CurveValue, MulticlassPrecisionRecallCurve):
    """The average precision of each class against all others, averaged as ``average`` says.

    ``sum over t of (recall_t - recall_(t+1)) * precision_t``, the thresholds t ascending.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassAveragePrecision
    >>> metric = MulticlassAveragePrecision(num_classes=2, thresholds=11)
    >>> metric(torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]), torch.tensor([0, 0, 1]))
    tensor(1.)
    """

    plot_legend_name = "Class"

    def __init__(
        self,
        num_classes: int,
        average: str | None = "macro",
        thresholds: Thresholds = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        input: str = "auto",
        undefined: str | None = None,
        **kwargs: Any,
    ) -> None:
        if validate_args:
            check_choice("average", average, CLASS_AVERAGES)
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
        self.average = average

    def compute(self) -> Tensor:
        """Return the average over classes, a float32 scalar, or the values ``[C]``."""
        return average_precision_formula(self._scores(), *self._formula())

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Return two values like that of `compute`, between which that of all scores lies."""
        return self._enclosed(average_precision_bounds, *self._formula())

    def _formula(self) -> tuple[bool, str | None, str | None]:
        return False, self.average, self.undefined


class MultilabelAveragePrecision(CurveValue, MultilabelPrecisionRecallCurve):
    """The average precision of each label, averaged as ``average`` says.

    ``sum over t of (recall_t - recall_(t+1)) * precision_t``, the thresholds t ascending.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelAveragePrecision
    >>> metric = MultilabelAveragePrecision(num_labels=2, average=None, thresholds=11)
    >>> metric(torch.tensor([[0.7, 0.3], [0.4, 0.6]]), torch.tensor([[1, 0], [0, 1]]))
    tensor([1., 1.])
    """

    plot_legend_name = "Label"

    def __init__(
        self,
        num_labels: int,
        average: str | None = "macro",
        thresholds: Thresholds = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        input: str = "auto",
        undefined: str | None = None,
        **kwargs: Any,
    ) -> None:
        if validate_args:
            check_choice("average", average, LABEL_AVERAGES)
        super().__init__(
            num_labels,
            thresholds,
            ignore_index,
            validate_args,
            input=input,
            undefined=undefined,
            **kwargs,
        )
        self.average = average

    def compute(self) -> Tensor:
        """Return the average over classes, a float32 scalar, or the values ``[L]``."""
        return average_precision_formula(self._scores(), *self._formula())

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Return two values like that of `compute`, between which that of all scores lies."""
        return self._enclosed(average_precision_bounds, *self._formula())

    def _formula(self) -> tuple[bool, str | None, str | None]:
        return self.average == "micro", self.average, self.undefined


class AveragePrecision(TaskWrapper):
    """Make the average precision of ``task``: binary, multiclass or multilabel.

    ``sum over t of (recall_t - recall_(t+1)) * precision_t``, the thresholds t ascending.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``, multilabel ``num_labels``.

    >>> from fastmetrics import AveragePrecision
    >>> AveragePrecision(task="multiclass", num_classes=3, thresholds=5)
    MulticlassAveragePrecision()
    """

    def __new__(  # type: ignore[misc]  # makes the metric of the task
        cls,
        task: str,
        thresholds: Thresholds = None,
        num_classes: int | None = None,
        num_labels: int | None = None,
        average: str | None = "macro",
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> Metric:
        """Make the metric of ``task``."""
        return call_for_task(
            task,
            {
                "binary": partial(BinaryAveragePrecision, **kwargs),
                "multiclass": partial(MulticlassAveragePrecision, **kwargs),
                "multilabel": partial(MultilabelAveragePrecision, **kwargs),
            },
            thresholds=thresholds,
            num_classes=num_classes,
            num_labels=num_labels,
            average=average,
            ignore_index=ignore_index,
            validate_args=validate_args,
        )
