"""Kept scores: every batch appended to growing buffers, for what needs all scores at once.

The exact curves sort what was kept. Scores stay in the dtype in which they came, and a target takes
one byte, so an update is little more than a copy.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastmetrics.ops.checks import check_weight, shape_text
from fastmetrics.ops.define import define
from fastmetrics.ops.faults import NAN, OUTSIDE
from fastmetrics.ops.inputs import check_score_inputs, count_targets, int_sum, usable_weights

__all__ = ["keep_scores_"]

_NAME = "keep_scores_"

# Classes that fit a byte beside the mark of what is left out.
MOST_SMALL_LABELS = 255


def label_dtype(num_classes: int, multiclass: bool) -> torch.dtype:
    """Return the dtype of the kept labels."""
    return torch.int32 if multiclass and num_classes > MOST_SMALL_LABELS else torch.uint8


class SpareRows:
    """Memory behind the last tensors of some list states, and how much of it is in use.

    The tensors in the states are views of it. Only rows that no view shows are written, so whoever
    copied the lists keeps what it saw.

    Args:
        memory: one tensor for each state, as `keep_scores_` takes it.
        shown: the same memory in the form of the states.
    """

    __slots__ = ("memory", "shown", "used", "view")

    def __init__(self, memory: tuple[Tensor, ...], shown: tuple[Tensor, ...]) -> None:
        self.memory = memory
        self.shown = shown
        self.used = 0
        self.view: Tensor | None = None

    def has_room(self, last: Tensor, count: int, dtype: torch.dtype) -> bool:
        """Whether ``count`` rows fit behind ``last``, the last tensor of the first state."""
        rows = self.shown[0]
        return last is self.view and self.used + count <= rows.shape[0] and rows.dtype is dtype


def _check_buffer(name: str, buffer: Tensor, like: Tensor, shape: tuple[int, ...]) -> None:
    """Raise unless a buffer of contiguous memory goes with the kept scores."""
    if buffer.shape != shape or not buffer.is_contiguous() or buffer.device != like.device:
        raise ValueError(
            f"{_NAME}: `{name}` must be contiguous, of shape {tuple(shape)} and on {like.device},"
            f" got {shape_text(buffer)} on {buffer.device}."
        )


def check_keep_scores(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    labels: Tensor, weights: Tensor | None, start: int, multiclass: bool, ignore_index: int | None,
    validate: bool,
) -> None:  # fmt: skip
    """Metadata check of `keep_scores_`, and its fake."""
    if state.ndim != 2 or not state.shape[1] or not state.is_contiguous():
        raise ValueError(
            f"{_NAME}: the kept scores must be contiguous [R, C], got {shape_text(state)}."
        )
    size, columns = state.shape
    check_score_inputs(_NAME, state, preds, target, None, columns, multiclass)
    if preds.dtype != state.dtype:
        raise ValueError(
            f"{_NAME}: `preds` must have the dtype of the scores kept before, {state.dtype},"
            f" got {preds.dtype}."
        )
    _check_buffer("labels", labels, state, (size,) if multiclass else (size, columns))
    if labels.dtype != label_dtype(columns, multiclass):
        raise ValueError(
            f"{_NAME}: `labels` must have dtype {label_dtype(columns, multiclass)},"
            f" got {labels.dtype}."
        )
    if weights is not None:
        _check_buffer("weights", weights, state, (size,))
        if weights.dtype != torch.float64:
            raise ValueError(f"{_NAME}: `weights` must be float64, got {weights.dtype}.")
    if weight is not None:
        if weights is None:
            raise ValueError(f"{_NAME}: `weight` needs the buffer `weights`.")
        check_weight(_NAME, weights, weight, target.shape[0])
    rows = target.numel() if multiclass else target.numel() // columns
    if start < 0 or start + rows > size:
        raise ValueError(
            f"{_NAME}: {rows} rows from `start`={start} on do not fit {size} kept rows."
        )


def keep_scores_reference(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    labels: Tensor, weights: Tensor | None, start: int, multiclass: bool, ignore_index: int | None,
    validate: bool,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernels."""
    if target.numel() == 0:
        return
    columns = state.shape[1]
    limit = columns if multiclass else 2
    counted = count_targets(_NAME, events, target, limit, ignore_index, validate)
    marks = torch.where(counted, target.long(), -1)
    if multiclass:
        scores = preds.movedim(1, -1)
        events[NAN] += int_sum(scores.isnan().any(-1) & counted)
        counted = counted.unsqueeze(-1)
    else:
        scores = preds
        events[NAN] += int_sum(scores.isnan() & counted)
        if columns > 1:
            scores, counted, marks = (x.movedim(1, -1) for x in (scores, counted, marks))
    events[OUTSIDE] += int_sum(((scores < 0) | (scores > 1)) & counted)
    marks = marks.to(labels.dtype) if labels.dtype == torch.int32 else marks.where(marks >= 0, 255)
    rows = scores.reshape(-1, columns)
    end = start + len(rows)
    state[start:end] = rows
    labels[start:end] = marks.reshape(len(rows), *labels.shape[1:])
    if weights is not None:
        given = usable_weights(events, weight)
        if given is None:
            given = torch.ones(target.shape[0], dtype=torch.float64, device=target.device)
        weights[start:end] = given.repeat_interleave(len(rows) // len(given))


_keep_scores = define(
    _NAME,
    "(Tensor(a!) state, Tensor(b!) events, Tensor preds, Tensor target, Tensor? weight,"
    " Tensor(c!) labels, Tensor(d!)? weights, SymInt start, bool multiclass, int? ignore_index,"
    " bool validate)",
    keep_scores_reference,
    check_keep_scores,
)


def keep_scores_(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    labels: Tensor,
    weights: Tensor | None,
    start: int,
    multiclass: bool = False,
    ignore_index: int | None = None,
    validate: bool = True,
) -> None:
    """Write one batch into the rows of the buffers from ``start`` on.

    A row is one position: the samples in order, and for each its trailing positions in order. Rows
    before ``start`` and after the batch stay as they are; whoever owns the buffers makes them large
    enough and remembers where the next batch starts.

    Args:
        state: kept scores ``[R, C]`` in the dtype of ``preds``: one column for each class or
            label, one for binary inputs. Changed in place.
        events: int64 ``[4]``, as with two interpretations in
            :func:`fastmetrics.ops.score_histogram.score_histogram_`. Changed in place.
        preds: scores in a float type: binary ``[N, ...]``, multilabel and multiclass
            ``[N, C, ...]``.
        target: any integer type or bool: 0 and 1 in the shape of ``preds``; for multiclass inputs
            classes ``[N, ...]``.
        weight: optional ``[N]``; needs ``weights``.
        labels: kept targets. Binary and multilabel: uint8 ``[R, C]`` with 0, 1, and 255 for what is
            left out. Multiclass: ``[R]``, uint8 with 255 for up to 255 classes, else int32 with -1.
            Changed in place.
        weights: optional, float64 ``[R]``: the weight of each row's sample, 1 without ``weight``.
            Changed in place.
        start: the first row to write.
        multiclass: whether a target is one class per row.
        ignore_index: positions with this target are kept, marked as left out.
        validate: as in :func:`fastmetrics.ops.stat_scores.stat_scores_`.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, or the rows do not.
        RuntimeError: a label is out of range (CPU); the rows from ``start`` on may have changed.

    Cost: reads each input once and writes each row once.

    >>> import torch
    >>> from fastmetrics.ops import keep_scores_
    >>> from fastmetrics.ops.faults import new_events
    >>> kept, labels = torch.zeros(4, 1), torch.zeros(4, 1, dtype=torch.uint8)
    >>> scores, target = torch.tensor([0.5, 0.25]), torch.tensor([1, 0])
    >>> keep_scores_(kept, new_events(), scores, target, None, labels, None, start=1)
    >>> kept[:, 0], labels[:, 0]
    (tensor([0.0000, 0.5000, 0.2500, 0.0000]), tensor([0, 1, 0, 0], dtype=torch.uint8))
    """
    _keep_scores(
        state,
        events,
        preds,
        target,
        weight,
        labels,
        weights,
        start,
        multiclass,
        ignore_index,
        validate,
    )
