"""Confusion matrix metrics, and the statistics of every metric that reads one.

Arguments are explained in :mod:`fastmetrics.functional.classification.confusion_matrix`. ``update``
takes ``preds``, ``target`` and optionally ``weight``; further keywords go to
:class:`fastmetrics.Metric`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from fastmetrics.classification._counts import CountMetric
from fastmetrics.classification._tasks import TaskWrapper, by_task, makes_its_task
from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.classification.confusion_matrix import check_normalize, normalize_matrix
from fastmetrics.metric import Metric
from fastmetrics.ops.confusion import BinaryTable, Confusion, LabelTables
from fastmetrics.utilities.plot_confusion import plot_confusion_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

__all__ = [
    "BinaryConfusionMatrix",
    "ConfusionMatrix",
    "MulticlassConfusionMatrix",
    "MultilabelConfusionMatrix",
]


class MatrixMetric(CountMetric):
    """A metric that reads a matrix of counts, ``confmat``; rows are targets, columns predictions.

    Args:
        statistic: what is counted.
        settings: as for :class:`~fastmetrics.metric.Metric`.
    """

    statistic: Confusion | LabelTables
    counts: Tensor
    events: Tensor
    confmat: Tensor


class BinaryMatrixMetric(MatrixMetric):
    """One table ``[[tn, fp], [fn, tp]]`` from binary scores and a threshold."""

    statistic: LabelTables
    threshold = StatisticField[float]()
    input = StatisticField[str]()

    def __init__(
        self,
        threshold: float = 0.5,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        input: str = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            BinaryTable(
                threshold, ignore_index=ignore_index, validate_args=validate_args, input=input
            ),
            **kwargs,
        )


class MulticlassMatrixMetric(MatrixMetric):
    """A matrix ``[C, C]`` of targets against predicted classes."""

    num_classes = StatisticField[int]()

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(Confusion(num_classes, ignore_index, validate_args), **kwargs)


class MultilabelMatrixMetric(MatrixMetric):
    """One table ``[[tn, fp], [fn, tp]]`` per label from scores and a threshold."""

    statistic: LabelTables
    num_labels = StatisticField[int]()
    threshold = StatisticField[float]()
    input = StatisticField[str]()

    def __init__(
        self,
        num_labels: int,
        threshold: float = 0.5,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        input: str = "auto",
        **kwargs: Any,
    ) -> None:
        tables = LabelTables(
            num_labels,
            threshold,
            ignore_index=ignore_index,
            validate_args=validate_args,
            input=input,
        )
        super().__init__(tables, **kwargs)


class _MatrixValue(MatrixMetric):
    """The value is the matrix itself, normalised as ``normalize`` says, and plots as a heat map."""

    normalize: str | None
    higher_is_better = None

    def compute(self) -> Tensor:
        """Return the matrix: int64, float64 when weighted, float32 when normalised."""
        return normalize_matrix(self.statistic.matrix(self._states), self.normalize)

    def plot(
        self,
        val: Tensor | None = None,
        ax: Axes | None = None,
        add_text: bool = True,
        labels: list[str] | None = None,
        cmap: Colormap | str | None = None,
    ) -> tuple[Figure, Any]:
        """Draw ``val``, by default what ``compute`` returns, as a heat map.

        Arguments as in :func:`fastmetrics.utilities.plot_confusion.plot_confusion_matrix`.

        Raises:
            TypeError: ``val`` is not a tensor.
        """
        matrix = self.compute() if val is None else val
        if not isinstance(matrix, Tensor):
            raise TypeError(f"`val` must be a tensor, got {type(matrix).__name__}.")
        return plot_confusion_matrix(matrix, ax, add_text, labels, cmap)


class BinaryConfusionMatrix(_MatrixValue, BinaryMatrixMetric):
    """Counts ``[[tn, fp], [fn, tp]]``, ``[2, 2]``.

    ``normalize`` is ``"true"`` (rows sum to 1), ``"pred"`` (columns), ``"all"``, ``"none"`` or
    None.

    >>> import torch
    >>> from fastmetrics.classification import BinaryConfusionMatrix
    >>> metric = BinaryConfusionMatrix()
    >>> metric(torch.tensor([0.2, 0.9, 0.6]), torch.tensor([0, 1, 0]))
    tensor([[1, 1],
            [0, 1]])
    """

    def __init__(
        self,
        threshold: float = 0.5,
        ignore_index: int | None = None,
        normalize: str | None = None,
        validate_args: bool = True,
        *,
        input: str = "auto",
        **kwargs: Any,
    ) -> None:
        if validate_args is not False:
            check_normalize(normalize)
        super().__init__(threshold, ignore_index, validate_args, input=input, **kwargs)
        self.normalize = normalize


class MulticlassConfusionMatrix(_MatrixValue, MulticlassMatrixMetric):
    """Counts of targets (rows) against predicted classes (columns), ``[C, C]``.

    ``normalize`` is ``"true"`` (rows sum to 1), ``"pred"`` (columns), ``"all"``, ``"none"`` or
    None.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassConfusionMatrix
    >>> metric = MulticlassConfusionMatrix(num_classes=3)
    >>> metric(torch.tensor([2, 1, 0, 1]), torch.tensor([2, 1, 0, 0]))
    tensor([[1, 1, 0],
            [0, 1, 0],
            [0, 0, 1]])
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        normalize: str | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> None:
        if validate_args is not False:
            check_normalize(normalize)
        super().__init__(num_classes, ignore_index, validate_args, **kwargs)
        self.normalize = normalize


