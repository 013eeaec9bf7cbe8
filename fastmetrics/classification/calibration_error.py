"""Calibration error metrics.

Formulas, and what a confidence is, in the module of the same name under
:mod:`fastmetrics.functional.classification`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

from fastmetrics.classification._statistic import CountMetric, TaskWrapper
from fastmetrics.functional.classification._statistic import choose_reading
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.functional.classification.calibration_error import (
    NAN_TREATMENT,
    bin_edges,
    calibration_formula,
    check_calibration_arguments,
)
from fastmetrics.metric import Metric
from fastmetrics.ops import calibration_bins_
from fastmetrics.ops.faults import NUM_EVENTS
from fastmetrics.ops.fused import Update

__all__ = ["BinaryCalibrationError", "CalibrationError", "MulticlassCalibrationError"]


class CalibrationMetric(CountMetric):
    """Sums per bin of confidence, ``counts`` ``[H, n_bins + 1, 3]``.

    See :func:`fastmetrics.ops.calibration.calibration_bins_` for the readings H and the columns.
    """

    _nan_treatment = NAN_TREATMENT

    higher_is_better = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    counts: Tensor

    def __init__(
        self,
        num_classes: int | None,
        n_bins: int,
        norm: str,
        ignore_index: int | None,
        validate_args: bool,
        input: str,
        **kwargs: Any,
    ) -> None:
        if validate_args:
            check_calibration_arguments(n_bins, norm, ignore_index, input, num_classes)
        super().__init__(validate_args, **kwargs)
        self.n_bins = n_bins
        self.norm = norm
        self.ignore_index = ignore_index
        self.input = input
        self._classes = num_classes or 0
        self._logits = input == "logits"
        self._edges = bin_edges(n_bins, self.device)
        shape = (2 if input == "auto" else 1, n_bins + 1, 3)
        self.add_state("counts", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("events", torch.zeros(NUM_EVENTS, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor, weight: Tensor | None = None) -> None:
        """Count one batch; arguments as in `calibration_bins_`."""
        calibration_bins_(self.counts, self.events, preds, target, weight, *self._arguments())

    def _arguments(self) -> tuple[Tensor, int, bool, int | None, bool]:
        return self._edges, self._classes, self._logits, self.ignore_index, self.validate_args

    def _op(self) -> Update:
        return Update("calibration_bins_", self._arguments())

    @property
    def bins(self) -> Tensor:
        """Count, sum of confidences and right ones of each bin, float64 ``[n_bins + 1, 3]``.

        The last bin holds the confidences of exactly 1.
        """
        return choose_reading(self.counts, self.events, -3)

    def compute(self) -> Tensor:
        """Return the calibration error, a float32 scalar."""
        return calibration_formula(self.bins, self.norm)

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

    def _statistic(self) -> Hashable:
        return (
            "calibration_bins",
            self.n_bins,
            self._classes,
            self.input,
            self.ignore_index,
            self.validate_args,
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Self:
        super()._apply(fn, *args, **kwargs)
        self._edges = self._edges.to(self.device)
        return self


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
        super().__init__(None, n_bins, norm, ignore_index, validate_args, input, **kwargs)


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
        super().__init__(num_classes, n_bins, norm, ignore_index, validate_args, input, **kwargs)
        self.num_classes = num_classes


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
