"""Precision-recall curve metrics, and the statistics of every metric that is made of a curve.

Arguments are explained in :mod:`fastmetrics.functional.classification.precision_recall_curve`;
``normalization=None`` of binary ones is the same as ``input="probs"``. ``options`` are ``input``,
``undefined`` and what :class:`fastmetrics.Metric` takes. ``update`` takes ``preds``, ``target`` and
optionally ``weight``. Metrics with the same thresholds share one state within a collection. With
``thresholds=None`` metrics keep every score: 4 bytes and a byte for the target of a float32 score.
16-bit scores become counts once 65 536 rows are kept, 1 MiB for each of up to 64 classes
(multiclass scores only with ``input="probs"``). ``thresholds="auto"`` always counts, in at most 64
MiB as long as 10 bits are left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Unpack

from fastmetrics.classification._curve import (
    NORMALIZATIONS,
    CurveMetric,
    CurveOptions,
    metric_of_task,
)
from fastmetrics.classification._tasks import TaskWrapper
from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.classification._scores import Formula
from fastmetrics.functional.classification.precision_recall_curve import (
    FORMULA,
    PointLists,
    Points,
)
from fastmetrics.metric import Metric
from fastmetrics.ops.thresholds import Thresholds
from fastmetrics.utilities.checks import check_choice
from fastmetrics.utilities.plot_curve import plot_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BinaryPrecisionRecallCurve",
    "MulticlassPrecisionRecallCurve",
    "MultilabelPrecisionRecallCurve",
    "PrecisionRecallCurve",
]


def line_areas(y: Tensor | list[Tensor], x: Tensor | list[Tensor]) -> Tensor:
    """Return the area under each line by trapezoids, positive whichever way x runs."""
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        return torch.trapezoid(y, x).abs()
    lines = zip(y, x, strict=True)
    return torch.stack([torch.trapezoid(heights, points).abs() for heights, points in lines])


class _PrecisionRecall(CurveMetric):
    """Draws recall on the x axis."""

    formula: ClassVar[Formula] = FORMULA

    def plot(
        self,
        curve: Points | PointLists | None = None,
        score: bool | Tensor | None = None,
        ax: Axes | None = None,
    ) -> tuple[Figure | None, Any]:
        """Draw precision over recall: of ``curve``, by default of what ``compute`` returns.

        ``score=True`` writes the area under the computed curve into the legend, a tensor itself.
        """
        points = self.compute() if curve is None else curve
        if score is True:
            score = line_areas(points[0], points[1]) if curve is None else None
        area = score if isinstance(score, Tensor) else None
        names = ("Recall", "Precision")
        return plot_curve(points[1], points[0], area, ax, names, type(self).__name__)


class BinaryPrecisionRecallCurve(_PrecisionRecall):
    """Precision and recall at every threshold.

    ``precision = tp / (tp + fp)`` and ``recall = tp / (tp + fn)`` at each threshold.

    ``compute`` returns what
    :func:`~fastmetrics.functional.classification.binary_precision_recall_curve` returns.

    >>> import torch
    >>> from fastmetrics.classification import BinaryPrecisionRecallCurve
    >>> metric = BinaryPrecisionRecallCurve(thresholds=3)
    >>> preds, target = torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1])
    >>> precision, recall, thresholds = metric(preds, target)
    >>> precision, recall
    (tensor([0.5000, 0.6667,    nan, 1.0000]), tensor([1., 1., 0., 0.]))
    """

    def __init__(
        self, thresholds: Thresholds = None, ignore_index: int | None = None,
        validate_args: bool = True, normalization: str | None = "sigmoid",
        **options: Unpack[CurveOptions],
    ) -> None:  # fmt: skip
        check_choice("normalization", normalization, NORMALIZATIONS)
        if normalization is None:
            options["input"] = "probs"
        super().__init__("binary", 1, thresholds, ignore_index, validate_args, **options)
        self.normalization = normalization


class MulticlassPrecisionRecallCurve(_PrecisionRecall):
    """Precision and recall of each class against all others.

    ``precision = tp / (tp + fp)`` and ``recall = tp / (tp + fn)`` at each threshold.

    ``compute`` returns what
    :func:`~fastmetrics.functional.classification.multiclass_precision_recall_curve` returns.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassPrecisionRecallCurve
    >>> metric = MulticlassPrecisionRecallCurve(num_classes=2, thresholds=3)
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]), torch.tensor([0, 0, 1])
    >>> precision, recall, _ = metric(preds, target)
    >>> recall
    tensor([[1.0000, 0.5000, 0.0000, 0.0000],
            [1.0000, 1.0000, 0.0000, 0.0000]])
    """

    num_classes = StatisticField[int]()

    def __init__(
        self, num_classes: int, thresholds: Thresholds = None, average: str | None = None,
        ignore_index: int | None = None, validate_args: bool = True,
        **options: Unpack[CurveOptions],
    ) -> None:  # fmt: skip
        super().__init__(
            "multiclass", num_classes, thresholds, ignore_index, validate_args, **options
        )
        self._configure(average=average)


class MultilabelPrecisionRecallCurve(_PrecisionRecall):
    """Precision and recall of each label.

    ``precision = tp / (tp + fp)`` and ``recall = tp / (tp + fn)`` at each threshold.

    ``compute`` returns what
    :func:`~fastmetrics.functional.classification.multilabel_precision_recall_curve` returns.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelPrecisionRecallCurve
    >>> metric = MultilabelPrecisionRecallCurve(num_labels=2, thresholds=3)
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6]]), torch.tensor([[1, 0], [0, 1]])
    >>> precision, recall, _ = metric(preds, target)
    >>> precision
    tensor([[0.5000, 1.0000,    nan, 1.0000],
            [0.5000, 1.0000,    nan, 1.0000]])
    """

    num_labels = StatisticField[int]("num_classes")

    def __init__(
        self, num_labels: int, thresholds: Thresholds = None, ignore_index: int | None = None,
        validate_args: bool = True, **options: Unpack[CurveOptions],
    ) -> None:  # fmt: skip
        super().__init__(
            "multilabel", num_labels, thresholds, ignore_index, validate_args, **options
        )


class PrecisionRecallCurve(TaskWrapper):
    """Make the precision-recall curve of ``task``: binary, multiclass or multilabel.

    ``precision = tp / (tp + fp)`` and ``recall = tp / (tp + fn)`` at each threshold.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``, multilabel ``num_labels``.

    >>> from fastmetrics import PrecisionRecallCurve
    >>> PrecisionRecallCurve(task="multiclass", num_classes=3, thresholds=5)
    MulticlassPrecisionRecallCurve()
    """

    @metric_of_task(
        BinaryPrecisionRecallCurve, MulticlassPrecisionRecallCurve, MultilabelPrecisionRecallCurve
    )
    def __new__(  # type: ignore[misc]  # makes another metric
        cls, task: str, thresholds: Thresholds = None, num_classes: int | None = None,
        num_labels: int | None = None, ignore_index: int | None = None, validate_args: bool = True,
        **kwargs: Any,
    ) -> Metric:  # fmt: skip
        """Make the metric of ``task``."""
