"""Statistics of many tensors at once: sums, squares, extremes, and how much is not finite."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastmetrics.core.reductions import Merger
from fastmetrics.ops.checks import SCORE_DTYPES, shape_text
from fastmetrics.ops.define import define
from fastmetrics.utilities.data import normal_tensor

__all__ = ["tensor_stats_"]

# Columns of the state.
UPDATES, COUNT, SUM, SQUARES, MIN, MAX, NANS, INFINITIES = range(8)
NUM_COLUMNS = 8


def check_tensor_stats(state: Tensor, tensors: list[Tensor]) -> None:
    """Metadata check of `tensor_stats_`, and its fake."""
    op = "tensor_stats_"
    if state.dtype != torch.float64 or state.ndim != 2 or state.shape[1] != NUM_COLUMNS:
        raise ValueError(
            f"{op}: the metric state must be float64 of shape (L, {NUM_COLUMNS}), got"
            f" {state.dtype} {shape_text(state)}."
        )
    if len(tensors) != state.shape[0]:
        raise ValueError(
            f"{op}: `tensors` must be one per row of the state, {state.shape[0]}, got"
            f" {len(tensors)}."
        )
    for place, tensor in enumerate(tensors):
        if tensor.dtype not in SCORE_DTYPES:
            raise ValueError(
                f"{op}: `tensors` must be float16, bfloat16, float32 or float64, got dtype"
                f" {tensor.dtype} at place {place}."
            )
        if tensor.layout != torch.strided:
            raise ValueError(
                f"{op}: `tensors` must be dense, got layout {tensor.layout} at place {place}."
            )
        if tensor.device != state.device:
            raise ValueError(
                f"{op}: `tensors` must be on the device of the metric state, {state.device}, got"
                f" {tensor.device} at place {place}."
            )


def merged(parts: Tensor) -> Tensor:
    """Merge statistics ``[R, L, 8]`` of parts of the data to ``[L, 8]``."""
    some = parts[..., COUNT] > 0
    low = torch.where(some, parts[..., MIN], math.inf).amin(0)
    high = torch.where(some, parts[..., MAX], -math.inf).amax(0)
    total = parts.sum(0)
    any_part = some.any(0)
    total[:, MIN] = torch.where(any_part, low, 0.0)
    total[:, MAX] = torch.where(any_part, high, 0.0)
    return total


def tensor_stats_reference(state: Tensor, tensors: list[Tensor]) -> None:
    """Plain torch twin of the compiled kernels."""
    if not tensors:
        return
    rows = []
    for tensor in tensors:
        if not tensor.numel():
            rows.append(state.new_zeros(NUM_COLUMNS))
            continue
        values = tensor.detach().double()
        finite = values.isfinite()
        kept = torch.where(finite, values, 0.0)
        count, nans = finite.sum(), values.isnan().sum()
        found = (
            torch.ones_like(count),
            count,
            kept.sum(),
            (kept * kept).sum(),
            torch.where(finite, values, math.inf).amin(),
            torch.where(finite, values, -math.inf).amax(),
            nans,
            tensor.numel() - count - nans,
        )
        rows.append(torch.stack([x.double() for x in found]))
    state.copy_(merged(torch.stack([state, torch.stack(rows)])))


_tensor_stats = define(
    "tensor_stats_",
    "(Tensor(a!) state, Tensor[] tensors)",
    tensor_stats_reference,
    check_tensor_stats,
)


def tensor_stats_(state: Tensor, tensors: list[Tensor]) -> None:
    """Add what L tensors hold to L rows of statistics, in one call for all of them.

    NaN and infinities are counted, and left out of the other columns, so that one of them does not
    hide the rest.

    Args:
        state: float64 ``[L, 8]``, one row per tensor, changed in place. All zero: no data.

            ====== ==================================================
            column meaning
            ====== ==================================================
            0      updates in which the tensor had elements
            1      elements that are finite
            2, 3   their sum, and the sum of their squares
            4, 5   the smallest and the largest; 0 where there is none
            6, 7   elements that are NaN, and that are infinite
            ====== ==================================================
        tensors: L dense tensors of any shape and layout, float16, bfloat16, float32 or float64;
            an empty one changes nothing.

    Raises:
        ValueError: their number, a dtype, a device or the state does not fit.

    Cost: reads each element once. Sums are taken over fixed blocks, so they have the same bits
    whatever the number of threads; of float64 elements beyond 1e154 the squares overflow.

    >>> import torch
    >>> from fastmetrics.ops import tensor_stats_
    >>> state = torch.zeros(1, 8, dtype=torch.float64)
    >>> tensor_stats_(state, [torch.tensor([1.0, -2.0, float("nan")])])
    >>> state.tolist()
    [[1.0, 2.0, -1.0, 5.0, -2.0, 1.0, 1.0, 0.0]]
    """
    _tensor_stats(state, tensors)


class MergeTensorStats(Merger):
    """Merges statistics ``[L, 8]``; ``[1, 8]`` before the layers are known."""

    def __call__(self, parts: Tensor) -> Tensor:
        """Return the statistics of all parts ``[R, L, 8]``."""
        return merged(parts)

    def absorb(self, total: Tensor, batch: Tensor) -> Tensor:
        """Merge ``batch`` into ``total``."""
        if total.shape != batch.shape:
            total = normal_tensor(total.expand(len(batch), -1).clone)
        return total.copy_(merged(torch.stack([total, batch])))
