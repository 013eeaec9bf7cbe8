"""GPU kernel of `keep_scores_`: one copy of scores and targets, and the events among them.

A program holds tiles of positions by classes. The compiler reads a tile along whichever axis is
contiguous in the inputs and writes it along the rows of the buffers.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

import functools

import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops.triton.reading import (
    INVALID,
    NAN,
    OUTSIDE,
    add_event,
    as_score,
    class_blocks,
    is_wide,
    label_plan,
    launch,
    locate,
    numbers,
    plan,
    programs_for,
    replayable,
)


@triton.jit(do_not_specialize=["start", "ignore_index"])
def keep(
    state, events, preds, target, weight, labels, weights, sizes, preds_strides, target_strides,
    weight_strides, preds_step, target_step, positions, start, ignore_index,
    COLUMNS: tl.constexpr, MULTICLASS: tl.constexpr, HAS_IGNORE: tl.constexpr,
    VALIDATE: tl.constexpr, WEIGHTED: tl.constexpr, KEEPS_WEIGHTS: tl.constexpr,
    BLOCK: tl.constexpr, BLOCK_C: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Write rows of ``COLUMNS`` scores from row ``start`` on, and their targets.

    Bytes to move for N positions of C scores of s bytes and targets of t bytes: ``N * (C*s + t)``
    read and ``N * (C*s + 1)`` written, each once; multilabel ``N * C * (s + t)`` and
    ``N * C * (s + 1)``.
    """
    program, programs = tl.program_id(0), tl.num_programs(0)
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    outsides = tl.zeros([BLOCK], tl.int32)
    for block in range(program, tl.cdiv(positions, BLOCK), programs):
        position = numbers(block, BLOCK, WIDE)
        inside = position < positions
        row = start + position.to(tl.int64)
        scores = preds + locate(position, sizes, preds_strides)
        marks = target + locate(position, sizes, target_strides)
        if KEEPS_WEIGHTS:
            value = tl.zeros([BLOCK], tl.float64) + 1.0
            if WEIGHTED:
                value = tl.load(weight + locate(position, sizes, weight_strides), mask=inside)
            tl.store(weights + row, value.to(tl.float64), mask=inside)
        if MULTICLASS:
            label = tl.load(marks, mask=inside, other=0).to(tl.int64)
            kept = inside
            if HAS_IGNORE:
                kept = inside & (label != ignore_index)
            valid = (label >= 0) & (label < COLUMNS)
            counted = kept & valid
            bad += (kept & ~valid).to(tl.int32)
            left_out = tl.where(counted, label, -1)
            tl.store(labels + row, left_out.to(labels.dtype.element_ty), mask=inside)
        nan = tl.zeros([BLOCK], tl.int32)
        for first in range(0, COLUMNS, BLOCK_C):
            column = first + tl.arange(0, BLOCK_C).to(tl.int64)[None, :]
            active = inside[:, None] & (column < COLUMNS)
            place = row[:, None] * COLUMNS + column
            raw = tl.load(scores[:, None] + column * preds_step, mask=active, other=0.0)
            tl.store(state + place, raw, mask=active)
            x = as_score(raw)
            if MULTICLASS:
                noted = counted[:, None] & (column < COLUMNS)
                nan = tl.maximum(nan, tl.max((noted & (x != x)).to(tl.int32), axis=1))
            else:
                mark = tl.load(marks[:, None] + column * target_step, mask=active, other=0)
                mark = mark.to(tl.int64)
                kept = active
                if HAS_IGNORE:
                    kept = active & (mark != ignore_index)
                valid = (mark == 0) | (mark == 1)
                noted = kept & valid
                bad += tl.sum((kept & ~valid).to(tl.int32), axis=1)
                left_out = tl.where(noted, mark, -1)
                tl.store(labels + place, left_out.to(tl.uint8), mask=active)
                nan += tl.sum((noted & (x != x)).to(tl.int32), axis=1)
            outsides += tl.sum((noted & ((x < 0) | (x > 1))).to(tl.int32), axis=1)
        nans += nan
    if VALIDATE:
        add_event(events, INVALID, bad)
    add_event(events, NAN, nans)
    add_event(events, OUTSIDE, outsides)


@functools.partial(replayable, varying=("start",))
def keep_scores_(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    labels: Tensor,
    weights: Tensor | None,
    start: int,
    multiclass: bool,
    ignore_index: int | None,
    validate: bool,
) -> None:
    """Launch the kernel of :func:`fastmetrics.ops.keep_scores.keep_scores_`."""
    if not target.numel():
        return
    columns = state.shape[1]
    if multiclass:
        inputs = plan(False, preds, target, weight)
        steps = (*inputs.axis_strides, 0)
    else:
        inputs = label_plan(False, columns > 1, preds, target, weight)
        steps = inputs.axis_strides
    block, block_classes, warps = class_blocks(columns, preds.element_size())
    launch(
        keep, (programs_for(triton.cdiv(inputs.positions, block), state.device),),
        state, events, preds, target, weight, labels, weights, inputs.sizes, *inputs.strides,
        *steps, inputs.positions, start, 0 if ignore_index is None else ignore_index,
        COLUMNS=columns, MULTICLASS=multiclass, HAS_IGNORE=ignore_index is not None,
        VALIDATE=validate, WEIGHTED=weight is not None, KEEPS_WEIGHTS=weights is not None,
        BLOCK=block, BLOCK_C=block_classes, WIDE=is_wide(inputs.positions), num_warps=warps,
    )  # fmt: skip
