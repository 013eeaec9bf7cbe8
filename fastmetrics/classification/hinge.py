"""Hinge loss metrics.

Arguments, shapes and errors as in :mod:`fastmetrics.functional.classification.hinge`.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fastmetrics.classification._statistic import CountMetric, TaskWrapper
from fastmetrics.functional.classification._statistic import choose_reading
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.functional.classification.hinge import (
    NAN_TREATMENT,
    check_hinge_arguments,
    check_multiclass_arguments,
    hinge_formula,
    sums_shape,
)
from fastmetrics.metric import Metric
from fastmetrics.ops import hinge_sums_
from fastmetrics.ops.faults import NUM_EVENTS

__all__ = ["BinaryHingeLoss", "HingeLoss", "MulticlassHingeLoss"]


class HingeMetric(CountMetric):
    """Float64 sums ``[H, K + 1]``, see :func:`fastmetrics.ops.hinge.hinge_sums_`."""

    _nan_treatment = NAN_TREATMENT

    higher_is_better = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    counts: Tensor

    def __init__(
        self,
        num_losses: int,
        multiclass: bool,
        squared: bool,
        ignore_index: int | None,
        validate_args: bool,
        input: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(validate_args, **kwargs)
        self.squared = squared
        self.ignore_index = ignore_index
        self.input = input
        self._multiclass = multiclass
        self._logits = input == "logits"
        sums = torch.zeros(sums_shape(num_losses, input), dtype=torch.float64)
        self.add_state("counts", sums, dist_reduce_fx="sum")
        self.add_state("events", torch.zeros(NUM_EVENTS, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor, weight: Tensor | None = None) -> None:
        """Add one batch; arguments as in :func:`fastmetrics.ops.hinge.hinge_sums_`."""
        hinge_sums_(
            self.counts,
            self.events,
            preds,
            target,
            self._multiclass,
            self.squared,
            self._logits,
            weight,
            self.ignore_index,
            self.validate_args,
        )

    def compute(self) -> Tensor:
        """Return the mean loss, float32: a scalar, or ``[C]`` for one-vs-all."""
        return hinge_formula(self.counts, self.events)

    @property
    def measures(self) -> Tensor:
        """Sums of losses, float64: a scalar, or ``[C]`` for one-vs-all."""
        losses = choose_reading(self.counts, self.events, -2)[:-1]
        return losses if len(losses) > 1 else losses[0]

    @property
    def total(self) -> Tensor:
        """Positions that count, or the sum of their weights, float64."""
        return self.counts[0, -1]

    def _statistic(self) -> Hashable:
        return (
            "hinge_sums",
            tuple(self.counts.shape),
            self._multiclass,
            self.squared,
            self.input,
            self.ignore_index,
            self.validate_args,
        )


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
        if validate_args:
            check_hinge_arguments(squared, ignore_index, input)
        super().__init__(1, False, squared, ignore_index, validate_args, input, **kwargs)


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
        if validate_args:
            check_multiclass_arguments(num_classes, squared, multiclass_mode, ignore_index, input)
        num_losses = 1 if multiclass_mode == "crammer-singer" else num_classes
        super().__init__(num_losses, True, squared, ignore_index, validate_args, input, **kwargs)
        self.num_classes = num_classes
        self.multiclass_mode = multiclass_mode


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
