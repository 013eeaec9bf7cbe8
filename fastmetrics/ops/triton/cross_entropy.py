"""GPU kernel of `cross_entropy_sums_`.

A program takes a tile of rows, for a vocabulary a single one, and sweeps over the classes once: the
softmax totals of what it has seen follow the largest score so far (`absorb`). Powers are float32
for all scores but float64, as many GPUs have few units for more; totals and losses are float64.
Sums in two stages: a grid that depends on the shapes alone sums its shares into rows of a buffer,
and `fold_partials` adds the rows.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

import functools

import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops.triton.inputs import (
    ClassBlocks,
    Tile,
    add_score_events,
    as_score,
    fold_partials,
    is_wide,
    load_columns,
    locate,
    numbers,
    ones_or_weights,
    ordered_programs,
    read_targets,
    row_layout,
    settle,
    walk_classes,
)
from fastmetrics.ops.triton.replay import buffer, launch, replayable
from fastmetrics.ops.triton.score_histogram import absorb
from fastmetrics.ops.triton.weights import count_bad_weights

# Scores that a program holds at a time. The grid is small, so each program must ask for many bytes
# at once to keep the memory busy.
MOST_SCORES = 8192
SCORES_PER_WARP = 512


@functools.cache
def loss_blocks(classes: int, element_size: int) -> ClassBlocks:
    """Tile for rows of scores, 16 of them for each thread.

    ========= ========== ========
    classes   narrower   float64
    ========= ========== ========
    10        64 x 16    64 x 16
    1000      1 x 1024   1 x 1024
    32 000    1 x 8192   1 x 4096
    ========= ========== ========
    """
    most = MOST_SCORES // 2 if element_size == 8 else MOST_SCORES
    block = min(triton.next_power_of_2(classes), most)
    rows = max(1, 1024 // block)
    return ClassBlocks(rows, block, max(4, rows * block // SCORES_PER_WARP))


@triton.jit
def log_one_plus(value):
    """``log(1 + value)`` of float64 numbers that are not negative, exact for small ones too."""
    above = 1.0 + value
    return tl.where(above == 1.0, value, tl.log(above) * (value / (above - 1.0)))


@triton.jit(do_not_specialize=["ignore_index"])
def sum_losses(
    partial, events, preds, target, weight, walk, ignore_index,
    VALIDATE: tl.constexpr, CLASSES: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Losses and amounts of positions; ``partial`` is float64 ``[programs, 2]``.

    Bytes to move for N positions of C scores of s bytes and targets of t bytes: ``N * (C*s + t)``.
    """
    walk = settle(walk)
    BLOCK: tl.constexpr = tile.BLOCK
    program, programs = tl.program_id(0), tl.num_programs(0)
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    losses = tl.zeros([BLOCK], tl.float64)
    amounts = tl.zeros([BLOCK], tl.float64)
    for block in range(program, tl.cdiv(walk.positions, BLOCK), programs):
        position = numbers(block, BLOCK, tile.WIDE)
        inside = position < walk.positions
        label, kept, counted = read_targets(target, position, inside, walk, ignore_index, CLASSES)
        bad += (kept & ~counted).to(tl.int32)
        value = ones_or_weights(partial, weight, position, counted, walk)
        amounts += value
        offset = locate(position, walk.sizes, walk.preds.strides)
        scores = preds + offset // tile.ALIGN * tile.ALIGN
        # Gaps between rows of their own save reading; elsewhere they only break the wide loads.
        read = counted if tile.ROW_MAJOR else inside
        own = as_score(tl.load(scores + label * walk.preds.column, mask=counted, other=0.0))
        largest = tl.full([BLOCK], float("-inf"), own.dtype)
        below = tl.zeros([BLOCK], tl.float64)
        ties = tl.zeros([BLOCK], tl.int32)
        nan = tl.zeros([BLOCK], tl.int32)
        for start in range(0, CLASSES, tile.BLOCK_C):
            column = start + tl.arange(0, tile.BLOCK_C)
            active = read[:, None] & (column < CLASSES)[None, :]
            x = as_score(load_columns(scores, column, walk.preds.column, active, 0.0))
            marked = counted[:, None] & active
            nan = tl.maximum(nan, tl.max((marked & (x != x)).to(tl.int32), axis=1))
            largest, below, ties = absorb(x, active, largest, below, ties)
        nans += nan
        gap = tl.where(own == largest, 0.0, largest.to(tl.float64) - own.to(tl.float64))
        loss = gap + log_one_plus(below + (ties - 1))
        loss = tl.where(nan > 0, float("nan"), loss)
        losses += tl.where(value == 0.0, 0.0, value * loss)
    first = partial + program.to(tl.int64) * 2
    tl.store(first, tl.sum(losses))
    tl.store(first + 1, tl.sum(amounts))
    add_score_events(events, bad, nans, bad, VALIDATE, False)


@replayable
def cross_entropy_sums_(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Launch the kernels of :func:`fastmetrics.ops.cross_entropy.cross_entropy_sums_`."""
    if not target.numel():
        return
    count_bad_weights(events, weight)
    walk = walk_classes(preds, target, weight)
    block, block_classes, warps = loss_blocks(preds.shape[1], preds.element_size())
    programs = ordered_programs(triton.cdiv(walk.positions, block), state.numel())
    partial = buffer(state, programs, state.numel())
    launch(
        sum_losses, (programs,), partial, events, preds, target, weight, walk, ignore_index,
        VALIDATE=validate, CLASSES=preds.shape[1],
        tile=Tile(block, is_wide(walk.positions), block_classes, *row_layout(preds, walk)),
        num_warps=warps,
    )  # fmt: skip
    fold_partials(state, partial)
