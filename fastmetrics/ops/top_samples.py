"""The samples with the highest and the lowest scores of a stream, with their ids."""

from __future__ import annotations

import torch
from torch import Tensor

from fastmetrics.core.reductions import Merger
from fastmetrics.ops.checks import WEIGHT_DTYPES, shape_text
from fastmetrics.ops.define import define
from fastmetrics.ops.faults import NAN

__all__ = ["top_samples_", "merge_top_samples_"]

# Planes of the state: whether there is a sample, the bits of its float64 score, its id.
PRESENT, BITS, IDS = range(3)
# Rows of each plane.
BEST, WORST = range(2)


def _check_state(op: str, state: Tensor) -> None:
    if state.dtype != torch.int64 or state.ndim != 3 or state.shape[:2] != (3, 2):
        raise ValueError(
            f"{op}: the metric state must be int64 of shape (3, 2, k), got {state.dtype}"
            f" {shape_text(state)}."
        )


def check_top_samples(
    state: Tensor, events: Tensor, next_id: Tensor, scores: Tensor, ids: Tensor | None
) -> None:
    """Metadata check of `top_samples_`, and its fake."""
    op = "top_samples_"
    _check_state(op, state)
    if scores.ndim != 1 or scores.dtype not in WEIGHT_DTYPES:
        raise ValueError(
            f"{op}: `scores` must be a real tensor of shape (N,), got {scores.dtype}"
            f" {shape_text(scores)}."
        )
    if next_id.dtype != torch.int64 or next_id.numel() != 1:
        raise ValueError(
            f"{op}: `next_id` must be int64 with one element, got {next_id.dtype}"
            f" {shape_text(next_id)}."
        )
    if ids is not None and (ids.shape != scores.shape or ids.dtype != torch.int64):
        raise ValueError(
            f"{op}: `ids` must be int64, one per score, shape {shape_text(scores)}, got"
            f" {ids.dtype} {shape_text(ids)}."
        )
    for name, tensor in (("scores", scores), ("ids", ids), ("next_id", next_id)):
        if tensor is not None and tensor.device != state.device:
            raise ValueError(
                f"{op}: `{name}` must be on the device of the metric state, {state.device}, got"
                f" {tensor.device}."
            )


def check_merge_top_samples(state: Tensor, others: Tensor) -> None:
    """Metadata check of `merge_top_samples_`, and its fake."""
    op = "merge_top_samples_"
    _check_state(op, state)
    if others.ndim != 4 or others.shape[1:] != state.shape or others.dtype != torch.int64:
        raise ValueError(
            f"{op}: `others` must be int64 of shape (R, 3, 2, {state.shape[2]}), got"
            f" {others.dtype} {shape_text(others)}."
        )
    if others.device != state.device:
        raise ValueError(
            f"{op}: `others` must be on the device of the metric state, {state.device}, got"
            f" {others.device}."
        )


def _fill(row: Tensor, present: Tensor, scores: Tensor, ids: Tensor, descending: bool) -> None:
    """Write the first k samples to ``row`` ``[3, k]``: by presence, then score, then id."""
    order = ids.argsort(stable=True)
    order = order[scores[order].argsort(descending=descending, stable=True)]
    order = order[present[order].argsort(descending=True, stable=True)][: row.shape[-1]]
    kept = present[order]
    planes = (kept, scores[order].view(torch.int64), ids[order])
    found = torch.where(kept.bool(), torch.stack(planes), 0)
    row.zero_()
    row[:, : found.shape[-1]] = found


def top_samples_reference(
    state: Tensor, events: Tensor, next_id: Tensor, scores: Tensor, ids: Tensor | None
) -> None:
    """Plain torch twin of the compiled kernel; GPUs run it too."""
    if not scores.numel():
        return
    if ids is None:
        ids = torch.arange(len(scores), device=scores.device) + next_id
    # Adding zero turns -0.0 into 0.0, which ties with it.
    numbers = scores.detach().double() + 0.0
    nan = numbers.isnan()
    events[NAN] += nan.sum()
    next_id += len(scores)
    present = (~nan).long()
    for side in (BEST, WORST):
        row = state[:, side].clone()
        _fill(
            row,
            torch.cat([row[PRESENT], present]),
            torch.cat([row[BITS].view(torch.float64), numbers]),
            torch.cat([row[IDS], ids]),
            side == BEST,
        )
        state[:, side] = row


