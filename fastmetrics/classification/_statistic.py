"""The shape that all classification metrics share: count states, event counters, one fused op."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor

from fastmetrics.classification._tasks import TaskWrapper as TaskWrapper
from fastmetrics.functional.classification._statistic import choose_reading, new_counts
from fastmetrics.metric import Metric
from fastmetrics.ops import label_confusion_
from fastmetrics.ops.faults import NAN_AS_TORCH, NUM_EVENTS, raise_events
from fastmetrics.ops.fused import Update
from fastmetrics.utilities.data import normal_tensor


class CountMetric(Metric):
    """A metric whose ``update`` is one fused op over a count state and its event counters.

    Subclasses call :meth:`_add_counts` in ``__init__``; ``update`` runs the op on what
    :meth:`_open_counts` returns and hands it to :meth:`_keep_counts`, so an op that raises leaves
    the state as it was; ``compute`` applies the formula to :meth:`_final_counts`.
    """

    is_differentiable = False
    full_state_update = False
    fused_update = True
    _exact_states = ("counts", "weights")
    counts: Tensor | list[Tensor]
    events: Tensor
    _samplewise = False
    _nan_treatment = NAN_AS_TORCH

    def __init__(self, validate_args: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.validate_args = validate_args

    def _add_counts(
        self, shape: tuple[int, ...], samplewise: bool = False, label_axes: int = 0
    ) -> None:
        """Declare ``events`` and ``counts``: int64 of ``shape``, or ``[N, *shape]`` per update."""
        self._counts_shape = shape
        self._samplewise = samplewise
        self._label_axes = label_axes
        if samplewise:
            self.add_state("counts", [], dist_reduce_fx="cat")
        else:
            self.add_state("counts", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        self._add_events()

    def _add_events(self) -> None:
        """Declare ``events``."""
        self.add_state("events", torch.zeros(NUM_EVENTS, dtype=torch.int64), dist_reduce_fx="sum")

    def _open_counts(self, target: Tensor, weight: Tensor | None) -> Tensor:
        """Return the counts that an op may change: the state, its float64 copy, or fresh rows."""
        if self._samplewise:
            return new_counts(
                self._counts_shape, target, weight, True, self.events.device, self._label_axes
            )
        counts: Tensor = self.counts  # type: ignore[assignment]  # a list only when samplewise
        return counts if weight is None else normal_tensor(counts.double)

    def _open_state(self, preds: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        return self._open_counts(target, weight)

    def _keep_state(self, state: Tensor) -> None:
        self._keep_counts(state)

    def _keep_counts(self, counts: Tensor) -> None:
        """Make the counts that an op has changed the state."""
        if self._samplewise:
            self.counts.append(counts)  # type: ignore[union-attr]  # a list when samplewise
        elif counts is not self.counts:
            object.__setattr__(self, "counts", counts)

    def _final_counts(self) -> Tensor:
        """Return the counts of all updates as one tensor."""
        counts = self.counts
        if not isinstance(counts, list):
            return counts
        if counts:
            return torch.cat(counts)
        return torch.zeros((0, *self._counts_shape), dtype=torch.int64, device=self.events.device)

    def _report(self) -> None:
        """Raise for invalid labels that an update on the GPU left out, warn for NaN scores."""
        if self.validate_args:
            raise_events(type(self).__name__, self.events, self._nan_treatment)


class LabelCountMetric(CountMetric):
    """One two-by-two table ``[[tn, fp], [fn, tp]]`` per label, from scores and a threshold.

    Binary metrics have one label. ``counts`` is ``[H, L, 2, 2]``, see
    :func:`fastmetrics.ops.confusion.label_confusion_` for the readings H.
    """

    def __init__(
        self,
        num_labels: int,
        threshold: float,
        ignore_index: int | None,
        validate_args: bool,
        input: str,
        samplewise: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(validate_args, **kwargs)
        self.threshold = threshold
        self.ignore_index = ignore_index
        self.input = input
        self._logits = input == "logits"
        readings = 2 if input == "auto" else 1
        self._add_counts((readings, num_labels, 2, 2), samplewise, label_axes=int(num_labels > 1))

    def update(self, preds: Tensor, target: Tensor, weight: Tensor | None = None) -> None:
        """Count one batch; arguments as in :func:`fastmetrics.ops.confusion.label_confusion_`."""
        counts = self._open_counts(target, weight)
        label_confusion_(counts, self.events, preds, target, weight, *self._arguments())
        self._keep_counts(counts)

    def _arguments(self) -> tuple[None, float, bool, int | None, bool]:
        return None, self.threshold, self._logits, self.ignore_index, self.validate_args

    def _op(self) -> Update | None:
        return None if self._samplewise else Update("label_confusion_", self._arguments())

    def _final_tables(self) -> Tensor:
        """Return the chosen reading of all updates, ``[L, 2, 2]`` or ``[N, L, 2, 2]``."""
        return choose_reading(self._final_counts(), self.events)

    def _statistic(self) -> Hashable:
        return (
            "label_confusion",
            self._counts_shape,
            self._samplewise,
            self.threshold,
            self.input,
            self.ignore_index,
            self.validate_args,
        )
