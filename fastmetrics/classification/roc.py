"""ROC metrics; arguments as in :mod:`fastmetrics.classification.precision_recall_curve`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from fastmetrics.classification._curve import CurveMetric, metric_of_task
from fastmetrics.classification._tasks import TaskWrapper
from fastmetrics.classification.precision_recall_curve import (
    BinaryPrecisionRecallCurve,
    MulticlassPrecisionRecallCurve,
    MultilabelPrecisionRecallCurve,
    line_areas,
)
from fastmetrics.functional.classification._scores import Formula
from fastmetrics.functional.classification.precision_recall_curve import PointLists, Points
from fastmetrics.functional.classification.roc import FORMULA
from fastmetrics.metric import Metric
from fastmetrics.ops.thresholds import Thresholds
from fastmetrics.utilities.plot_curve import plot_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["BinaryROC", "MulticlassROC", "MultilabelROC", "ROC"]


class _Rates(CurveMetric):
    """Draws the false positive rate on the x axis."""

    formula: ClassVar[Formula] = FORMULA
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def plot(
        self,
        curve: Points | PointLists | None = None,
        score: bool | Tensor | None = None,
        ax: Axes | None = None,
        labels: Sequence[str] | None = None,
    ) -> tuple[Figure | None, Any]:
        """Draw true over false positive rate: of ``curve``, by default of what ``compute`` returns.

        ``score=True`` writes the area under the computed curve into the legend, a tensor itself;
        ``labels`` name the classes.
        """
        points = self.compute() if curve is None else curve
        if score is True:
            score = line_areas(points[1], points[0]) if curve is None else None
        area = score if isinstance(score, Tensor) else None
        names = ("False positive rate", "True positive rate")
        return plot_curve(points[0], points[1], area, ax, names, type(self).__name__, labels)


class BinaryROC(_Rates, BinaryPrecisionRecallCurve):
    """True against false positive rate at every threshold.

    ``fpr = fp / (fp + tn)`` and ``tpr = tp / (tp + fn)`` at each threshold.

    ``compute`` returns what :func:`~fastmetrics.functional.classification.binary_roc` returns.

    >>> import torch
    >>> from fastmetrics.classification import BinaryROC
    >>> metric = BinaryROC(thresholds=3)
    >>> metric(torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1]))
    (tensor([0.0000, 0.5000, 1.0000]), tensor([0., 1., 1.]), tensor([1.0000, 0.5000, 0.0000]))
    """


class MulticlassROC(_Rates, MulticlassPrecisionRecallCurve):
    """True against false positive rate of each class against all others.

    ``fpr = fp / (fp + tn)`` and ``tpr = tp / (tp + fn)`` at each threshold.

    ``compute`` returns what :func:`~fastmetrics.functional.classification.multiclass_roc` returns.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassROC
    >>> metric = MulticlassROC(num_classes=2, thresholds=3)
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]), torch.tensor([0, 0, 1])
    >>> fpr, tpr, _ = metric(preds, target)
    >>> tpr
    tensor([[0.0000, 0.5000, 1.0000],
            [0.0000, 1.0000, 1.0000]])
    """

    plot_legend_name = "Class"


class MultilabelROC(_Rates, MultilabelPrecisionRecallCurve):
    """True against false positive rate of each label.

    ``fpr = fp / (fp + tn)`` and ``tpr = tp / (tp + fn)`` at each threshold.

    ``compute`` returns what :func:`~fastmetrics.functional.classification.multilabel_roc` returns.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelROC
    >>> metric = MultilabelROC(num_labels=2, thresholds=3)
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6]]), torch.tensor([[1, 0], [0, 1]])
    >>> fpr, tpr, _ = metric(preds, target)
    >>> fpr
    tensor([[0., 0., 1.],
            [0., 0., 1.]])
    """

    plot_legend_name = "Label"


class ROC(TaskWrapper):
    """Make the ROC of ``task``: binary, multiclass or multilabel.

    ``fpr = fp / (fp + tn)`` and ``tpr = tp / (tp + fn)`` at each threshold.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``, multilabel ``num_labels``.

    >>> from fastmetrics import ROC
    >>> ROC(task="multilabel", num_labels=3, thresholds=5)
    MultilabelROC()
    """

    @metric_of_task(BinaryROC, MulticlassROC, MultilabelROC)
    def __new__(  # type: ignore[misc]  # makes another metric
        cls, task: str, thresholds: Thresholds = None, num_classes: int | None = None,
        num_labels: int | None = None, ignore_index: int | None = None, validate_args: bool = True,
        **kwargs: Any,
    ) -> Metric:  # fmt: skip
        """Make the metric of ``task``."""
