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

from fastmetrics.ops.triton.inputs import (
    BAD_WEIGHT,
    ClassBlocks,
    Tile,
    add_event,
    add_score_events,
    as_score,
    is_wide,
    load_columns,
    locate,
    numbers,
    programs_for,
    read_targets,
    settle,
    walk_classes,
    walk_labels,
    weights_or,
)
from fastmetrics.ops.triton.replay import launch, replayable


@functools.cache
def whole_rows(classes: int, element_size: int) -> ClassBlocks:
    """Tile of whole rows of scores, so that about 4 programs fit a multiprocessor.

    4 warps, and 8 for float64, whose scores fill two registers each.

    ======== ======== ================= ================
    classes  float32  float64           class-axis steps
    ======== ======== ================= ================
    2        512 x 2  512 x 2           1
    10       128 x 16 64 x 16           1
    100      32 x 128 8 x 128           1
    1000     4 x 1024 1 x 1024          1
    100 000  1 x 4096 1 x 1024          ceil(C / block)
    ======== ======== ================= ================
    """
    block = triton.next_power_of_2(classes)
    elements = 2048 if block <= 64 else 4096
    if element_size == 8:
        elements = 1024
    block = min(block, elements)
    return ClassBlocks(min(512, elements // block), block, 8 if element_size == 8 else 4)


@triton.jit(do_not_specialize=["start", "ignore_index"])
def keep(
    state, events, preds, target, weight, labels, weights, walk, per_sample, start, ignore_index,
    COLUMNS: tl.constexpr, MULTICLASS: tl.constexpr, VALIDATE: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Write rows of ``COLUMNS`` scores from row ``start`` on, and their targets.

    Bytes to move for N positions of C scores of s bytes and targets of t bytes: ``N * (C*s + t)``
    read and ``N * (C*s + 1)`` written, each once; multilabel ``N * C * (s + t)`` and
    ``N * C * (s + 1)``.
    """
    walk = settle(walk)
    BLOCK: tl.constexpr = tile.BLOCK
    program, programs = tl.program_id(0), tl.num_programs(0)
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    outsides = tl.zeros([BLOCK], tl.int32)
    bad_weights = tl.zeros([BLOCK], tl.int32)
    for block in range(program, tl.cdiv(walk.positions, BLOCK), programs):
        position = numbers(block, BLOCK, tile.WIDE)
        inside = position < walk.positions
        row = start + position.to(tl.int64)
        scores = preds + locate(position, walk.sizes, walk.preds.strides)
        marks = target + locate(position, walk.sizes, walk.target.strides)
        if weights is not None:
            value = tl.zeros([BLOCK], tl.float64) + 1.0
            if weight is not None:
                offset = locate(position, walk.sizes, walk.weight.strides)
                value = weights_or(tl.load(weight + offset, mask=inside, other=0), -1.0)
                begins = position % per_sample == 0
                bad_weights += (begins & (value < 0)).to(tl.int32)
                value = tl.where(value < 0, 0.0, value)
            tl.store(weights + row, value, mask=inside)
        if MULTICLASS:
            label, kept, counted = read_targets(
                target, position, inside, walk, ignore_index, COLUMNS
            )
            bad += (kept & ~counted).to(tl.int32)
            left_out = tl.where(counted, label, -1)
            tl.store(labels + row, left_out.to(labels.dtype.element_ty), mask=inside)
        nan = tl.zeros([BLOCK], tl.int32)
        for first in range(0, COLUMNS, tile.BLOCK_C):
            column = first + tl.arange(0, tile.BLOCK_C)
            known = (column < COLUMNS)[None, :]
            active = inside[:, None] & known
            place = row[:, None] * COLUMNS + column.to(tl.int64)[None, :]
            raw = load_columns(scores, column, walk.preds.column, active, 0.0)
            tl.store(state + place, raw, mask=active)
            x = as_score(raw)
            if MULTICLASS:
                noted = counted[:, None] & known
                nan = tl.maximum(nan, tl.max((noted & (x != x)).to(tl.int32), axis=1))
            else:
                mark = load_columns(marks, column, walk.target.column, active, 0).to(tl.int64)
                kept = active
                if ignore_index is not None:
                    kept = active & (mark != ignore_index)
                noted = kept & ((mark == 0) | (mark == 1))
                bad += tl.sum((kept & ~noted).to(tl.int32), axis=1)
                left_out = tl.where(noted, mark, -1)
                tl.store(labels + place, left_out.to(tl.uint8), mask=active)
                nan += tl.sum((noted & (x != x)).to(tl.int32), axis=1)
            outsides += tl.sum((noted & ((x < 0) | (x > 1))).to(tl.int32), axis=1)
        nans += nan
    add_score_events(events, bad, nans, outsides, VALIDATE, True)
    if weight is not None:
        add_event(events, BAD_WEIGHT, bad_weights)


@functools.partial(replayable, varying=("start",))
def keep_scores_(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    labels: Tensor, weights: Tensor | None, start: int, multiclass: bool, ignore_index: int | None,
    validate: bool,
) -> None:  # fmt: skip
    """Launch the kernel of :func:`fastmetrics.ops.keep_scores.keep_scores_`."""
    if not target.numel():
        return
    columns = state.shape[1]
    if multiclass:
        walk = walk_classes(preds, target, weight)
    else:
        walk = walk_labels(preds, target, weight, has_axis=columns > 1)
    block, block_classes, warps = whole_rows(columns, preds.element_size())
    launch(
        keep, (programs_for(triton.cdiv(walk.positions, block), state.device),),
        state, events, preds, target, weight, labels, weights, walk,
        walk.positions // target.shape[0], start, ignore_index,
        COLUMNS=columns, MULTICLASS=multiclass, VALIDATE=validate,
        tile=Tile(block, is_wide(walk.positions), block_classes), num_warps=warps,
    )  # fmt: skip