class MultilabelConfusionMatrix(_MatrixValue, MultilabelMatrixMetric):
    """Counts ``[[tn, fp], [fn, tp]]`` per label, ``[L, 2, 2]``.

    ``normalize`` is ``"true"`` (rows sum to 1), ``"pred"`` (columns), ``"all"`` (tables),
    ``"none"`` or None.

    >>> import torch
    >>> from fastmetrics.classification import MultilabelConfusionMatrix
    >>> metric = MultilabelConfusionMatrix(num_labels=2)
    >>> metric(torch.tensor([[0.1, 0.8], [0.7, 0.3]]), torch.tensor([[0, 1], [0, 1]]))
    tensor([[[1, 1],
             [0, 0]],
    <BLANKLINE>
            [[0, 0],
             [1, 1]]])
    """

    def __init__(
        self,
        num_labels: int,
        threshold: float = 0.5,
        ignore_index: int | None = None,
        normalize: str | None = None,
        validate_args: bool = True,
        *,
        input: str = "auto",
        **kwargs: Any,
    ) -> None:
        if validate_args is not False:
            check_normalize(normalize)
        super().__init__(num_labels, threshold, ignore_index, validate_args, input=input, **kwargs)
        self.normalize = normalize


class ConfusionMatrix(TaskWrapper):
    """Make the confusion matrix metric of ``task``: binary, multiclass or multilabel.

    ``matrix[i, j] = #{target = i and prediction = j}``.

    Passes the arguments that the task has to :class:`BinaryConfusionMatrix`,
    :class:`MulticlassConfusionMatrix` (needs ``num_classes``) or
    :class:`MultilabelConfusionMatrix` (needs ``num_labels``).

    >>> from fastmetrics import ConfusionMatrix
    >>> type(ConfusionMatrix(task="multiclass", num_classes=3)).__name__
    'MulticlassConfusionMatrix'
    """

    tasks = by_task(BinaryConfusionMatrix, MulticlassConfusionMatrix, MultilabelConfusionMatrix)

    @makes_its_task
    def __new__(  # type: ignore[misc]  # makes another metric
        cls, task: str, threshold: float = 0.5, num_classes: int | None = None,
        num_labels: int | None = None, normalize: str | None = None,
        ignore_index: int | None = None, validate_args: bool = True, **kwargs: Any,
    ) -> Metric:  # fmt: skip
        """Make the metric of ``task``."""