def merge_top_samples_reference(state: Tensor, others: Tensor) -> None:
    """Plain torch twin of the compiled kernel; GPUs run it too."""
    for side in (BEST, WORST):
        row = state[:, side].clone()
        parts = torch.cat([row, *others[:, :, side].unbind()], dim=-1)
        _fill(row, parts[PRESENT], parts[BITS].view(torch.float64), parts[IDS], side == BEST)
        state[:, side] = row


_top_samples = define(
    "top_samples_",
    "(Tensor(a!) state, Tensor(b!) events, Tensor(c!) next_id, Tensor scores, Tensor? ids)",
    top_samples_reference,
    check_top_samples,
    triton=False,
)
_merge_top_samples = define(
    "merge_top_samples_",
    "(Tensor(a!) state, Tensor others)",
    merge_top_samples_reference,
    check_merge_top_samples,
    triton=False,
)


def top_samples_(
    state: Tensor, events: Tensor, next_id: Tensor, scores: Tensor, ids: Tensor | None = None
) -> None:
    """Keep the k samples with the highest and the k with the lowest scores.

    Samples of equal scores rank by their ids, the lower first, so the result does not depend on
    the order of the samples.

    Args:
        state: int64 ``[3, 2, k]``, changed in place. The planes say whether there is a sample (1
            or 0), the bits of its float64 score and its id; the rows hold the highest scores from
            the top, and the lowest from the bottom. All zero: no data.
        events: int64 ``[4]``, changed in place: samples left out because of a NaN score.
        next_id: int64 ``[1]``, changed in place: the id of the first sample if there are no
            ``ids``; grows by N.
        scores: ``[N]`` of any real dtype, compared as float64; infinities are scores like others.
        ids: int64 ``[N]``, any numbers, or None to count on from ``next_id``.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.

    Cost: reads each input once; the CPU kernel looks twice only at scores that reach the k best or
    worst so far. GPUs sort the batch.

    >>> import torch
    >>> from fastmetrics.ops import top_samples_
    >>> from fastmetrics.ops.faults import new_events
    >>> state, next_id = torch.zeros(3, 2, 1, dtype=torch.int64), torch.tensor([10])
    >>> top_samples_(state, new_events(), next_id, torch.tensor([0.5, 0.9, 0.1]))
    >>> state[2]
    tensor([[11],
            [12]])
    """
    _top_samples(state, events, next_id, scores, ids)


def merge_top_samples_(state: Tensor, others: Tensor) -> None:
    """Merge the samples of other parts of the data into ``state``.

    Args:
        state: as in :func:`top_samples_`. Changed in place.
        others: int64 ``[R, 3, 2, k]``; parts without data change nothing.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.

    >>> import torch
    >>> from fastmetrics.ops import merge_top_samples_, top_samples_
    >>> from fastmetrics.ops.faults import new_events
    >>> state, next_id = torch.zeros(3, 2, 1, dtype=torch.int64), torch.tensor([10])
    >>> part = state.clone()
    >>> top_samples_(part, new_events(), next_id, torch.tensor([0.5, 0.9, 0.1]))
    >>> merge_top_samples_(state, part.unsqueeze(0))
    >>> state[2]
    tensor([[11],
            [12]])
    """
    _merge_top_samples(state, others)


class MergeTopSamples(Merger):
    """Merges top samples ``[3, 2, k]``."""

    def __call__(self, parts: Tensor) -> Tensor:
        """Return the top samples of all parts ``[R, 3, 2, k]``."""
        total = torch.zeros_like(parts[0])
        merge_top_samples_(total, parts.contiguous())
        return total

    def absorb(self, total: Tensor, batch: Tensor) -> Tensor:
        """Merge ``batch`` into ``total``."""
        merge_top_samples_(total, batch.unsqueeze(0))
        return total
