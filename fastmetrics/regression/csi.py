"""Critical success index."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.statistic import check_declared
from fastmetrics.functional.regression.csi import count_events, index_value
from fastmetrics.metric import Metric
from fastmetrics.ops.checks import check_held
from fastmetrics.utilities.checks import check_number
from fastmetrics.utilities.data import dim_zero_cat, in_one_step

__all__ = ["CriticalSuccessIndex"]


class CriticalSuccessIndex(Metric):
    """Critical success index, ``hits / (hits + misses + false alarms)``.

    ``update(preds, target)`` takes inputs of any real type and one shape. An event is a value of at
    least ``threshold``; a hit is one that was predicted.

    Args:
        threshold: the least value of an event.
        keep_sequence_dim: an axis S whose entries keep values of their own; the entries of all
            updates follow each other.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: ``keep_sequence_dim`` is not an axis.
        RuntimeError: the shapes of an update differ.

    >>> import torch
    >>> from fastmetrics.regression import CriticalSuccessIndex
    >>> metric = CriticalSuccessIndex(0.5)
    >>> metric(torch.tensor([[0.2, 0.7], [0.9, 0.3]]), torch.tensor([[0.4, 0.2], [0.8, 0.6]]))
    tensor(0.3333)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    fused_update = True
    hits: Tensor
    misses: Tensor
    false_alarms: Tensor
    hits_list: list[Tensor]
    misses_list: list[Tensor]
    false_alarms_list: list[Tensor]

    def __init__(
        self, threshold: float, keep_sequence_dim: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_number("threshold", threshold)
        self.threshold = float(threshold)
        axis = keep_sequence_dim
        if axis is not None and (not isinstance(axis, int) or axis < 0):
            raise ValueError(f"`keep_sequence_dim` must be None or an axis, got {axis!r}.")
        self.keep_sequence_dim = axis
        for name in ("hits", "misses", "false_alarms"):
            if axis is None:
                self.add_state(
                    name,
                    torch.zeros((), dtype=torch.int64, device=self._default_device),
                    dist_reduce_fx="sum",
                )
            else:
                self.add_state(f"{name}_list", [], dist_reduce_fx="cat")

    _check_states = check_declared

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count one batch."""
        owner = type(self).__name__
        check_held(owner, self.device, preds=preds, target=target)
        counts = count_events(owner, preds, target, self.threshold, self.keep_sequence_dim)
        if self.keep_sequence_dim is None:
            in_one_step(Tensor.add_, (self.hits, self.misses, self.false_alarms), counts)
        else:
            lists = (self.hits_list, self.misses_list, self.false_alarms_list)
            in_one_step(list.append, lists, counts)

    def compute(self) -> Tensor:
        """Return the value, float32: a scalar, or one entry per image."""
        if self.keep_sequence_dim is None:
            return index_value(self.hits, self.misses, self.false_alarms)
        lists = (self.hits_list, self.misses_list, self.false_alarms_list)
        return index_value(*(dim_zero_cat(entries) for entries in lists))
