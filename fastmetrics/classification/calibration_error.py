"""Calibration error metrics.

Formulas, and what a confidence is, in the module of the same name under
:mod:`fastmetrics.functional.classification`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from fastmetrics.classification._counts import CountMetric
from fastmetrics.classification._tasks import TaskWrapper
from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.functional.classification.calibration_error import (
    calibration_value,
    check_norm,
)
from fastmetrics.metric import Metric
from fastmetrics.ops.calibration import CalibrationBins

__all__ = ["BinaryCalibrationError", "CalibrationError", "MulticlassCalibrationError"]


class CalibrationMetric(CountMetric):
    """Sums per bin of confidence, of which ``norm`` makes the error."""

    higher_is_better = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    statistic: CalibrationBins
    n_bins = StatisticField[int]()
    input = StatisticField[str]()

    def __init__(self, statistic: CalibrationBins, norm: str, **kwargs: Any) -> None:
        if statistic.validate_args:
            check_norm(norm)
        super().__init__(statistic, **kwargs)
        self.norm = norm

    @property
    def bins(self) -> Tensor:
        """Count, sum of confidences and right ones of each bin, float64 ``[n_bins, 3]``."""
        return self.statistic.read(self._states)

    def compute(self) -> Tensor:
        """Return the calibration error, a float32 scalar."""
        return calibration_value(self.statistic, self._states, self.norm)

    def plot(self, *args: Any, **kwargs: Any) -> Any:
        """Draw ``val``, a value or a list of values, by default what ``compute`` returns."""
        return self._plot(*args, **kwargs)

    def plot_reliability(self, ax: Any = None) -> tuple[Any, Any]:
        """Draw the share of right predictions over the confidence, bin by bin.

        Returns, and raises, what :func:`fastmetrics.utilities.plot_reliability.plot_reliability`
        does.
        """
        from fastmetrics.utilities.plot_reliability import plot_reliability

        return plot_reliability(self.bins, ax)


class BinaryCalibrationError(CalibrationMetric):
    """How far probabilities of class 1 are from how often it occurs.

    Args:
        n_bins: bins of equal width in [0, 1], at least 1.
        norm: ``"l1"`` (expected), ``"l2"`` (root mean square) or ``"max"`` error.
        ignore_index: targets that are left out, integer or None.
        validate_args: check arguments and labels.
        input: ``"auto"``, ``"probs"`` or ``"logits"``.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument is out of range.

    >>> import torch
    >>> from fastmetrics.classification import BinaryCalibrationError
    >>> metric = BinaryCalibrationError(n_bins=2)
    >>> preds = torch.tensor([0.25, 0.25, 0.55, 0.75, 0.75])
    >>> metric(preds, torch.tensor([0, 0, 1, 1, 1]))
    tensor(0.2900)
    """

    def __init__(
        self,
        n_bins: int = 15,
        norm: str = "l1",
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        input: str = "auto",
        **kwargs: Any,
    ) -> None:
        statistic = CalibrationBins(
            n_bins=n_bins,
            ignore_index=ignore_index,
            validate_args=validate_args,
            input=input,
        )
        super().__init__(statistic, norm, **kwargs)


class MulticlassCalibrationError(CalibrationMetric):
    """How far the largest probability of each row is from how often its class is right.

    Args:
        num_classes: C, at least 2.
        n_bins: bins of equal width in [0, 1], at least 1.
        norm: ``"l1"`` (expected), ``"l2"`` (root mean square) or ``"max"`` error.
        ignore_index: targets that are left out, integer or None.
        validate_args: check arguments and labels.
        input: ``"auto"``, ``"probs"`` or ``"logits"``.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument is out of range.

    >>> import torch
    >>> from fastmetrics.classification import MulticlassCalibrationError
    >>> metric = MulticlassCalibrationError(num_classes=3, n_bins=3)
    >>> preds = torch.tensor([[0.25, 0.20, 0.55], [0.10, 0.30, 0.60], [0.90, 0.05, 0.05]])
    >>> metric(preds, torch.tensor([0, 2, 0]))
    tensor(0.0833)
    """

    plot_legend_name = "Class"
    num_classes = StatisticField[int]()

    def __init__(
        self,
        num_classes: int,
        n_bins: int = 15,
        norm: str = "l1",
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        input: str = "auto",
        **kwargs: Any,
    ) -> None:
        statistic = CalibrationBins(
            num_classes=num_classes,
            n_bins=n_bins,
            ignore_index=ignore_index,
            validate_args=validate_args,
            input=input,
        )
        super().__init__(statistic, norm, **kwargs)


class CalibrationError(TaskWrapper):
    """Make the calibration error of ``task``, which is binary or multiclass.

    The norm of ``accuracy_b - confidence_b`` over the bins b, each with its share of positions.

    Calls the class above that is named after ``task`` with those arguments that it has; multiclass
    needs ``num_classes``.

    >>> from fastmetrics import CalibrationError
    >>> CalibrationError(task="multiclass", num_classes=3)
    MulticlassCalibrationError()
    """

    tasks: ClassVar[dict[str, Callable[..., Metric]]] = {
        "binary": BinaryCalibrationError,
        "multiclass": MulticlassCalibrationError,
    }

    def __new__(  # type: ignore[misc]  # makes the metric of the task
        cls,
        task: str,
        n_bins: int = 15,
        norm: str = "l1",
        num_classes: int | None = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        input: str = "auto",
        **kwargs: Any,
    ) -> Metric:
        """Make the metric of ``task``."""
        tasks = {name: partial(make, input=input) for name, make in cls.tasks.items()}
        return call_for_task(
            task,
            tasks,
            n_bins=n_bins,
            norm=norm,
            num_classes=num_classes,
            ignore_index=ignore_index,
            validate_args=validate_args,
            **kwargs,
        )
