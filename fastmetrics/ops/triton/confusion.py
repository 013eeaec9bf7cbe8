"""GPU kernels of `confusion_` and `label_confusion_`.

Both name one cell (per reading) for each position and add to it in one of three ways, see
`add_cells`. `label_confusion_` without groups needs no histogram, because the label axis tells each
thread beforehand which tables it adds to (`count_columns`).
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops.confusion import label_confusion_reference
from fastmetrics.ops.triton.reading import (
    INVALID,
    LABEL_BLOCK,
    MAX_ORDERED_PROGRAMS,
    MOST_PRIVATE_BINS,
    NAN,
    ORDERED,
    ORDERED_BLOCK,
    ORDERED_WARPS,
    OUTSIDE,
    PRIVATE,
    SCATTER,
    ClassBlocks,
    Plan,
    add_event,
    add_ordered,
    class_blocks,
    fold_partials,
    is_wide,
    label_plan,
    launch,
    locate,
    numbers,
    one_per_thread,
    ones_or_weights,
    ordered_programs,
    plan,
    programs_for,
    read_classes,
    read_labels,
    replayable,
    score_cuts,
)

COLUMN_TILE = 1024
MOST_COLUMNS = 64


@triton.jit
def add_cells(
    counts, cells, cell, value, active,
    REDUCED: tl.constexpr, MODE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Count one block's cells: in registers, by atomics, or in order in memory of its own."""
    if MODE == PRIVATE:
        BINS: tl.constexpr = counts.shape[0]
        key = one_per_thread(tl.where(active, cell.to(tl.int32), BINS), REDUCED)
        counts += tl.histogram(key, BINS, mask=key < BINS)
    elif MODE == SCATTER:
        tl.atomic_add(cells + cell, 1, mask=active, sem="relaxed")
    else:
        add_ordered(cells, cell, value, active, BLOCK)
    return counts


@triton.jit
def flush_cells(state, counts, MODE: tl.constexpr):
    """Add the private counts of one program to the state."""
    if MODE == PRIVATE:
        bins = tl.arange(0, counts.shape[0])
        tl.atomic_add(state + bins, counts.to(tl.int64), mask=counts > 0, sem="relaxed")


@triton.jit(do_not_specialize=["ignore_index"])
def count_pairs(
    cells, events, preds, target, weight, sizes, preds_strides, target_strides, weight_strides,
    class_stride, positions, ignore_index,
    CLASSES: tl.constexpr, ROWS: tl.constexpr, SCORES: tl.constexpr, HAS_IGNORE: tl.constexpr,
    VALIDATE: tl.constexpr, WEIGHTED: tl.constexpr, MODE: tl.constexpr, BINS: tl.constexpr,
    BLOCK: tl.constexpr, BLOCK_C: tl.constexpr, WIDE: tl.constexpr, ALIGN: tl.constexpr,
    ROW_MAJOR: tl.constexpr,
):  # fmt: skip
    """Confusion matrix: one cell (target, prediction) per position.

    ``cells`` is the state, or when ordered a zeroed float64 buffer ``[programs, ROWS * ROWS]``.

    Bytes to move for N positions of C scores of s bytes and targets of t bytes: ``N * (C*s + t)``,
    read once; for labels ``N * 2t``. Private: ``8 * ROWS**2`` bytes of atomics per program.
    Scattered: one atomic per position, in the L2 cache.
    """
    program, programs = tl.program_id(0), tl.num_programs(0)
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    counts = tl.zeros([BINS], tl.int32)
    own = cells
    if MODE == ORDERED:
        own = cells + program.to(tl.int64) * (ROWS * ROWS)
    for block in range(program, tl.cdiv(positions, BLOCK), programs):
        position = numbers(block, BLOCK, WIDE)
        pred, label, counted, invalid, nan = read_classes(
            preds, target, position, position < positions, sizes, preds_strides, target_strides,
            class_stride, ignore_index, 1,
            CLASSES, SCORES, False, HAS_IGNORE, BLOCK_C, ALIGN, ROW_MAJOR,
        )  # fmt: skip
        bad += invalid.to(tl.int32)
        nans += nan.to(tl.int32)
        value = ones_or_weights(cells, weight, position, counted, sizes, weight_strides, WEIGHTED)
        counts = add_cells(counts, own, label * ROWS + pred, value, counted, SCORES, MODE, BLOCK)
    flush_cells(cells, counts, MODE)
    if VALIDATE:
        add_event(events, INVALID, bad)
    if SCORES:
        add_event(events, NAN, nans)


