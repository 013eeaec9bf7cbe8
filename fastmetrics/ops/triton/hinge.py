"""GPU kernels of `hinge_sums_`.

Float64 sums in two stages: a grid that depends on the shapes alone sums its shares into rows of a
buffer, and `fold_partials` adds the rows. Binary scores are independent and walked in the order of
memory (`sum_scores`); `sum_rows` sees a whole row, because the largest other score and the softmax
need one. It sweeps over the classes once, and a second time, from the cache, for a loss per class.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops.triton.inputs import (
    LABEL_BLOCK,
    ClassBlocks,
    Tile,
    add_score_events,
    add_to,
    as_score,
    fold_partials,
    is_wide,
    load_columns,
    locate,
    nan_max,
    numbers,
    ones_or_weights,
    ordered_programs,
    read_targets,
    row_layout,
    settle,
    walk_classes,
)
from fastmetrics.ops.triton.replay import buffer, launch, replayable
from fastmetrics.ops.triton.score_histogram import absorb, row_blocks, share_of
from fastmetrics.ops.triton.weights import count_bad_weights


class Rules(NamedTuple):
    """What a kernel makes of scores and targets."""

    READINGS: int
    LOGITS: bool
    """Whether some reading of rows, or the only one of binary scores, takes them for logits."""
    SQUARED: bool
    VALIDATE: bool


@triton.jit
def weighted_loss(value, margin, SQUARED: tl.constexpr):
    """What a margin adds; a value of 0 adds nothing even to a loss that is no number."""
    short = 1.0 - margin
    loss = tl.where(short < 0.0, 0.0, short)
    if SQUARED:
        loss = loss * loss
    return tl.where(value == 0.0, 0.0, value * loss)


@triton.jit
def margin_between(own, rival):
    """Difference of two scores, 0 for equal infinities too."""
    return tl.where(own == rival, 0.0, own - rival)


@triton.jit
def write_losses(
    partial, losses_0, losses_1, amounts,
    COLUMNS: tl.constexpr, SUMMED: tl.constexpr, rules: tl.constexpr,
):  # fmt: skip
    """Write a program's amounts to the last column of its rows, and its losses if ``SUMMED``."""
    first = partial + tl.program_id(0).to(tl.int64) * (rules.READINGS * COLUMNS)
    last = first + (rules.READINGS - 1) * COLUMNS
    amount = tl.sum(amounts)
    tl.store(first + (COLUMNS - 1), amount)
    if rules.READINGS == 2:
        tl.store(last + (COLUMNS - 1), amount)
    if SUMMED:
        if rules.READINGS == 2:
            tl.store(first, tl.sum(losses_0))
            tl.store(last, tl.sum(losses_1))
        else:
            tl.store(first, tl.sum(losses_0 + losses_1))


