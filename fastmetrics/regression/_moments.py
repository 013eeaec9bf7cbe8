"""The state that correlations and explained variances share: co-moments, merged by Chan's rule."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor

from fastmetrics.functional.regression._moments import add_moments, needs_graph, new_moments
from fastmetrics.metric import Merger, Metric
from fastmetrics.ops import co_moments_, merge_co_moments_
from fastmetrics.ops.fused import Update
from fastmetrics.utilities.data import normal_tensor


class MergeMoments(Merger):
    """Merges moments ``[D, 12]``."""

    def __call__(self, parts: Tensor) -> Tensor:
        """Return the moments of all parts ``[R, D, 12]``."""
        total = torch.zeros_like(parts[0])
        merge_co_moments_(total, parts.contiguous())
        return total

    def absorb(self, total: Tensor, batch: Tensor) -> Tensor:
        """Merge ``batch`` into ``total``, which may date from before the outputs were known."""
        if total.shape != batch.shape:
            total = with_outputs(total, batch.shape[0])
        merge_co_moments_(total, batch.detach().unsqueeze(0))
        return total


def with_outputs(moments: Tensor, outputs: int) -> Tensor:
    """Return a copy of the moments of one output for each of ``outputs``."""
    return normal_tensor(moments.expand(outputs, -1).clone)


class MomentsMetric(Metric):
    """A metric whose ``update`` is one call of :func:`fastmetrics.ops.co_moments.co_moments_`.

    Args:
        num_outputs: D, or None for as many outputs as the first batch has.
        kwargs: as for :class:`fastmetrics.metric.Metric`.
    """

    is_differentiable = True
    full_state_update = False
    fused_update = True
    _exact_states = ("moments",)
    moments: Tensor
    # Whether samples of several axes count as so many outputs.
    _any_shape = False

    def __init__(self, num_outputs: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._outputs = num_outputs
        self.add_state("moments", new_moments(num_outputs or 1), dist_reduce_fx=MergeMoments())

    def update(self, preds: Tensor, target: Tensor, *, weight: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            preds: predictions, ``[N]`` or ``[N, D]``, any real dtype.
            target: the truth, in the same shape.
            weight: how much each sample counts, ``[N]``.

        Raises:
            ValueError: the shape is not that of the outputs, or a dtype is not real.
            RuntimeError: ``preds`` and ``target`` have different shapes.
        """
        flattens = self._outputs is None and self._any_shape and preds.ndim > 2
        if flattens and preds.shape == target.shape:
            preds, target = preds.flatten(1), target.flatten(1)
        state = self._open_state(preds, target, weight)
        if state is None:
            state = add_moments(self._wide_enough(preds), preds, target, weight)
        else:
            co_moments_(state, preds, target, weight)
        self._keep_state(state)

    def _wide_enough(self, preds: Tensor) -> Tensor:
        """Return the state, or a copy for as many outputs as ``preds`` has."""
        state = self.moments
        if self._outputs is None and preds.ndim == 2 and state.shape[0] == 1 != preds.shape[1]:
            return with_outputs(state, preds.shape[1])
        return state

    def _open_state(self, preds: Tensor, target: Tensor, weight: Tensor | None) -> Tensor | None:
        if preds.ndim > 2 or (self._enable_grad and needs_graph(preds, target)):
            return None
        return self._wide_enough(preds)

    def _keep_state(self, state: Tensor) -> None:
        if state is not self.moments:
            object.__setattr__(self, "moments", state)

    def _final(self) -> Tensor:
        """Return the moments, of as many outputs as this metric has.

        Another metric of a collection, with which this one shares its state, may take any number.
        """
        if self._outputs is not None and self.moments.shape[0] != self._outputs:
            raise ValueError(
                f"{type(self).__name__} has num_outputs={self._outputs}, but `preds` and `target`"
                f" had {self.moments.shape[0]} outputs."
            )
        return self.moments

    @property
    def _wide(self) -> bool:
        """Whether `set_dtype` asked for float64 values."""
        return self.dtype is torch.float64

    def _statistic(self) -> Hashable:
        return ("co_moments", self._outputs or 1)

    def _op(self) -> Update:
        return Update("co_moments_", ())
