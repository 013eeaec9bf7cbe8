"""GPU kernels of `hinge_sums_`.

Float64 sums in two stages: a grid that depends on the shapes alone sums its shares into rows of a
buffer, and `fold_partials` adds the rows. Binary scores are independent and walked in the order of
memory (`sum_scores`); `sum_rows` sees a whole row, because the largest other score and the softmax
need one. It sweeps over the classes once, and a second time, from the cache, for a loss per class.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops.triton.reading import (
    INVALID,
    LABEL_BLOCK,
    NAN,
    OUTSIDE,
    add_event,
    add_to,
    as_score,
    fold_partials,
    is_wide,
    launch,
    locate,
    nan_max,
    numbers,
    ones_or_weights,
    ordered_programs,
    plan,
    replayable,
)
from fastmetrics.ops.triton.score_histogram import absorb, row_blocks


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


@triton.jit(do_not_specialize=["ignore_index"])
def sum_scores(
    partial, events, preds, target, weight, sizes, preds_strides, target_strides, weight_strides,
    positions, ignore_index,
    READINGS: tl.constexpr, LOGITS: tl.constexpr, SQUARED: tl.constexpr, HAS_IGNORE: tl.constexpr,
    VALIDATE: tl.constexpr, WEIGHTED: tl.constexpr, BLOCK: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Binary losses; ``partial`` is float64 ``[programs, READINGS, 2]``.

    Bytes to move for N scores of s bytes and targets of t bytes: ``N * (s + t)``.
    """
    program, programs = tl.program_id(0), tl.num_programs(0)
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    outsides = tl.zeros([BLOCK], tl.int32)
    losses_0 = tl.zeros([BLOCK], tl.float64)
    losses_1 = tl.zeros([BLOCK], tl.float64)
    amounts = tl.zeros([BLOCK], tl.float64)
    for block in range(program, tl.cdiv(positions, BLOCK), programs):
        position = numbers(block, BLOCK, WIDE)
        inside = position < positions
        mark = tl.load(target + locate(position, sizes, target_strides), mask=inside, other=0)
        mark = mark.to(tl.int64)
        x = tl.load(preds + locate(position, sizes, preds_strides), mask=inside, other=0.0)
        x = as_score(x).to(tl.float64)
        kept = inside
        if HAS_IGNORE:
            kept = inside & (mark != ignore_index)
        valid = (mark == 0) | (mark == 1)
        counted = kept & valid
        bad += (kept & ~valid).to(tl.int32)
        nans += (counted & (x != x)).to(tl.int32)
        outsides += (counted & ((x < 0) | (x > 1))).to(tl.int32)
        value = ones_or_weights(partial, weight, position, counted, sizes, weight_strides, WEIGHTED)
        amounts += value
        sign = tl.where(mark == 1, 1.0, -1.0).to(tl.float64)
        if READINGS == 2 or not LOGITS:
            losses_0 += weighted_loss(value, sign * x, SQUARED)
        if READINGS == 2 or LOGITS:
            power = tl.exp(-tl.abs(x))
            share = tl.where(x > 0.0, 1.0, power) / (1.0 + power)
            losses_1 += weighted_loss(value, sign * share, SQUARED)
    row = partial + program.to(tl.int64) * (READINGS * 2)
    tl.store(row + 1, tl.sum(amounts))
    if READINGS == 2:
        tl.store(row, tl.sum(losses_0))
        tl.store(row + 2, tl.sum(losses_1))
        tl.store(row + 3, tl.sum(amounts))
        add_event(events, OUTSIDE, outsides)
    else:
        tl.store(row, tl.sum(losses_0 + losses_1))
    if VALIDATE:
        add_event(events, INVALID, bad)
    add_event(events, NAN, nans)


@triton.jit
def share_of(x, largest, total):
    """Softmax of scores in rows with this largest score and total."""
    return tl.where(x == largest, 1.0, tl.exp(x - largest)) / total


