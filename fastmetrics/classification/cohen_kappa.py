"""Cohen's kappa metrics; arguments as in :mod:`fastmetrics.classification.confusion_matrix`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastmetrics.classification._tasks import TaskWrapper, by_task, makes_its_task
from fastmetrics.classification.confusion_matrix import (
    BinaryMatrixMetric,
    MatrixMetric,
    MulticlassMatrixMetric,
)
from fastmetrics.functional.classification.cohen_kappa import check_weights, cohen_kappa_formula
from fastmetrics.metric import Metric

__all__ = ["BinaryCohenKappa", "CohenKappa", "MulticlassCohenKappa"]


class _KappaValue(MatrixMetric):
    weights: str | None
    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def compute(self) -> Tensor:
        """Return kappa, a float32 scalar; see :func:`cohen_kappa_formula`."""
        return cohen_kappa_formula(self.statistic.matrix(self._states), self.weights)


class BinaryCohenKappa(_KappaValue, BinaryMatrixMetric):
    """Agreement of thresholded predictions with targets beyond chance, in ``[-1, 1]``.

    ``weights`` is None, ``"none"``, ``"linear"`` or ``"quadratic"``; with two classes they all give
    the same value.

    >>> import torch
    >>> from fastmetrics.classification import BinaryCohenKappa
    >>> BinaryCohenKappa()(torch.tensor([0, 1, 0, 0]), torch.tensor([1, 1, 0, 0]))
    tensor(0.5000)
    """

    def __init__(
        self,
        threshold: float = 0.5,
        ignore_index: int | None = None,
        weights: str | None = None,
        validate_args: bool = True,
        *,
        input: str = "auto",
        **kwargs: Any,
    ) -> None:
        if validate_args is not False:
            check_weights(weights)
        super().__init__(threshold, ignore_index, validate_args, input=input, **kwargs)
        self.weights = weights


class MulticlassCohenKappa(_KappaValue, MulticlassMatrixMetric):
    """Agreement of predicted classes with targets beyond chance, at most 1.

    ``1 - sum(w * observed) / sum(w * expected)``, where w is 1 off the diagonal by default.

    ``weights`` is None, ``"none"``, ``"linear"`` or ``"quadratic"``: how much a disagreement grows
    with the distance of the classes.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassCohenKappa
    >>> metric = MulticlassCohenKappa(num_classes=3)
    >>> metric(torch.tensor([2, 1, 0, 1]), torch.tensor([2, 1, 0, 0]))
    tensor(0.6364)
    """

    plot_legend_name = "Class"

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        weights: str | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> None:
        if validate_args is not False:
            check_weights(weights)
        super().__init__(num_classes, ignore_index, validate_args, **kwargs)
        self.weights = weights


class CohenKappa(TaskWrapper):
    """Make the Cohen's kappa metric of ``task``: binary, or multiclass (needs ``num_classes``).

    >>> from fastmetrics import CohenKappa
    >>> type(CohenKappa(task="binary")).__name__
    'BinaryCohenKappa'
    """

    tasks = by_task(BinaryCohenKappa, MulticlassCohenKappa)

    @makes_its_task
    def __new__(  # type: ignore[misc]  # makes another metric
        cls, task: str, threshold: float = 0.5, num_classes: int | None = None,
        weights: str | None = None, ignore_index: int | None = None, validate_args: bool = True,
        **kwargs: Any,
    ) -> Metric:  # fmt: skip
        """Make the metric of ``task``."""