@triton.jit(do_not_specialize=["ignore_index", "cut_0", "cut_1"])
def count_groups(
    cells, events, preds, target, groups, weight, sizes, preds_strides, target_strides,
    groups_strides, weight_strides, positions, ignore_index, cut_0, cut_1,
    READINGS: tl.constexpr, GROUPS: tl.constexpr, SCORES: tl.constexpr, HAS_IGNORE: tl.constexpr,
    VALIDATE: tl.constexpr, WEIGHTED: tl.constexpr, MODE: tl.constexpr, BINS: tl.constexpr,
    BLOCK: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Two-by-two tables per group: cell (reading, group, target, prediction).

    ``cells`` is the state, or a zeroed float64 buffer when ordered:
    ``[programs, READINGS, GROUPS, 2, 2]``.

    Bytes to move for N positions with scores of s, targets of t and groups of g bytes:
    ``N * (s + t + g)``, read once.
    """
    program, programs = tl.program_id(0), tl.num_programs(0)
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    outsides = tl.zeros([BLOCK], tl.int32)
    counts = tl.zeros([BINS], tl.int32)
    own = cells
    if MODE == ORDERED:
        own = cells + program.to(tl.int64) * (4 * READINGS * GROUPS)
    for block in range(program, tl.cdiv(positions, BLOCK), programs):
        position = numbers(block, BLOCK, WIDE)
        inside = position < positions
        label, first, second, counted, invalid, nan, outside = read_labels(
            preds, target, locate(position, sizes, preds_strides),
            locate(position, sizes, target_strides), inside, cut_0, cut_1, ignore_index,
            SCORES, HAS_IGNORE,
        )  # fmt: skip
        nans += nan.to(tl.int32)
        outsides += outside.to(tl.int32)
        group = tl.load(groups + locate(position, sizes, groups_strides), mask=inside, other=0)
        group = group.to(tl.int64)
        known = (group >= 0) & (group < GROUPS)
        bad += (invalid | (counted & ~known)).to(tl.int32)
        counted = counted & known
        value = ones_or_weights(cells, weight, position, counted, sizes, weight_strides, WEIGHTED)
        cell = group * 4 + label.to(tl.int64) * 2
        counts = add_cells(
            counts, own, cell + first.to(tl.int64), value, counted, False, MODE, BLOCK
        )
        if READINGS == 2:
            cell += 4 * GROUPS + second.to(tl.int64)
            counts = add_cells(counts, own, cell, value, counted, False, MODE, BLOCK)
    flush_cells(cells, counts, MODE)
    if VALIDATE:
        add_event(events, INVALID, bad)
    if SCORES:
        add_event(events, NAN, nans)
        if READINGS == 2:
            add_event(events, OUTSIDE, outsides)


@triton.jit
def put_column(cells, column, values, inside, SHARED: tl.constexpr):
    """Add one program's sums over positions ``[positions, columns]`` to one cell of each table."""
    total = tl.sum(values, axis=0).to(cells.dtype.element_ty)
    pointers = cells + column.to(tl.int64) * 4
    if SHARED:
        tl.atomic_add(pointers, total, mask=inside, sem="relaxed")
    else:
        old = tl.load(pointers, mask=inside, other=0)
        tl.store(pointers, old + total, mask=inside)


@triton.jit(do_not_specialize=["samples", "ignore_index", "cut_0", "cut_1"])
def count_columns(
    cells, events, preds, target, weight, sizes, preds_strides, target_strides, weight_strides,
    preds_step, target_step, weight_step, preds_label_stride, target_label_stride,
    samples, positions, ignore_index, cut_0, cut_1,
    READINGS: tl.constexpr, LABELS: tl.constexpr, SCORES: tl.constexpr, HAS_IGNORE: tl.constexpr,
    VALIDATE: tl.constexpr, WEIGHTED: tl.constexpr, SAMPLEWISE: tl.constexpr,
    SHARED: tl.constexpr, BLOCK: tl.constexpr, BLOCK_L: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Two-by-two tables per label, binary inputs being one label.

    A program takes ``BLOCK_L`` labels and walks down the positions; each thread counts its own
    tn, fp, fn, tp per reading in registers, and the program adds up its threads once at the end.
    ``cells`` is the state, to which all programs add by atomics; samplewise the state with every
    sample owned by one program; in float64 a zeroed buffer ``[programs, READINGS, LABELS, 2, 2]``.

    Bytes to move for N positions of L labels with scores of s and targets of t bytes:
    ``N * L * (s + t)``, read once, and ``32 * READINGS * L`` per program. Thread counts are int32:
    a thread would need 2**31 rounds to overflow.
    """
    program, programs = tl.program_id(1), tl.num_programs(1)
    column = tl.program_id(0) * BLOCK_L + tl.arange(0, BLOCK_L)
    in_columns = (column < LABELS)[None, :]
    bad = tl.zeros([BLOCK, BLOCK_L], tl.int32)
    nans = tl.zeros([BLOCK, BLOCK_L], tl.int32)
    outsides = tl.zeros([BLOCK, BLOCK_L], tl.int32)
    kind = tl.int32
    if cells.dtype.element_ty == tl.float64:
        kind = tl.float64
    for turn in range(program if SAMPLEWISE else 0, samples, programs if SAMPLEWISE else 1):
        sample = tl.cast(turn, tl.int64)
        tn_0 = tl.zeros([BLOCK, BLOCK_L], kind)
        fp_0 = tl.zeros([BLOCK, BLOCK_L], kind)
        fn_0 = tl.zeros([BLOCK, BLOCK_L], kind)
        tp_0 = tl.zeros([BLOCK, BLOCK_L], kind)
        tn_1 = tl.zeros([BLOCK, BLOCK_L], kind)
        fp_1 = tl.zeros([BLOCK, BLOCK_L], kind)
        fn_1 = tl.zeros([BLOCK, BLOCK_L], kind)
        tp_1 = tl.zeros([BLOCK, BLOCK_L], kind)
        for block in range(
            0 if SAMPLEWISE else program,
            tl.cdiv(positions, BLOCK),
            1 if SAMPLEWISE else programs,
        ):
            position = numbers(block, BLOCK, WIDE)
            inside = position < positions
            preds_offset = sample * preds_step + locate(position, sizes, preds_strides)
            target_offset = sample * target_step + locate(position, sizes, target_strides)
            label, first, second, counted, invalid, nan, outside = read_labels(
                preds, target,
                preds_offset[:, None] + column.to(tl.int64)[None, :] * preds_label_stride,
                target_offset[:, None] + column.to(tl.int64)[None, :] * target_label_stride,
                inside[:, None] & in_columns, cut_0, cut_1, ignore_index, SCORES, HAS_IGNORE,
            )  # fmt: skip
            bad += invalid.to(tl.int32)
            nans += nan.to(tl.int32)
            outsides += outside.to(tl.int32)
            value = counted.to(kind)
            if WEIGHTED:
                offset = sample * weight_step + locate(position, sizes, weight_strides)
                each = tl.load(weight + offset, mask=inside, other=0).to(kind)
                value = tl.where(counted, each[:, None], value)
            zero = tl.zeros_like(value)
            tn_0 += tl.where(~label & ~first, value, zero)
            fp_0 += tl.where(~label & first, value, zero)
            fn_0 += tl.where(label & ~first, value, zero)
            tp_0 += tl.where(label & first, value, zero)
            if READINGS == 2:
                tn_1 += tl.where(~label & ~second, value, zero)
                fp_1 += tl.where(~label & second, value, zero)
                fn_1 += tl.where(label & ~second, value, zero)
                tp_1 += tl.where(label & second, value, zero)
        own = cells
        if not SHARED:
            row = sample if SAMPLEWISE else program.to(tl.int64)
            own = cells + row * (4 * READINGS * LABELS)
        put_column(own, column, tn_0, column < LABELS, SHARED)
        put_column(own + 1, column, fp_0, column < LABELS, SHARED)
        put_column(own + 2, column, fn_0, column < LABELS, SHARED)
        put_column(own + 3, column, tp_0, column < LABELS, SHARED)
        if READINGS == 2:
            own += 4 * LABELS
            put_column(own, column, tn_1, column < LABELS, SHARED)
            put_column(own + 1, column, fp_1, column < LABELS, SHARED)
            put_column(own + 2, column, fn_1, column < LABELS, SHARED)
            put_column(own + 3, column, tp_1, column < LABELS, SHARED)
    if VALIDATE:
        add_event(events, INVALID, bad)
    if SCORES:
        add_event(events, NAN, nans)
        if READINGS == 2:
            add_event(events, OUTSIDE, outsides)


@replayable
def confusion_(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int | None,
    validate: bool,
) -> None:
    """Launch the kernels of :func:`fastmetrics.ops.confusion.confusion_`."""
    if not target.numel():
        return
    inputs = plan(False, preds, target, weight)
    scores, rows = preds.ndim > target.ndim, state.shape[0]
    classes = preds.shape[1] if scores else rows
    mode = _mode(state)
    block, block_classes, warps = ClassBlocks(LABEL_BLOCK, 1)
    if mode == ORDERED:
        block, warps = ORDERED_BLOCK, ORDERED_WARPS
        block_classes = min(triton.next_power_of_2(classes), 64) if scores else 1
    elif scores:
        block, block_classes, warps = class_blocks(classes, preds.element_size())
    cells, programs = _cells(state, mode, triton.cdiv(inputs.positions, block))
    launch(
        count_pairs, (programs,), cells, events, preds, target, weight, inputs.sizes,
        *inputs.strides, *inputs.axis_strides, inputs.positions,
        0 if ignore_index is None else ignore_index,
        CLASSES=classes, ROWS=rows, SCORES=scores, HAS_IGNORE=ignore_index is not None,
        VALIDATE=validate, WEIGHTED=weight is not None, MODE=mode.value,
        BINS=triton.next_power_of_2(rows * rows) if mode == PRIVATE else 1,
        BLOCK=block, BLOCK_C=block_classes, WIDE=is_wide(inputs.positions), ALIGN=inputs.align,
        ROW_MAJOR=inputs.row_major, num_warps=warps,
    )  # fmt: skip
    if mode == ORDERED:
        fold_partials(state, cells)


def _mode(state: Tensor) -> tl.constexpr:
    if state.dtype == torch.float64:
        return ORDERED
    return PRIVATE if state.numel() <= MOST_PRIVATE_BINS else SCATTER


def _cells(state: Tensor, mode: tl.constexpr, blocks: int) -> tuple[Tensor, int]:
    """Where the programs count, and how many there are."""
    if mode != ORDERED:
        return state, programs_for(blocks, state.device)
    programs = ordered_programs(blocks, state.numel())
    return state.new_zeros(programs, state.numel()), programs


@replayable
def label_confusion_(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    groups: Tensor | None,
    threshold: float,
    logits: bool,
    ignore_index: int | None,
    validate: bool,
) -> None:
    """Launch the kernels of :func:`fastmetrics.ops.confusion.label_confusion_`."""
    if not target.numel():
        return
    if groups is not None and state.ndim == 5:
        # One table per sample and group has no metric; the reference needs no host either.
        label_confusion_reference(
            state, events, preds, target, weight, groups, threshold, logits, ignore_index, validate
        )
        return
    readings = state.shape[-4]
    cuts = score_cuts(threshold, readings, logits, preds.dtype)
    values = (0 if ignore_index is None else ignore_index, *cuts)
    flags = {
        "READINGS": readings,
        "SCORES": preds.is_floating_point(),
        "HAS_IGNORE": ignore_index is not None,
        "VALIDATE": validate,
        "WEIGHTED": weight is not None,
    }
    if groups is not None:
        _count_groups(state, events, preds, target, groups, weight, values, flags)
    else:
        _count_columns(state, events, preds, target, weight, values, flags)


def _count_groups(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    groups: Tensor,
    weight: Tensor | None,
    values: tuple[int, int, int],
    flags: dict[str, int],
) -> None:
    inputs = plan(False, preds, target, groups, weight)
    mode = _mode(state)
    block = ORDERED_BLOCK if mode == ORDERED else LABEL_BLOCK
    cells, programs = _cells(state, mode, triton.cdiv(inputs.positions, block))
    launch(
        count_groups, (programs,), cells, events, preds, target, groups, weight, inputs.sizes,
        *inputs.strides, inputs.positions, *values, **flags, GROUPS=state.shape[-3],
        MODE=mode.value, BINS=triton.next_power_of_2(state.numel()) if mode == PRIVATE else 1,
        BLOCK=block, WIDE=is_wide(inputs.positions),
        num_warps=ORDERED_WARPS if mode == ORDERED else 4,
    )  # fmt: skip
    if mode == ORDERED:
        fold_partials(state, cells)


def _count_columns(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    values: tuple[int, int, int],
    flags: dict[str, int],
) -> None:
    samplewise, labels = state.ndim == 5, state.shape[-3]
    inputs = label_plan(samplewise, labels > 1, preds, target, weight)
    columns = min(triton.next_power_of_2(labels), MOST_COLUMNS)
    tile = COLUMN_TILE // 2 if state.dtype == torch.float64 else COLUMN_TILE
    block = tile // columns
    grid_columns = triton.cdiv(labels, columns)
    ordered = state.dtype == torch.float64 and not samplewise
    cells, programs = _column_cells(state, inputs, grid_columns, block, ordered)
    launch(
        count_columns, (grid_columns, programs), cells, events, preds, target, weight,
        inputs.sizes, *inputs.strides, *inputs.steps, *inputs.axis_strides,
        inputs.samples, inputs.positions, *values, **flags, LABELS=labels,
        SAMPLEWISE=samplewise, SHARED=not samplewise and not ordered,
        BLOCK=block, BLOCK_L=columns, WIDE=is_wide(inputs.positions), num_warps=8,
    )  # fmt: skip
    if ordered:
        fold_partials(state, cells)


def _column_cells(
    state: Tensor, inputs: Plan, grid_columns: int, block: int, ordered: bool
) -> tuple[Tensor, int]:
    """Where the programs count, and how many share the positions (or the samples)."""
    blocks = triton.cdiv(inputs.positions, block)
    if ordered:
        programs = min(blocks, max(1, MAX_ORDERED_PROGRAMS // grid_columns))
        return state.new_zeros(programs, state.numel()), programs
    if state.ndim == 5:
        blocks = inputs.samples
    return state, max(1, programs_for(blocks * grid_columns, state.device) // grid_columns)