@triton.jit(do_not_specialize=["ignore_index"])
def sum_rows(
    partial, events, preds, target, weight, sizes, preds_strides, target_strides, weight_strides,
    class_stride, positions, ignore_index,
    READINGS: tl.constexpr, CLASSES: tl.constexpr, PER_CLASS: tl.constexpr, LOGITS: tl.constexpr,
    SQUARED: tl.constexpr, HAS_IGNORE: tl.constexpr, VALIDATE: tl.constexpr,
    WEIGHTED: tl.constexpr, BLOCK: tl.constexpr, BLOCK_C: tl.constexpr, WIDE: tl.constexpr,
    ALIGN: tl.constexpr, ROW_MAJOR: tl.constexpr,
):  # fmt: skip
    """Multiclass losses; ``partial`` is zeroed float64 ``[programs, READINGS, K + 1]``.

    Bytes to move for N positions of C scores of s bytes and targets of t bytes: ``N * (C*s + t)``;
    with a loss per class each row is read again while the cache holds it.
    """
    program, programs = tl.program_id(0), tl.num_programs(0)
    COLUMNS: tl.constexpr = (CLASSES if PER_CLASS else 1) + 1
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    outsides = tl.zeros([BLOCK], tl.int32)
    losses_0 = tl.zeros([BLOCK], tl.float64)
    losses_1 = tl.zeros([BLOCK], tl.float64)
    amounts = tl.zeros([BLOCK], tl.float64)
    first = partial + program.to(tl.int64) * (READINGS * COLUMNS)
    last = first + (READINGS - 1) * COLUMNS
    for block in range(program, tl.cdiv(positions, BLOCK), programs):
        position = numbers(block, BLOCK, WIDE)
        inside = position < positions
        label = tl.load(target + locate(position, sizes, target_strides), mask=inside, other=0)
        label = label.to(tl.int64)
        kept = inside
        if HAS_IGNORE:
            kept = inside & (label != ignore_index)
        valid = (label >= 0) & (label < CLASSES)
        counted = kept & valid
        bad += (kept & ~valid).to(tl.int32)
        value = ones_or_weights(partial, weight, position, counted, sizes, weight_strides, WEIGHTED)
        amounts += value
        scores = preds + locate(position, sizes, preds_strides) // ALIGN * ALIGN
        # Gaps between rows of their own save reading; elsewhere they only break the wide loads.
        read = counted if ROW_MAJOR else inside
        own = tl.load(scores + label * class_stride, mask=counted, other=0.0)
        own = as_score(own).to(tl.float64)
        rival = tl.full([BLOCK], float("-inf"), tl.float64)
        largest = tl.full([BLOCK], float("-inf"), tl.float64)
        below = tl.zeros([BLOCK], tl.float64)
        ties = tl.zeros([BLOCK], tl.int32)
        nan = tl.zeros([BLOCK], tl.int32)
        for start in range(0, CLASSES, BLOCK_C):
            column = start + tl.arange(0, BLOCK_C)
            active = read[:, None] & (column < CLASSES)[None, :]
            pointers = scores[:, None] + column.to(tl.int64)[None, :] * class_stride
            x = as_score(tl.load(pointers, mask=active, other=0.0)).to(tl.float64)
            marked = counted[:, None] & active
            nan = tl.maximum(nan, tl.max((marked & (x != x)).to(tl.int32), axis=1))
            outside = marked & ((x < 0) | (x > 1))
            outsides += tl.sum(outside.to(tl.int32), axis=1)
            if not PER_CLASS:
                other = active & (column.to(tl.int64)[None, :] != label[:, None])
                top = tl.reduce(tl.where(other, x, float("-inf")), 1, nan_max)
                rival = nan_max(rival, top)
            if LOGITS:
                largest, below, ties = absorb(x, active, largest, below, ties)
        nans += nan
        total = below + ties
        if not PER_CLASS:
            if READINGS == 2 or not LOGITS:
                losses_0 += weighted_loss(value, margin_between(own, rival), SQUARED)
            if LOGITS:
                margin = margin_between(
                    share_of(own, largest, total), share_of(rival, largest, total)
                )
                losses_1 += weighted_loss(value, margin, SQUARED)
        else:
            for start in range(0, CLASSES, BLOCK_C):
                column = start + tl.arange(0, BLOCK_C)
                known = column < CLASSES
                pointers = scores[:, None] + column.to(tl.int64)[None, :] * class_stride
                x = tl.load(pointers, mask=read[:, None] & known[None, :], other=0.0)
                x = as_score(x).to(tl.float64)
                is_label = column.to(tl.int64)[None, :] == label[:, None]
                sign = tl.where(is_label, 1.0, -1.0).to(tl.float64)
                if READINGS == 2 or not LOGITS:
                    losses = weighted_loss(value[:, None], sign * x, SQUARED)
                    add_to(first + column, tl.sum(losses, axis=0), known)
                if LOGITS:
                    share = share_of(x, largest[:, None], total[:, None])
                    losses = weighted_loss(value[:, None], sign * share, SQUARED)
                    add_to(last + column, tl.sum(losses, axis=0), known)
            # This block's writes come before the next one's reads.
            tl.debug_barrier()
    tl.store(first + (COLUMNS - 1), tl.sum(amounts))
    if READINGS == 2:
        tl.store(last + (COLUMNS - 1), tl.sum(amounts))
        add_event(events, OUTSIDE, outsides)
    if not PER_CLASS:
        if READINGS == 2:
            tl.store(first, tl.sum(losses_0))
            tl.store(last, tl.sum(losses_1))
        else:
            tl.store(first, tl.sum(losses_0 + losses_1))
    if VALIDATE:
        add_event(events, INVALID, bad)
    add_event(events, NAN, nans)


@replayable
def hinge_sums_(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    multiclass: bool,
    squared: bool,
    logits: bool,
    weight: Tensor | None,
    ignore_index: int | None,
    validate: bool,
) -> None:
    """Launch the kernels of :func:`fastmetrics.ops.hinge.hinge_sums_`."""
    if not target.numel():
        return
    inputs = plan(False, preds, target, weight)
    flags = {
        "READINGS": len(state),
        "LOGITS": logits,
        "SQUARED": squared,
        "HAS_IGNORE": ignore_index is not None,
        "VALIDATE": validate,
        "WEIGHTED": weight is not None,
        "WIDE": is_wide(inputs.positions),
    }
    ignore = 0 if ignore_index is None else ignore_index
    block, block_classes, warps = LABEL_BLOCK, 1, 4
    if multiclass:
        block, block_classes, warps = row_blocks(preds.shape[1], False)
    programs = ordered_programs(triton.cdiv(inputs.positions, block), state.numel())
    partial = state.new_zeros(programs, state.numel())
    tensors = (partial, events, preds, target, weight, inputs.sizes, *inputs.strides)
    if multiclass:
        flags["LOGITS"] = logits or len(state) == 2
        launch(
            sum_rows, (programs,), *tensors, *inputs.axis_strides, inputs.positions, ignore,
            **flags, CLASSES=preds.shape[1], PER_CLASS=state.shape[1] > 2, BLOCK=block,
            BLOCK_C=block_classes, ALIGN=inputs.align, ROW_MAJOR=inputs.row_major, num_warps=warps,
        )  # fmt: skip
    else:
        launch(
            sum_scores, (programs,), *tensors, inputs.positions, ignore, **flags, BLOCK=block,
            num_warps=warps,
        )  # fmt: skip
    fold_partials(state, partial)
