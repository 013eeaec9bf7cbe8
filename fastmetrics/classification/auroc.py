"""AUROC metrics; arguments as in :mod:`fastmetrics.classification.precision_recall_curve`.

``max_fpr`` and ``average`` are explained in :mod:`fastmetrics.functional.classification.auroc`.
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
    enclose,
)
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.functional.classification.auroc import (
    auroc_bounds,
    auroc_formula,
    check_max_fpr,
    check_multi_class,
    pairwise_formula,
)
from fastmetrics.metric import Metric
from fastmetrics.utilities.checks import check_choice

__all__ = ["AUROC", "BinaryAUROC", "MulticlassAUROC", "MultilabelAUROC"]


class BinaryAUROC(CurveValue, BinaryPrecisionRecallCurve):
    """How often a positive scores higher than a negative, in [0, 1].

    ``P(s+ > s-) + P(s+ = s-) / 2`` for a positive's and a negative's score, drawn at random.

    >>> import torch
    >>> from fastmetrics.classification import BinaryAUROC
    >>> metric = BinaryAUROC(thresholds=11)
    >>> metric(torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1]))
    tensor(0.7500)
    """

    def __init__(
        self,
        max_fpr: float | None = None,
        thresholds: Thresholds = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        input: str = "auto",
        undefined: str | None = None,
        **kwargs: Any,
    ) -> None:
        if validate_args:
            check_max_fpr(max_fpr)
        super().__init__(
            thresholds, ignore_index, validate_args, input=input, undefined=undefined, **kwargs
        )
        self.max_fpr = max_fpr

    def compute(self) -> Tensor:
        """Return the area, a float32 scalar."""
        return auroc_formula(self._scores(), *self._formula())

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Return two float32 scalars between which the area of all scores lies."""
        return self._enclosed(auroc_bounds, *self._formula())

    def _formula(self) -> tuple[bool, None, float | None, str | None]:
        return True, None, self.max_fpr, self.undefined


class MulticlassAUROC(CurveValue, MulticlassPrecisionRecallCurve):
    """The area of each class against all others, averaged as ``average`` says.

    ``P(s+ > s-) + P(s+ = s-) / 2`` for a positive's and a negative's score, drawn at random.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassAUROC
    >>> metric = MulticlassAUROC(num_classes=2, thresholds=11)
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
        max_fpr: float | None = None,
        multi_class: str = "ovr",
        input: str = "auto",
        undefined: str | None = None,
        **kwargs: Any,
    ) -> None:
        if validate_args:
            check_choice("average", average, CLASS_AVERAGES)
            check_max_fpr(max_fpr)
            check_multi_class(multi_class, average, max_fpr, thresholds)
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
        self.max_fpr = max_fpr
        self.multi_class = multi_class
        if multi_class == "ovo":
            self._keep_every_score()

    def compute(self) -> Tensor:
        """Return the average area, a float32 scalar, or the areas ``[C]``."""
        if self.multi_class == "ovo":
            return pairwise_formula(self._scores(), self.average, self.undefined)
        return auroc_formula(self._scores(), *self._formula())

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Return two values like that of `compute`, between which that of all scores lies."""
        if self.multi_class == "ovo":
            value = self.compute()
            return enclose(value, value)
        return self._enclosed(auroc_bounds, *self._formula())

    def _formula(self) -> tuple[bool, str | None, float | None, str | None]:
        return False, self.average, self.max_fpr, self.undefined


class MultilabelAUROC(CurveValue, MultilabelPrecisionRecallCurve):
    """The area of each label, averaged as ``average`` says.

    ``P(s+ > s-) + P(s+ = s-) / 2`` for a positive's and a negative's score, drawn at random.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelAUROC
    >>> metric = MultilabelAUROC(num_labels=2, average=None, thresholds=11)
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
        max_fpr: float | None = None,
        input: str = "auto",
        undefined: str | None = None,
        **kwargs: Any,
    ) -> None:
        if validate_args:
            check_choice("average", average, LABEL_AVERAGES)
            check_max_fpr(max_fpr)
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
        self.max_fpr = max_fpr

    def compute(self) -> Tensor:
        """Return the average area, a float32 scalar, or the areas ``[L]``."""
        return auroc_formula(self._scores(), *self._formula())

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Return two values like that of `compute`, between which that of all scores lies."""
        return self._enclosed(auroc_bounds, *self._formula())

    def _formula(self) -> tuple[bool, str | None, float | None, str | None]:
        return self.average == "micro", self.average, self.max_fpr, self.undefined


class AUROC(TaskWrapper):
    """Make the AUROC of ``task``: binary, multiclass or multilabel.

    ``P(s+ > s-) + P(s+ = s-) / 2`` for a positive's and a negative's score, drawn at random.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``, multilabel ``num_labels``.

    >>> from fastmetrics import AUROC
    >>> AUROC(task="multiclass", num_classes=3, thresholds=5)
    MulticlassAUROC()
    """

    def __new__(  # type: ignore[misc]  # makes the metric of the task
        cls,
        task: str,
        thresholds: Thresholds = None,
        num_classes: int | None = None,
        num_labels: int | None = None,
        average: str | None = "macro",
        max_fpr: float | None = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> Metric:
        """Make the metric of ``task``."""
        return call_for_task(
            task,
            {
                "binary": partial(BinaryAUROC, **kwargs),
                "multiclass": partial(MulticlassAUROC, **kwargs),
                "multilabel": partial(MultilabelAUROC, **kwargs),
            },
            thresholds=thresholds,
            num_classes=num_classes,
            num_labels=num_labels,
            average=average,
            max_fpr=max_fpr,
            ignore_index=ignore_index,
            validate_args=validate_args,
        )