@triton.jit(do_not_specialize=["ignore_index"])
def sum_scores(
    partial, events, preds, target, weight, walk, ignore_index,
    rules: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Binary losses; ``partial`` is float64 ``[programs, READINGS, 2]``.

    Bytes to move for N scores of s bytes and targets of t bytes: ``N * (s + t)``.
    """
    walk = settle(walk)
    BLOCK: tl.constexpr = tile.BLOCK
    program, programs = tl.program_id(0), tl.num_programs(0)
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    outsides = tl.zeros([BLOCK], tl.int32)
    losses_0 = tl.zeros([BLOCK], tl.float64)
    losses_1 = tl.zeros([BLOCK], tl.float64)
    amounts = tl.zeros([BLOCK], tl.float64)
    for block in range(program, tl.cdiv(walk.positions, BLOCK), programs):
        position = numbers(block, BLOCK, tile.WIDE)
        inside = position < walk.positions
        mark, kept, counted = read_targets(target, position, inside, walk, ignore_index, 2)
        offset = locate(position, walk.sizes, walk.preds.strides)
        x = as_score(tl.load(preds + offset, mask=inside, other=0.0)).to(tl.float64)
        bad += (kept & ~counted).to(tl.int32)
        nans += (counted & (x != x)).to(tl.int32)
        outsides += (counted & ((x < 0) | (x > 1))).to(tl.int32)
        value = ones_or_weights(partial, weight, position, counted, walk)
        amounts += value
        sign = tl.where(mark == 1, 1.0, -1.0).to(tl.float64)
        if rules.READINGS == 2 or not rules.LOGITS:
            losses_0 += weighted_loss(value, sign * x, rules.SQUARED)
        if rules.READINGS == 2 or rules.LOGITS:
            power = tl.exp(-tl.abs(x))
            share = tl.where(x > 0.0, 1.0, power) / (1.0 + power)
            losses_1 += weighted_loss(value, sign * share, rules.SQUARED)
    write_losses(partial, losses_0, losses_1, amounts, 2, True, rules)
    add_score_events(events, bad, nans, outsides, rules.VALIDATE, rules.READINGS == 2)


@triton.jit
def add_class_losses(
    first, last, scores, read, label, value, largest, total, class_stride,
    CLASSES: tl.constexpr, rules: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Add the losses of each class, read once more, to the columns of a program's rows."""
    for start in range(0, CLASSES, BLOCK_C):
        column = start + tl.arange(0, BLOCK_C)
        known = column < CLASSES
        mask = read[:, None] & known[None, :]
        x = as_score(load_columns(scores, column, class_stride, mask, 0.0)).to(tl.float64)
        is_label = column.to(tl.int64)[None, :] == label[:, None]
        sign = tl.where(is_label, 1.0, -1.0).to(tl.float64)
        if rules.READINGS == 2 or not rules.LOGITS:
            losses = weighted_loss(value[:, None], sign * x, rules.SQUARED)
            add_to(first + column, tl.sum(losses, axis=0), known)
        if rules.LOGITS:
            share = share_of(x, largest[:, None], total[:, None])
            losses = weighted_loss(value[:, None], sign * share, rules.SQUARED)
            add_to(last + column, tl.sum(losses, axis=0), known)
    # This block's writes come before the next one's reads.
    tl.debug_barrier()


@triton.jit(do_not_specialize=["ignore_index"])
def sum_rows(
    partial, events, preds, target, weight, walk, ignore_index,
    rules: tl.constexpr, CLASSES: tl.constexpr, PER_CLASS: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Multiclass losses; ``partial`` is zeroed float64 ``[programs, READINGS, K + 1]``.

    Bytes to move for N positions of C scores of s bytes and targets of t bytes: ``N * (C*s + t)``;
    with a loss per class each row is read again while the cache holds it.
    """
    walk = settle(walk)
    BLOCK: tl.constexpr = tile.BLOCK
    program, programs = tl.program_id(0), tl.num_programs(0)
    COLUMNS: tl.constexpr = (CLASSES if PER_CLASS else 1) + 1
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    outsides = tl.zeros([BLOCK], tl.int32)
    losses_0 = tl.zeros([BLOCK], tl.float64)
    losses_1 = tl.zeros([BLOCK], tl.float64)
    amounts = tl.zeros([BLOCK], tl.float64)
    first = partial + program.to(tl.int64) * (rules.READINGS * COLUMNS)
    last = first + (rules.READINGS - 1) * COLUMNS
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
        own = tl.load(scores + label * walk.preds.column, mask=counted, other=0.0)
        own = as_score(own).to(tl.float64)
        rival = tl.full([BLOCK], float("-inf"), tl.float64)
        largest = tl.full([BLOCK], float("-inf"), tl.float64)
        below = tl.zeros([BLOCK], tl.float64)
        ties = tl.zeros([BLOCK], tl.int32)
        nan = tl.zeros([BLOCK], tl.int32)
        for start in range(0, CLASSES, tile.BLOCK_C):
            column = start + tl.arange(0, tile.BLOCK_C)
            active = read[:, None] & (column < CLASSES)[None, :]
            x = load_columns(scores, column, walk.preds.column, active, 0.0)
            x = as_score(x).to(tl.float64)
            marked = counted[:, None] & active
            nan = tl.maximum(nan, tl.max((marked & (x != x)).to(tl.int32), axis=1))
            outside = marked & ((x < 0) | (x > 1))
            outsides += tl.sum(outside.to(tl.int32), axis=1)
            if not PER_CLASS:
                other = active & (column.to(tl.int64)[None, :] != label[:, None])
                top = tl.reduce(tl.where(other, x, float("-inf")), 1, nan_max)
                rival = nan_max(rival, top)
            if rules.LOGITS:
                largest, below, ties = absorb(x, active, largest, below, ties)
        nans += nan
        total = below + ties
        if PER_CLASS:
            add_class_losses(
                first, last, scores, read, label, value, largest, total, walk.preds.column,
                CLASSES, rules, tile.BLOCK_C,
            )  # fmt: skip
        else:
            if rules.READINGS == 2 or not rules.LOGITS:
                losses_0 += weighted_loss(value, margin_between(own, rival), rules.SQUARED)
            if rules.LOGITS:
                margin = margin_between(
                    share_of(own, largest, total), share_of(rival, largest, total)
                )
                losses_1 += weighted_loss(value, margin, rules.SQUARED)
    write_losses(partial, losses_0, losses_1, amounts, COLUMNS, not PER_CLASS, rules)
    add_score_events(events, bad, nans, outsides, rules.VALIDATE, rules.READINGS == 2)


@replayable
def hinge_sums_(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, multiclass: bool, squared: bool,
    logits: bool, weight: Tensor | None, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Launch the kernels of :func:`fastmetrics.ops.hinge.hinge_sums_`."""
    if not target.numel():
        return
    count_bad_weights(events, weight)
    rules = Rules(
        READINGS=len(state),
        LOGITS=logits or (multiclass and len(state) == 2),
        SQUARED=squared,
        VALIDATE=validate,
    )
    walk = walk_classes(preds, target, weight)
    wide = is_wide(walk.positions)
    block, block_classes, warps = ClassBlocks(LABEL_BLOCK, 1)
    if multiclass:
        block, block_classes, warps = row_blocks(preds.shape[1], False)
    programs = ordered_programs(triton.cdiv(walk.positions, block), state.numel())
    partial = buffer(state, programs, state.numel(), zeroed=True)
    if multiclass:
        launch(
            sum_rows, (programs,), partial, events, preds, target, weight, walk, ignore_index,
            rules=rules, CLASSES=preds.shape[1], PER_CLASS=state.shape[1] > 2,
            tile=Tile(block, wide, block_classes, *row_layout(preds, walk)), num_warps=warps,
            registers=255,
        )  # fmt: skip
    else:
        launch(
            sum_scores, (programs,), partial, events, preds, target, weight, walk, ignore_index,
            rules=rules, tile=Tile(block, wide), num_warps=warps,
        )  # fmt: skip
    fold_partials(state, partial)
